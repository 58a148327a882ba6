"""No room for a call: all slots taken, no worker registered, a worker that ponders or is frozen."""

from __future__ import annotations

import asyncio
import time

from tests.processes.building import stage
from tests.processes.outcome import Outcome
from tests.processes.rooms import SERVED
from tests.processes.setup import Setup
from tests.processes.table import row

FULL_FOR = 30.0
FULL_IN_CI = 6.0
"""Seconds: longer than a lost dispatch is waited for, so that one made too early would show."""
WORKER = "/agent"
"""The path at which LiveKit takes workers."""


@row("full-30", "all workers full for 30 s, then a slot frees", n=4, bounded=1, limit=5)
async def full(outcome: Outcome) -> None:
    """Who waits has a place in line, and is served in that order as soon as slots free."""
    async with stage(Setup(slots=2), outcome) as here:
        for _ in range(outcome.n):
            first = await here.serve(2, "first")
            waiting = [here.name("waiting") for _ in range(2)]
            for room in waiting:
                await here.join(room)
                await here.ask(room)
            await asyncio.sleep(FULL_IN_CI if outcome.bounded else FULL_FOR)
            for room in waiting:
                if here.record.now(room).agents:
                    outcome.violate("I1", f"{room} has an agent, and no slot was free")
            since = time.monotonic()
            await here.end_all(first)
            await here.heal_all(waiting, since=since, limit=10)
            await here.calm(waiting)
            await here.end_all(waiting)


@row("no-worker-60", "no worker is registered for 60 s: rooms wait", n=2, limit=20)
async def no_worker(outcome: Outcome) -> None:
    """The line is held while nobody can serve it; the worker's own back-off is up to 10 s (fact 64)."""
    async with stage(Setup(slots=4, meddled=True), outcome) as here:
        assert here.meddler is not None
        for _ in range(outcome.n):
            here.meddler.refuse = lambda path: path.startswith(WORKER)
            here.meddler.drop(WORKER)
            await here.replica.wait_until("/readyz", 503, timeout=SERVED)
            rooms = [here.name() for _ in range(3)]
            for room in rooms:
                await here.join(room)
                await here.ask(room)
            await asyncio.sleep(60)
            here.meddler.refuse = lambda _: False
            since = time.monotonic()
            await here.heal_all(rooms, since=since, limit=30)
            await here.calm(rooms)
            await here.end_all(rooms)


@row("slow-request", "the user's on_request takes 2 s (LiveKit waits for 3)", n=12, bounded=1, limit=10)
async def slow_request(outcome: Outcome) -> None:
    await _one_after_the_other(outcome, Setup(module="ponderer", env={"PONDER": "2"}))


async def _one_after_the_other(outcome: Outcome, setup: Setup) -> None:
    async with stage(setup, outcome) as here:
        for _ in range(outcome.n):
            room = here.name()
            await here.join(room)
            since = time.monotonic()
            await here.ask(room)
            await here.heal(room, since=since, limit=SERVED)
            await here.calm([room])
            await here.end(room)


@row(
    "frozen-worker",
    "12 requests while one of two workers is frozen (stock loses half: fact 74)",
    n=3,
)
async def frozen_worker(outcome: Outcome) -> None:
    """Dispatches that went to the frozen one are made again until the healthy one gets them."""
    async with stage(Setup(replicas=2, slots=12, redis=True), outcome) as here:
        for number in range(outcome.n):
            victim, healthy = here.replicas[number % 2], here.replicas[(number + 1) % 2]
            frozen = victim.freeze()
            rooms = [here.name() for _ in range(12)]
            async with here.pause(rooms):
                await asyncio.gather(*(here.join(room) for room in rooms))
                since = time.monotonic()
                await asyncio.gather(*(here.ask(room, first=healthy) for room in rooms))
                await here.heal_all(rooms, since=since, limit=60)
                victim.thaw(frozen)
            await here.calm(rooms, seconds=8)
            await here.end_all(rooms)
            await here.replica.warm(12)
