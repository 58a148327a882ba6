"""The Dockerfile as it reads: what a linter finds, what gets into the image, as whom it runs."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from gateway.listening import listen
from tests.deploy.dockerfile import ROOT, Stage, Step, context, stages
from tests.deploy.manifests import OVERLAYS, every, pod

HADOLINT = Path(sys.executable).parent / "hadolint"
DOCKERFILE = (ROOT / "Dockerfile").read_text()
EXAMPLE = re.findall(r"```dockerfile\n(.*?)```", (ROOT / "docs" / "agents.md").read_text(), re.DOTALL)
"""What docs/agents.md tells those who put their own agent on top."""


def lint(text: str) -> str:
    """What hadolint says; empty when it finds nothing."""
    return subprocess.run([HADOLINT, "-"], input=text, capture_output=True, text=True, timeout=60).stdout


def image() -> Stage:
    return stages(DOCKERFILE)[-1]


def test_a_linter_finds_nothing() -> None:
    """Nor in the example."""
    assert lint(DOCKERFILE) == ""
    assert [lint(example) for example in EXAMPLE] == [""]


@pytest.mark.parametrize(
    "line", ["RUN apt-get install gcc", "RUN pip install livekit", "RUN cd /tmp && sudo true", "FROM python"]
)
def test_the_linter_finds_faults(line: str) -> None:
    """The test of the test."""
    assert "DL" in lint(f"{DOCKERFILE}\n{line}\n")


def test_the_base_image_has_a_version() -> None:
    """To the last digit, and its system: another day's build stands on the same, and it is supported."""
    supported = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["requires-python"]
    for stage in stages(DOCKERFILE):
        found = re.fullmatch(r"python:(\d+)\.(\d+)\.\d+-slim-[a-z]+", stage.base)
        assert found, stage.base
        assert supported == ">=3.11"
        assert (int(found[1]), int(found[2])) >= (3, 11)


def test_nothing_is_installed_from_the_system() -> None:
    """No compiler in any stage, so none in the last; no lsb_release, which would slow down joins (S21)."""
    for stage in stages(DOCKERFILE):
        assert not [step for step in stage.steps if re.search(r"\bapt(-get)?\b", step.text)]


def test_only_what_runs_gets_into_the_image() -> None:
    """No tests, no extras for developers, no .env, no database, no history."""
    seen = {path.parts[0] for path in context()}
    assert seen == {"LICENSE", "README.md", "constraints.txt", "gateway", "pool", "pyproject.toml"}
    assert not [path for path in context() if "__pycache__" in path.parts]
    assert not re.search(r"\[(dev|openai)\]|optional", DOCKERFILE)
    copied = [step for step in image().steps if step.what in {"COPY", "ADD"}]
    assert [step.flags.get("from") for step in copied] == ["dependencies"]


def test_secrets_stay_out_of_the_context(tmp_path: Path) -> None:
    """Whatever lies about in the folder, even beside the code."""
    (tmp_path / ".dockerignore").write_text((ROOT / ".dockerignore").read_text())
    for name in (".env", "roomkeeper.db", "gateway/__pycache__/app.pyc", "gateway/app.py", ".git/config"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    assert [str(path) for path in context(tmp_path)] == ["gateway/app.py"]


def test_it_ends_as_roomkeeper_wants_to_be_ended() -> None:
    """SIGTERM reaches it, no shell is between: the exec form."""
    assert image().last("STOPSIGNAL").text == "SIGTERM"
    assert image().last("ENTRYPOINT").text.startswith("[")
    assert (image().last("ENTRYPOINT").words, image().last("CMD").words) == (["roomkeeper"], ["start"])


@pytest.mark.needs("kustomize")
@pytest.mark.parametrize("overlay", OVERLAYS)
def test_the_user_is_the_one_that_kubernetes_runs_it_as(overlay: str) -> None:
    """A number, so that runAsNonRoot can tell; the folders of the store are that user's."""
    user, group = image().last("USER").text.split(":")
    assert int(user) > 0
    for deployment in every("Deployment", overlay):
        context_of_pod = pod(deployment)["securityContext"]
        assert (context_of_pod["runAsUser"], context_of_pod["runAsGroup"]) == (int(user), int(group))


def test_the_health_check_needs_no_more_than_the_image_has() -> None:
    """Python's own HTTP, and no proxy: one for the agent's services would be asked for 127.0.0.1 as well."""
    with listen("127.0.0.1", 0) as nobody:
        port = nobody.getsockname()[1]
    (command,) = re.findall(r"CMD (\[.*)", image().last("HEALTHCHECK").text)
    program = Step("CMD", command, {}).words
    assert program[:2] == ["python", "-c"]
    assert not re.search("curl|wget|urllib", command)
    asked = subprocess.run(
        [sys.executable, *program[1:]], env={"PORT": str(port)}, capture_output=True, timeout=60
    )
    assert asked.returncode == 1
