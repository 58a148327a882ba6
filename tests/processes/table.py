"""The fault table: a row is a name, the fault in words, a number of tries, and the function that plays it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from tests.processes.outcome import Outcome

Play = Callable[[Outcome], Awaitable[None]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    name: str
    fault: str
    """In the words of the table."""
    n: int
    """Tries in the full form."""
    bounded: int
    """Tries in CI; 0: by hand only."""
    limit: float
    """Seconds to heal that the row promises at p99; a room that takes longer violates I2."""
    alone: bool
    """It needs both cores: in CI no other test runs beside it."""
    play: Play


ROWS: dict[str, Row] = {}


def row(
    name: str, fault: str, *, n: int, bounded: int = 0, limit: float = 30.0, alone: bool = False
) -> Callable[[Play], Play]:
    """Puts a function into the table, in the order of the modules."""

    def enter(play: Play) -> Play:
        assert name not in ROWS, name
        ROWS[name] = Row(name=name, fault=fault, n=n, bounded=bounded, limit=limit, alone=alone, play=play)
        return play

    return enter
