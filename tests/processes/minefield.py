"""One gateway with a bomb in it, over a real store."""

from __future__ import annotations

import asyncio
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from gateway.settings import Lane
from tests.processes.building import stage
from tests.processes.crashing import BOMB
from tests.processes.outcome import Outcome
from tests.processes.points import Point
from tests.processes.setup import Setup
from tests.processes.stage import Stage

REACHED = 15.0
"""Seconds within which a scene must come to the call."""
SAID = 10.0
"""Seconds within which the gateway says what is so."""
SLOTS = 2
LOOK = 0.02


@dataclass(slots=True)
class Minefield:
    here: Stage
    bomb: Path

    def arm(self, point: Point) -> None:
        draft = self.bomb.with_suffix(".draft")
        draft.write_text(point.fuse)
        draft.rename(self.bomb)

    async def went_off(self) -> bool:
        """Whether the gateway ends, and by the bomb."""

        async def dead() -> bool:
            return not self.here.replica.alive

        return await until(dead, REACHED) and not self.bomb.exists()

    def disarm(self) -> None:
        self.bomb.unlink(missing_ok=True)

    async def said(self, room: str) -> tuple[str, frozenset[str]]:
        """The state of the room's want and its agent, as the gateway tells them."""
        wants = [want for want in await self.here.replica.wants() if want["roomName"] == room]
        return (wants[0]["state"], frozenset({wants[0]["agentIdentity"]})) if wants else ("", frozenset())


@asynccontextmanager
async def minefield(outcome: Outcome, *, redis: bool, lane: Lane = "dispatch") -> AsyncIterator[Minefield]:
    with tempfile.TemporaryDirectory(prefix="bomb-") as folder:
        bomb = Path(folder) / "bomb"
        env = {BOMB: str(bomb), "ROOMKEEPER_DRAIN_TIMEOUT": "1", "ROOMKEEPER_LAUNCH": lane}
        setup = Setup(slots=SLOTS, redis=redis, entry="tests.processes.crashing", env=env)
        async with stage(setup, outcome) as here:
            yield Minefield(here, bomb)


async def until(holds: Callable[[], Awaitable[bool]], seconds: float) -> bool:
    """Whether it came to that in so many seconds."""
    deadline = time.monotonic() + seconds
    while not await holds():
        if time.monotonic() > deadline:
            return False
        await asyncio.sleep(LOOK)
    return True
