"""Webhooks are hints: ten thousand again, out of order, change nothing; without any, nothing is missed."""

from __future__ import annotations

import asyncio
import os
import signal
import time

from tests.processes.building import stage
from tests.processes.outcome import Outcome
from tests.processes.setup import Setup
from tests.processes.stage import Stage
from tests.processes.table import row

REPLAYED = 10_000
RESYNC = 10.0
"""Seconds between two comparisons with what LiveKit lists, the default."""


@row(
    "webhooks-doubled",
    "10,000 old webhooks again, shuffled, and 30 % of the new ones doubled",
    n=3,
)
async def doubled(outcome: Outcome) -> None:
    """Rooms with a past (people who came back, agents that died, rooms that ended) hear all of it again."""
    async with stage(Setup(slots=outcome.n + 2), outcome) as here:
        here.hooks.doubled, here.hooks.shuffled = 0.3, True
        rooms = await here.serve(outcome.n)
        ended = await here.serve(1, "ended")
        await here.end(ended[0])
        for room in rooms:
            former = here.agent_of(room)
            os.kill(here.pid_of(former), signal.SIGKILL)
            await here.record.wait_working(room, other_than=[former], timeout=20)
            await here.join(room)
        await here.calm(rooms)
        before = here.agents_of(rooms)
        replay = asyncio.create_task(here.hooks.replay(REPLAYED))
        while not replay.done():
            room = here.name("fresh")
            await here.join(room)
            since = time.monotonic()
            await here.ask(room)
            await here.heal(room, since=since, limit=10)
            await here.end(room)
        await replay
        outcome.set("events_replayed", REPLAYED)
        await here.calm(rooms)
        here.must_be_uncut(rooms, before)
        if here.record.now(ended[0]).agents:
            outcome.violate("I4", f"the room that ended has an agent: {here.record.describe(ended[0])}")


@row("webhooks-half", "half of all webhooks lost", n=6)
async def half(outcome: Outcome) -> None:
    await _lost(outcome, 0.5)


@row("webhooks-none", "all webhooks lost", n=6, bounded=1)
async def none(outcome: Outcome) -> None:
    await _lost(outcome, 1.0)


async def _lost(outcome: Outcome, share: float) -> None:
    """Asked for, served; killed, replaced; ended, forgotten; who comes later gets no agent unasked (I4)."""
    async with stage(Setup(slots=4), outcome) as here:
        here.hooks.lost = share
        for _ in range(outcome.n):
            room = here.name()
            await here.join(room)
            since = time.monotonic()
            await here.ask(room)
            await here.heal(room, since=since, limit=10)
            former = here.agent_of(room)
            since = time.monotonic()
            os.kill(here.pid_of(former), signal.SIGKILL)
            await here.heal(room, since=since, limit=10, former=[former])
            await here.end(room)
            await _nobody_comes(here, room)


async def _nobody_comes(here: Stage, room: str) -> None:
    """A person joins the ended room's successor, and nobody asked."""
    await here.join(room)
    await asyncio.sleep(RESYNC + 2)
    if here.record.now(room).agents:
        here.outcome.violate("I4", f"an agent nobody asked for: {here.record.describe(room)}")
    await here.end(room)
