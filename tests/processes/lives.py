"""Which process an agent's identity is, and whether it lives: told by the agents, looked up in the kernel.

LiveKit lists an agent for 20 s after its process was killed (fact 12): a ghost, not an agent. Linux only.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

BOOK = "ROOMKEEPER_TEST_LIVES"
"""The variable that names the folder in which agents sign in."""


class Life(StrEnum):
    RUNS = "runs"
    FROZEN = "frozen"
    DEAD = "dead"
    UNKNOWN = "unknown"
    """It has not signed in: a worker that is none of ours."""


@dataclass(frozen=True, slots=True)
class Signature:
    pid: int
    started: int
    """The process's start in kernel ticks: a pid alone is reused."""


def sign_in(identity: str) -> None:
    """Called by an agent before it connects."""
    folder = Path(os.environ[BOOK])
    _, started = _state_of(os.getpid())
    draft = folder / f".{identity}"
    draft.write_text(f"{os.getpid()} {started}")
    draft.rename(folder / identity)


def signature_of(folder: Path, identity: str) -> Signature | None:
    try:
        pid, started = (folder / identity).read_text().split()
    except FileNotFoundError:
        return None
    return Signature(int(pid), int(started))


def life_of(signature: Signature | None) -> Life:
    if signature is None:
        return Life.UNKNOWN
    state, started = _state_of(signature.pid)
    if started != signature.started or state in "ZX":
        return Life.DEAD
    return Life.FROZEN if state in "Tt" else Life.RUNS


def _state_of(pid: int) -> tuple[str, int]:
    """The state letter and the start time of a process, "X" and 0 when there is none (proc(5), `stat`)."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return "X", 0
    fields = text.rpartition(")")[2].split()
    return fields[0], int(fields[19])
