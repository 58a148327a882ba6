"""From `module:server` to the `AgentServer` that it names. Runs user code (the module), nothing of LiveKit's.

Plugins must be imported on the main thread (fact 66): call `load` there.
"""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from types import ModuleType
from weakref import WeakSet

from livekit.agents import AgentServer, WorkerOptions

from pool import compat, environment
from pool.errors import LoadError

_nameless: WeakSet[AgentServer] = WeakSet()


def load(target: str, *, default_agent_name: str = "") -> AgentServer:
    """Import the agent that `target` names and return its server, ready to be configured.

    `target` is `module:attribute`, `module` (its only `AgentServer`), or the same with `path/to/agent.py`
    in the module's place. A server that neither the module nor the environment names (fact 68) gets
    `default_agent_name`; see `is_nameless`. Raises `LoadError`, and whatever the module raises.
    """
    place, _, attribute = target.partition(":")
    if not place:
        raise LoadError(f"{target!r} names no module: write module:server or path/to/agent.py:server")
    environment.prepare()
    module = _import_file(Path(place)) if place.endswith(".py") else _import_module(place, Path.cwd())
    server = _server(module, attribute, target)
    if compat.entrypoint(server) is None:
        raise LoadError(f"{target!r} has no entrypoint: decorate a function with @server.rtc_session()")
    if not compat.agent_name(server):
        compat.name_agent(server, default_agent_name)
        _nameless.add(server)
    return server


def is_nameless(server: AgentServer) -> bool:
    """Whether nobody named it. Such a worker would join every room, were it run by livekit-agents itself."""
    return server in _nameless


def _import_file(path: Path) -> ModuleType:
    """Import a file as `python path/to/agent.py` would find its neighbours, under an importable name:
    the entrypoint travels to the job process by that name (fact 88)."""
    path = path.resolve()
    if not path.is_file():
        raise LoadError(f"there is no file {path}")
    names, root = [path.stem], path.parent
    while (root / "__init__.py").is_file():
        names.insert(0, root.name)
        root = root.parent
    module = _import_module(".".join(names), root)
    if Path(module.__file__ or "").resolve() != path:
        raise LoadError(f"{path} cannot be imported as {module.__name__!r}: {module.__file__} has that name")
    return module


def _import_module(name: str, root: Path) -> ModuleType:
    if str(root) not in sys.path:
        sys.path.insert(0, str(root))
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        missing = error.name or ""
        if name == missing or name.startswith(f"{missing}."):
            raise LoadError(f"there is no module {name!r} in {root} or on the Python path") from error
        raise LoadError(f"{name!r} needs {missing!r}, which is not installed") from error
    except ImportError as error:
        raise LoadError(f"{name!r} could not be imported: {error}") from error


def _server(module: ModuleType, attribute: str, target: str) -> AgentServer:
    if not attribute:
        return _only_server(module)
    found = getattr(module, attribute, None)
    if isinstance(found, WorkerOptions):
        return AgentServer.from_server_options(found)
    if isinstance(found, AgentServer):
        return found
    what = f"is a {type(found).__name__}" if hasattr(module, attribute) else "does not exist"
    there = ", ".join(_servers(module)) or "none"
    raise LoadError(f"{target!r}: {attribute!r} {what}, not an AgentServer; those in the module: {there}")


def _only_server(module: ModuleType) -> AgentServer:
    servers = _servers(module)
    if not servers:
        raise LoadError(f"{module.__name__!r} has no AgentServer: define `server = AgentServer()` in it")
    if len({id(found) for found in servers.values()}) > 1:
        names = ", ".join(servers)
        raise LoadError(
            f"{module.__name__!r} has several servers ({names}): say which, module:{next(iter(servers))}"
        )
    return _server(module, next(iter(servers)), module.__name__)


def _servers(module: ModuleType) -> dict[str, AgentServer | WorkerOptions]:
    return {k: v for k, v in vars(module).items() if isinstance(v, AgentServer | WorkerOptions)}
