"""What webhooks came lately: for `roomkeeper check`, which makes a room and wants to know whether its webhook
arrives. Remembers the rooms that a check made, and the last refusal of each kind; nothing else.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass

CHECK_ROOMS = "roomkeeper-check-"
"""How the names of a check's rooms begin; a random part follows."""
KEPT = 120.0
"""Seconds."""
MOST = 256
"""Rooms; whoever may make rooms in LiveKit may make many."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """The last webhook that was refused for one reason."""

    verdict: str
    why: str
    at: float


class Heard:
    """The memory of one process: the webhook may have gone to another replica."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._rooms: dict[str, float] = {}
        """When the last event of the room came; in that order."""
        self._refusals: dict[str, Refusal] = {}

    def note(self, room: str) -> None:
        """An event was taken."""
        if not room.startswith(CHECK_ROOMS):
            return
        now = self._clock()
        self._rooms = {name: at for name, at in self._rooms.items() if now - at < KEPT and name != room}
        while len(self._rooms) >= MOST:
            del self._rooms[next(iter(self._rooms))]
        self._rooms[room] = now

    def note_refusal(self, verdict: str, why: str) -> None:
        self._refusals[verdict] = Refusal(verdict=verdict, why=why, at=self._clock())

    def of(self, room: str) -> bool:
        """Whether an event of that room was taken lately."""
        return self._clock() - self._rooms.get(room, -math.inf) < KEPT

    def refusals(self) -> list[tuple[Refusal, float]]:
        """The last of each kind, and how many seconds ago it came; those of the last minutes."""
        now = self._clock()
        return [(r, now - r.at) for r in self._refusals.values() if now - r.at < KEPT]
