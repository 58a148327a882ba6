"""The image as it runs, as far as that goes without an engine: the steps carried out in namespaces.

The machine's own files lie under it, in the place of python:slim: what that one lacks is not seen.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.deploy.build import Image, build, extend
from tests.deploy.dockerfile import ROOT
from tests.deploy.test_dockerfile import DOCKERFILE, EXAMPLE

RUN_TIMEOUT = 240.0
MEMORY, NEEDED = Path("/dev/shm"), 6 << 30
"""A file system in memory, and how many bytes must be free in it for an image with its stages."""
AGENT = ROOT / "pool" / "agents" / "echo.py"

pytestmark = pytest.mark.needs("namespaces", "ip", "livekit-server")


@pytest.fixture(scope="module")
def image() -> Iterator[Image]:
    """Built once: a minute, and more where nothing is in pip's cache. In memory where there is enough."""
    roomy = MEMORY.is_dir() and shutil.disk_usage(MEMORY).free > NEEDED
    with tempfile.TemporaryDirectory(prefix="image-", dir=MEMORY if roomy else None) as folder:
        yield build(Path(folder), DOCKERFILE)


@pytest.fixture(scope="module")
def seen(image: Image) -> dict[str, Any]:
    """What came of running it, in a network in which there is nothing but a livekit-server."""
    where = [str(image.box.folder.parent), str(ROOT / "Dockerfile")]
    command = ["unshare", "--net", "--", sys.executable, "-m", "tests.deploy.inside", *where]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=RUN_TIMEOUT)
    log = image.box.folder.parent / "log"
    assert done.returncode == 0, done.stderr + (log.read_text()[-5000:] if log.exists() else "")
    found = json.loads(done.stdout)
    assert isinstance(found, dict)
    return found


def printed(image: Image, script: str) -> str:
    """What a script prints, run by the image's own Python as root."""
    return image.box.run(f"python - <<'EOF'\n{script}\nEOF", env=image.env, workdir=image.workdir)


def test_it_brings_an_agent_where_nothing_can_be_downloaded(seen: dict[str, Any]) -> None:
    """Into a room, as process 1, with nothing to write to but /tmp and /data: models and all are in it."""
    assert (seen["started"], seen["stopped"]) == ("joined", "stopped")
    assert seen["refused_writes"] == 0


def test_it_is_nobody(seen: dict[str, Any]) -> None:
    """No process of it is root's or may do anything that root may."""
    assert seen["users"] == [10001]
    assert seen["capabilities"] == ["0" * 16]


def test_its_health_check_tells(seen: dict[str, Any]) -> None:
    """Well when it answers, and not when nobody does."""
    assert seen["healthcheck"] == 0
    assert seen["healthcheck_of_nobody"] == 1


def test_it_ends_by_its_stop_signal(seen: dict[str, Any]) -> None:
    """As process 1, which the kernel spares from signals that it does not handle."""
    assert seen["exit_code"] == 0


def test_nothing_is_compiled_at_a_start(image: Image) -> None:
    """Every module that a start imports has been compiled, the standard library's too."""
    script = """
import os, sys
import gateway.app, gateway.cli, livekit.agents, livekit.plugins.silero, pool.child, pool.supervisor
cached = [module.__cached__ for module in sys.modules.values() if getattr(module, "__cached__", None)]
print(len(cached), [file for file in cached if not os.path.exists(file)])"""
    count, missing = printed(image, script).split(maxsplit=1)
    assert int(count) > 1000
    assert missing.strip() == "[]"


def test_what_changes_often_is_small(image: Image) -> None:
    """Roomkeeper lies in a layer of its own: a new version fetches some megabytes, not all it stands on."""
    below = {(path.name, path.stat().st_mtime) for path in files_of(image, 0)}
    ours = [path for path in files_of(image, 2) if (path.name, path.stat().st_mtime) not in below]
    assert "cli.py" in {path.name for path in ours}
    assert sum(path.stat().st_size for path in ours) < 10 << 20


def files_of(image: Image, stage: int) -> list[Path]:
    packages = image.box.folder.parent / f"stage{stage}" / "upper" / "opt" / "roomkeeper"
    return [path for path in packages.rglob("*") if path.is_file() and not path.is_symlink()]


def test_what_it_stands_on_is_what_was_tested(image: Image) -> None:
    """Each distribution in it has the version of constraints.txt, and none is a developer's."""
    script = """
from importlib.metadata import distributions
for one in distributions(): print(one.name.lower().replace("-", "_"), one.version)"""
    found = dict(line.split() for line in printed(image, script).splitlines())
    lines = (ROOT / "constraints.txt").read_text().lower().replace("-", "_").splitlines()
    pinned = dict(line.split("==") for line in lines)
    assert {name: version for name, version in found.items() if pinned.get(name) != version} == {
        "roomkeeper": found["roomkeeper"]
    }
    assert not found.keys() & {"pip", "setuptools", "pytest", "mypy", "hypothesis", "fastapi", "atheris"}


def test_an_agent_is_put_on_top_as_the_docs_say(image: Image) -> None:
    """Its plugin goes where Roomkeeper's packages are, in the version that was tested; it is found."""
    files = image.box.folder.parent / "own"
    files.mkdir()
    shutil.copy2(AGENT, files / "agent.py")
    (example,) = EXAMPLE
    own = extend(image, example, files)
    script = """
import os
from importlib.metadata import version
from pool.loading import load
import livekit.plugins.openai
server = load(os.environ["ROOMKEEPER_AGENT"])
print(livekit.plugins.openai.__file__, version("livekit-plugins-openai"), type(server).__name__)"""
    *_, last = printed(own, script).splitlines()
    file, found, server = last.split()
    assert file.startswith("/opt/roomkeeper/")
    assert (f"livekit-plugins-openai=={found}" in (ROOT / "constraints.txt").read_text().split()) is True
    assert server == "AgentServer"
    assert own.user == image.user
