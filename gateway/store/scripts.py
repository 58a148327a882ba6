"""The steps that Redis runs as a whole: Lua, one file each, behind one prelude and one guard."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

PREFIX = "{roomkeeper}:"
"""What every key begins with. The braces keep all of them in one hash slot."""

UNGUARDED = frozenset({"beat", "now", "retire"})
"""Steps by which a replica joins a generation, and leaves: they rest on nothing."""
ALONE = frozenset({"session_add", "session_read", "session_report", "session_end"})
"""Steps on rows that nobody coordinates: no leader, no generation."""


@dataclass(frozen=True, slots=True)
class Script:
    """A step's source, and the digest by which the server knows it once it has seen it."""

    name: str
    source: str
    sha: str


@cache
def script(name: str) -> Script:
    folder = files("gateway.store") / "lua"
    before = [] if name in ALONE else ["prelude"] if name in UNGUARDED else ["prelude", "guard"]
    parts = [*before, name]
    source = "".join((folder / f"{part}.lua").read_text(encoding="utf-8") for part in parts)
    return Script(name, source, hashlib.sha1(source.encode(), usedforsecurity=False).hexdigest())
