"""Starts the server that forks job processes before this process has imported anything heavy.

It imports for itself for as long as this process does: two seconds side by side, and not one after the
other. It has to guess what the agent will ask it to import; when the guess or the environment turns out
wrong, it is started anew, as it would have been anyway. Imports nothing heavy itself.
"""

from __future__ import annotations

import ast
import multiprocessing.forkserver as mp_forkserver
import os
import sys
from collections.abc import Collection, Iterator, Sequence
from importlib.machinery import PathFinder
from pathlib import Path

from pool import environment

OURS = ("pool.child", "pool.forkserver")
SHARED_VAD = "pool.shared_vad"
UPSTREAM = ("livekit.agents.ipc._preload", "livekit.agents.ipc._preload_freeze")
"""In that order, at the end: the last one freezes what was imported before it."""
_PLUGINS = "livekit.plugins"

_begun: tuple[frozenset[str], dict[str, str]] | None = None
"""What it imports, and the environment in which it was started."""


def begin(target: str, *, url: str, api_key: str, api_secret: str, shared_vad: bool = False) -> None:
    """Start it for the agent that `target` names. On the main thread: it lives as long as that does.

    What livekit-agents would put into the environment is there from now on, so that job processes have it.
    """
    global _begun
    environment.prepare()
    os.environ.update(LIVEKIT_URL=url, LIVEKIT_API_KEY=api_key, LIVEKIT_API_SECRET=api_secret)
    modules = (*plugins_of(target), *([SHARED_VAD] if shared_vad else []), *OURS)
    mp_forkserver.set_forkserver_preload(["pool.importing", *modules, *UPSTREAM])
    mp_forkserver.ensure_running()
    _begun = frozenset(modules), dict(os.environ)


def mistake(modules: Collection[str]) -> str:
    """Why the one that was started will not do for an agent that wants these modules; "" when it will."""
    if _begun is None:
        return "none was started"
    imported, then = _begun
    if missing := [module for module in modules if module not in imported]:
        return f"the agent's own file did not say that it imports {', '.join(missing)}"
    now = dict(os.environ)
    changed = sorted(name for name in then.keys() | now.keys() if then.get(name) != now.get(name))
    return f"the agent's module has set {', '.join(changed)}" if changed else ""


def plugins_of(target: str) -> list[str]:
    """The plugins of livekit-agents that the agent's own file imports; [] when it is not found."""
    place = target.partition(":")[0]
    path = Path(place) if place.endswith(".py") else _file_of(place)
    try:
        tree = ast.parse(path.read_bytes()) if path is not None else None
    except (OSError, SyntaxError, ValueError):
        return []
    return list(dict.fromkeys(_plugins(tree))) if tree is not None else []


def _file_of(module: str) -> Path | None:
    """Where a module is, found without running any of its packages."""
    top, *inner = module.split(".")
    spec = PathFinder.find_spec(top, [str(Path.cwd()), *sys.path])
    if spec is None or not inner:
        return Path(spec.origin) if spec is not None and spec.origin else None
    for folder in spec.submodule_search_locations or ():
        for path in (Path(folder, *inner).with_suffix(".py"), Path(folder, *inner, "__init__.py")):
            if path.is_file():
                return path
    return None


def _plugins(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        for name in _imported(node):
            parts = name.split(".")
            if name.startswith(f"{_PLUGINS}.") and parts[2] != "*":
                yield ".".join(parts[:3])


def _imported(node: ast.AST) -> Sequence[str]:
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    if isinstance(node, ast.ImportFrom) and node.module and not node.level:
        return [f"{node.module}.{alias.name}" for alias in node.names]
    return []
