# Everything runs in .venv, made from constraints.txt; livekit-server comes from PATH, or is built into .tools.

SHELL := /bin/bash
export PATH := $(CURDIR)/.tools:$(PATH)
export ORT_DISABLE_TELEMETRY := 1

PYTHON := $(shell for p in python3 python3.13 python3.12 python3.11; do \
	$$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && { command -v $$p; break; }; done)
KUSTOMIZE_VERSION := v5.8.2
LIVEKIT_VERSION := v1.13.5
TOXIPROXY_VERSION := v2.12.0
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed

.DEFAULT_GOAL := help
.PHONY: help run install livekit-server toxiproxy kustomize livekit-client test lint simulate mutations \
	test-unit test-simulation test-contract test-live test-processes test-deploy \
	faults crash-points fuzz live-full bench plot clean

help: ## What can be made
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 18

run: $(INSTALLED) ## LiveKit (yours when LIVEKIT_URL is set), gateway, pool and echo agent; Ctrl-C ends all of it
	@[ -n "$$LIVEKIT_URL" ] || grep -qs '^LIVEKIT_URL=.' .env || $(MAKE) --no-print-directory livekit-server
	@exec $(BIN)/roomkeeper dev --with-livekit

install: $(INSTALLED) ## The virtual environment

$(INSTALLED): pyproject.toml constraints.txt
	@[ -n "$(PYTHON)" ] || { echo "Python 3.11 or newer is needed: apt-get install python3 python3-venv," \
		"brew install python, or https://www.python.org/downloads"; exit 1; }
	@[ -x $(BIN)/python ] || $(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); \
		echo "The venv module is missing: apt-get install python3-venv"; exit 1; }
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	@touch $@

livekit-server: ## Make sure that there is one: on PATH, else built into .tools (some minutes, once)
	@command -v livekit-server >/dev/null || { \
		command -v go >/dev/null || { echo "livekit-server is not on PATH, and there is no go to build it."; \
			echo "Get it:  curl -sSL https://get.livekit.io | bash   or   brew install livekit"; \
			echo "or set LIVEKIT_URL to a server that you have."; exit 1; }; \
		echo "Building livekit-server $(LIVEKIT_VERSION) into .tools; this takes some minutes, once."; \
		GOBIN="$(CURDIR)/.tools" go install github.com/livekit/livekit-server/cmd/server@$(LIVEKIT_VERSION) && \
		mv .tools/server .tools/livekit-server; }

toxiproxy: ## The same for toxiproxy-server, which the processes tier puts between everything
	@command -v toxiproxy-server >/dev/null || { \
		command -v go >/dev/null || { echo "toxiproxy-server is not on PATH, and there is no go to build it."; \
			echo "Get it from https://github.com/Shopify/toxiproxy/releases"; exit 1; }; \
		echo "Building toxiproxy-server $(TOXIPROXY_VERSION) into .tools."; \
		GOBIN="$(CURDIR)/.tools" go install github.com/Shopify/toxiproxy/v2/cmd/server@$(TOXIPROXY_VERSION) && \
		mv .tools/server .tools/toxiproxy-server; }

kustomize: ## The same for kustomize, with which the deploy tier builds k8s/
	@command -v kustomize >/dev/null || { \
		command -v go >/dev/null || { echo "kustomize is not on PATH, and there is no go to build it."; \
			echo "Get it from https://github.com/kubernetes-sigs/kustomize/releases"; exit 1; }; \
		echo "Building kustomize $(KUSTOMIZE_VERSION) into .tools."; \
		GOBIN="$(CURDIR)/.tools" go install sigs.k8s.io/kustomize/kustomize/v5@$(KUSTOMIZE_VERSION); }

livekit-client: ## The same for LiveKit's client for browsers, which a test asks for a token with
	@command -v npm >/dev/null || { echo "There is no npm. Get it:  apt-get install nodejs npm"; exit 1; }
	@mkdir -p .tools/js && cp tests/live/js/package*.json .tools/js/
	@npm ci --prefix .tools/js --silent --no-audit --no-fund

test: $(INSTALLED) ## Lint, then every tier; the last line is the sum
	@$(BIN)/python -m tests.tiers lint unit simulation contract live processes deploy

simulate: $(INSTALLED) ## make simulate SEEDS=10000 [FIRST=1] | SEED=7 | HISTORY=file: the keeper under seeded faults
	@$(BIN)/python -m tests.simulation --seeds $(or $(SEEDS),1000) --first $(or $(FIRST),1) \
		$(if $(SEED),--seed $(SEED)) $(if $(HISTORY),--history $(HISTORY))

mutations: $(INSTALLED) ## Each wall taken out once: the simulator must notice
	@PYTHONHASHSEED=0 $(BIN)/python -m tests.simulation.mutations

lint: $(INSTALLED) ## ruff, mypy --strict, and the arrows between the packages
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

test-unit test-simulation test-contract test-live test-processes test-deploy: test-%: $(INSTALLED)
	@$(BIN)/python -m tests.tiers $*

test-unit: ## Pure functions, wire formats, settings: nothing is real
test-simulation: ## The keeper under virtual time: 2,000 seeded histories of faults, each wall taken out once
test-contract: ## One suite over the fake and the real: LiveKit, the store
test-live: ## livekit-server, worker processes, WebRTC clients: what a user sees
test-processes: ## The fault table with few tries: replicas, redis-server, toxiproxy, kill -9, SIGSTOP
test-deploy: ## k8s/ and the Dockerfile: schemas, what must fit together, and the image's steps carried out
faults: $(INSTALLED) ## The fault table in full (hours), into docs/faults.md; make faults ROW=kill-job
	@$(BIN)/python -W ignore -m tests.processes.faults $(ROW)

crash-points: $(INSTALLED) ## kill -9 of the gateway before and after every call on a port (long)
	@ROOMKEEPER_LIVE=full $(BIN)/python -m pytest -q -p no:warnings tests/processes/test_crash_points.py

fuzz: $(INSTALLED) ## make fuzz TARGET=webhook | token | door [SECONDS=600]: what decides about strangers, under atheris
	@$(BIN)/python -m tests.fuzz $(TARGET) --runs -1 --seconds $(or $(SECONDS),600)

live-full: $(INSTALLED) ## The live tier with every try that the promises name (long)
	@ROOMKEEPER_LIVE=full $(BIN)/python -m tests.tiers live

bench: $(INSTALLED) ## make bench NAME=webhook | time_to_agent | burst | recovery | memory | prefork | pool | cold | scale | day | simulate_fleet | answers | post | session | slow | hostile
	@$(BIN)/python -m bench $(NAME)

plot: $(INSTALLED) ## docs/scale.svg and docs/day.svg, from what `make bench NAME=scale` and `NAME=day` wrote
	@$(BIN)/python -m bench.plot

clean: ## Remove what was built
	rm -rf $(VENV) .tools .run build *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis
