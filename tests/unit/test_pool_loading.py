"""Any unmodified agent is found by the name that its author would give, and a wrong name is explained."""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from pool import compat, loading
from pool.errors import LoadError
from pool.loading import load

AGENT = """
from livekit.agents import AgentServer, WorkerOptions

server = AgentServer()

@server.rtc_session({options})
async def entrypoint(ctx): ...
"""


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A working directory; modules, path and environment are as before afterwards."""
    modules, environment = set(sys.modules), dict(os.environ)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("LIVEKIT_AGENT_NAME", raising=False)
    importlib.invalidate_caches()
    yield tmp_path
    for name in set(sys.modules) - modules:
        del sys.modules[name]
    os.environ.clear()
    os.environ.update(environment)


def write(path: Path, text: str = AGENT, options: str = "") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text.format(options=options))


@pytest.mark.parametrize("target", ["agent_a:server", "agent_a", "agent_a.py", "agent_a.py:server"])
def test_module_and_file_with_and_without_the_attribute(place: Path, target: str) -> None:
    """All four spellings name the same server."""
    write(place / "agent_a.py")
    assert load(target) is sys.modules["agent_a"].server


def test_a_file_finds_its_neighbours(place: Path) -> None:
    """As `python sub/agent_b.py` would: its folder is on the path, and it is importable by its own name."""
    write(place / "sub" / "neighbour.py", "NAME = 'anna'")
    write(place / "sub" / "agent_b.py", "from neighbour import NAME\n" + AGENT, options="agent_name=NAME")
    assert compat.agent_name(load("sub/agent_b.py")) == "anna"
    assert "agent_b" in sys.modules


def test_a_file_in_a_package_keeps_its_packages_name(place: Path) -> None:
    """Relative imports work, and the job process finds the entrypoint by that name (fact 88)."""
    write(place / "shop" / "__init__.py", "")
    write(place / "shop" / "names.py", "NAME = 'berta'")
    write(place / "shop" / "agent_c.py", "from .names import NAME\n" + AGENT, options="agent_name=NAME")
    assert compat.agent_name(load("shop/agent_c.py")) == "berta"
    assert "shop.agent_c" in sys.modules


def test_worker_options_are_adapted(place: Path) -> None:
    """The style before `AgentServer` (fact 68)."""
    write(
        place / "agent_d.py",
        "from livekit.agents import WorkerOptions\n"
        "async def entrypoint(ctx): ...\n"
        "options = WorkerOptions(entrypoint_fnc=entrypoint, agent_name='dora')\n",
    )
    assert compat.agent_name(load("agent_d")) == "dora"


def test_the_default_name_is_for_servers_without_one(place: Path) -> None:
    """An unnamed server gets it, a named one keeps its own."""
    write(place / "agent_e.py")
    write(place / "agent_f.py", options="agent_name='frida'")
    assert compat.agent_name(load("agent_e", default_agent_name="emil")) == "emil"
    assert compat.agent_name(load("agent_f", default_agent_name="emil")) == "frida"


def test_a_server_that_nobody_named_is_known_as_such(place: Path) -> None:
    """It is meant for every room, as it would be stock."""
    write(place / "agent_n.py")
    write(place / "agent_o.py", options="agent_name='olga'")
    assert loading.is_nameless(load("agent_n", default_agent_name="emil"))
    assert not loading.is_nameless(load("agent_o", default_agent_name="emil"))


def test_a_name_from_the_environment_is_a_name(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """LIVEKIT_AGENT_NAME is livekit-agents' own way to name an agent (fact 68)."""
    monkeypatch.setenv("LIVEKIT_AGENT_NAME", "paula")
    write(place / "agent_p.py")
    server = load("agent_p", default_agent_name="emil")
    assert compat.agent_name(server) == "paula"
    assert not loading.is_nameless(server)


def test_without_a_default_name_the_server_stays_unnamed(place: Path) -> None:
    """ "" leaves it as the module says."""
    write(place / "agent_g.py")
    assert compat.agent_name(load("agent_g")) == ""


def test_what_the_imports_read_is_set_before_them(place: Path) -> None:
    """No telemetry (fact 36), no preload that nobody asked for (39), no metrics directory to empty (60)."""
    os.environ["PROMETHEUS_MULTIPROC_DIR"] = str(place)
    write(place / "agent_h.py", "import os\nSEEN = dict(os.environ)\n" + AGENT)
    load("agent_h")
    seen = sys.modules["agent_h"].SEEN
    assert seen["ORT_DISABLE_TELEMETRY"] == "1"
    assert seen["LIVEKIT_AGENTS_PRELOAD_LOCAL_INFERENCE"] == "0"
    assert "PROMETHEUS_MULTIPROC_DIR" not in seen


def test_a_preload_that_the_user_asked_for_stays(place: Path) -> None:
    """An agent with local turn detection needs it."""
    os.environ["LIVEKIT_AGENTS_PRELOAD_LOCAL_INFERENCE"] = "1"
    write(place / "agent_i.py")
    load("agent_i")
    assert os.environ["LIVEKIT_AGENTS_PRELOAD_LOCAL_INFERENCE"] == "1"


@pytest.mark.parametrize(
    ("target", "says"),
    [
        (":server", "names no module"),
        ("nowhere:server", "no module 'nowhere'"),
        ("nowhere.deeper:server", "no module 'nowhere.deeper'"),
        ("nowhere.py", "no file"),
        ("agent_j:app", "'app' does not exist.*those in the module: server"),
        ("agent_j:entrypoint", "'entrypoint' is a function"),
        ("needy", "needs 'no_such_library'"),
        ("empty", "has no AgentServer"),
        ("two", "several servers"),
        ("idle", "no entrypoint"),
    ],
)
def test_a_wrong_target_is_explained(place: Path, target: str, says: str) -> None:
    """The text says what is missing and what there is."""
    write(place / "agent_j.py")
    write(place / "needy.py", "import no_such_library\n")
    write(place / "empty.py", "")
    write(place / "two.py", AGENT + "\nother = AgentServer()\n")
    write(place / "idle.py", "from livekit.agents import AgentServer\nserver = AgentServer()\n")
    with pytest.raises(LoadError, match=says):
        load(target)


def test_a_mistake_in_the_module_comes_through_unchanged(place: Path) -> None:
    """The author needs the own traceback, not ours."""
    write(place / "broken.py", "1 / 0\n")
    with pytest.raises(ZeroDivisionError):
        load("broken:server")
