"""What every tier shares: a test names what it needs, `@pytest.mark.needs("livekit-server")`.

A missing one skips its tests with one loud line at the end; with `CI=true` they fail.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
from collections import Counter
from collections.abc import Generator, Iterator
from typing import Any

import pytest
from hypothesis import settings

from tests.canary import secrets_in
from tests.deploy.boxes import can_box
from tests.livekit_server import LiveKitServer
from tests.node import NODE_MODULES

os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")  # fact 36: before anything imports onnxruntime

# A busy machine is no counterexample.
settings.register_profile("roomkeeper", deadline=None)
settings.load_profile("roomkeeper")

HOW_TO_GET = {
    "cc": "apt-get install gcc libc6-dev",
    "atheris": "it is made for Linux on x86-64 and Python up to 3.13",
    "go": "https://go.dev/dl",
    "ip": "apt-get install iproute2",
    "kustomize": "make kustomize",
    "livekit-client": "apt-get install nodejs npm, then make livekit-client",
    "livekit-server": "make livekit-server",
    "namespaces": "run it as root, on Linux, where unshare and setpriv are (util-linux)",
    "promtool": "apt-get install prometheus",
    "redis-server": "apt-get install redis-server",
    "toxiproxy-server": "make toxiproxy",
}
_MISSING: pytest.StashKey[Counter[str]] = pytest.StashKey()


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line(
        "markers", "alone: it judges milliseconds, or loads both cores: nothing runs beside it"
    )
    config.addinivalue_line("markers", "needs(*tools): programs without which the test is skipped")
    config.stash[_MISSING] = Counter()


def _is_there(tool: str) -> bool:
    """A program on PATH; the client for browsers, and a node to run it; a fuzzer that few machines have; the
    right to put programs into namespaces."""
    if tool == "atheris":
        return importlib.util.find_spec(tool) is not None
    if tool == "namespaces":
        return can_box()
    if tool == "livekit-client":
        return (NODE_MODULES / tool).is_dir() and shutil.which("node") is not None
    return shutil.which(tool) is not None


def pytest_runtest_setup(item: pytest.Item) -> None:
    for marker in item.iter_markers("needs"):
        for tool in marker.args:
            if not _is_there(tool):
                item.config.stash[_MISSING][tool] += 1
                why = f"{tool} is missing: {HOW_TO_GET[tool]}"
                if os.environ.get("CI") == "true":
                    pytest.fail(f"{why}, and CI=true skips nothing", pytrace=False)
                pytest.skip(why)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """A test in whose output is a secret has failed, whatever it found; one that failed may show them."""
    report = yield
    if report.passed and (found := secrets_in(report.capstdout + report.capstderr + report.caplog)):
        report.outcome, report.longrepr = "failed", f"{', '.join(found)} in the output of {item.nodeid}"
    return report


def pytest_sessionfinish(session: pytest.Session) -> None:
    """A worker of pytest-xdist tells the process that prints the end what was missing."""
    if (output := getattr(session.config, "workeroutput", None)) is not None:
        missing = session.config.stash[_MISSING]
        output["missing"] = dict(missing)


@pytest.hookimpl(optionalhook=True)  # of pytest-xdist
def pytest_testnodedown(node: Any) -> None:
    """A worker has ended; one that crashed told nothing."""
    missing: Counter[str] = node.config.stash[_MISSING]
    missing.update(getattr(node, "workeroutput", {}).get("missing", {}))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    for tool, tests in sorted(config.stash[_MISSING].items()):
        terminalreporter.write_line(
            f"!!! {tests} tests did NOT run: {tool} is missing: {HOW_TO_GET[tool]} !!!", red=True, bold=True
        )


@pytest.fixture(scope="session")
def livekit_server() -> Iterator[LiveKitServer]:
    """One server for all tests that do not restart it; mark them `needs("livekit-server")`.

    A room that people left ends after 2 s instead of 20 s (fact 15).
    """
    with LiveKitServer(extra={"room": {"departure_timeout": 2}}) as server:
        yield server
