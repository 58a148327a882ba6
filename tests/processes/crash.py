"""A gateway killed at one crash point, and what must be so afterwards.

What was accepted is served after the restart without being asked for again; who got no answer asks again.
"""

from __future__ import annotations

import time
from contextlib import suppress

from tests.processes.minefield import SAID, SLOTS, Minefield, until
from tests.processes.points import Point, Scene
from tests.processes.rooms import SERVED
from tests.processes.scenes import AGAIN, SCENES, ask

HEALED = 30.0
"""Seconds from the kill to an agent: a start, the lapse of the lead before it, a ghost, a dispatch."""
ORPHANED = 2.0
"""Seconds within which job processes follow their gateway; the next one ends those that do not."""


async def crash(field: Minefield, point: Point) -> None:
    """Play the scene until the gateway ends at that point; start it again, and see that all is well."""
    here, outcome = field.here, field.here.outcome
    room = here.name(point.scene)
    outcome.add("points", 1)
    accepted = await SCENES[point.scene](field, room, point)
    if not await field.went_off():
        outcome.violate("failed", f"{point} was never reached")
        field.disarm()
    outcome.add("accepted" if accepted else "requests_without_an_answer", 1)
    since = time.monotonic()
    if not here.replica.alive:
        with suppress(TimeoutError):
            await here.record.wait(room, lambda s: not s.working(), timeout=ORPHANED)
        await here.replica.start()
    if not accepted:
        await AGAIN.get(point.scene, ask)(field, room)
    if point.scene is Scene.STOP:
        await _stays_stopped(field, room, point)
    elif not await _is_served(field, room, point, since) and accepted:
        outcome.add("accepted_lost", 1)
    await _clear(field, room)


async def _is_served(field: Minefield, room: str, point: Point, since: float) -> bool:
    """One agent is there, and the gateway says so (I7)."""
    here = field.here
    if not await here.heal(room, since=since, limit=HEALED):
        here.outcome.violate("I2", f"forgotten after a kill at {point}")
        return False

    async def told() -> bool:
        return await field.said(room) == ("joined", here.record.working(room))

    if not await until(told, SAID):
        said = await field.said(room)
        here.outcome.violate("I7", f"{point}: {said} is said. {here.record.describe(room)}")
    await here.calm([room], seconds=1)
    return True


async def _stays_stopped(field: Minefield, room: str, point: Point) -> None:
    state, _ = await field.said(room)
    if state != "stopped":
        field.here.outcome.violate("I5", f"{state}, though stopped, after a kill at {point}")


async def _clear(field: Minefield, room: str) -> None:
    """The room ends, and the gateway is done with it."""

    async def forgotten() -> bool:
        return (await field.said(room))[0] in {"", "finished", "stopped"}

    await field.here.end(room)
    await until(forgotten, SERVED)
    await field.here.replica.warm(SLOTS)
