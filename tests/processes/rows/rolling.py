"""A rolling restart of three replicas while calls come and go."""

from __future__ import annotations

import asyncio
import time

from tests.processes.building import stage
from tests.processes.outcome import Outcome
from tests.processes.rooms import SERVED
from tests.processes.setup import Setup
from tests.processes.stage import Stage
from tests.processes.table import row
from tests.processes.verdict import agentless

CALL_LASTS = 8.0
WITHOUT = 3.0
"""Seconds that a room may be without an agent."""


@row(
    "rolling-restart",
    "SIGTERM, drain and start of each of three replicas in turn, under load",
    n=2,
    bounded=1,
    limit=3,
    alone=True,
)
async def rolling_restart(outcome: Outcome) -> None:
    """No call is cut; new rooms wait 3 s at most, at p99; a room that had its agent is not without one."""
    await _roll(outcome, calls=6, slots=4)


@row(
    "rolling-restart-20",
    "the same with 20 calls at any time, which is more than two cores do at ease",
    n=3,
    limit=15,
)
async def rolling_restart_of_20(outcome: Outcome) -> None:
    """No call is cut. How long new rooms wait is two cores' affair: 20 WebRTC calls, three replicas."""
    await _roll(outcome, calls=20, slots=12)


async def _roll(outcome: Outcome, *, calls: int, slots: int) -> None:
    """`calls` at any time, each with its own caller; two of the three replicas have slots for all of them."""
    setup = Setup(replicas=3, slots=slots, redis=True, env={"ROOMKEEPER_DRAIN_TIMEOUT": "60"})
    async with stage(setup, outcome) as here:
        over = asyncio.Event()
        callers = [asyncio.create_task(_calls(here, over), name=f"caller-{i}") for i in range(calls)]
        for _ in range(outcome.n):
            for replica in here.replicas:
                await asyncio.wait_for(replica.leave_in_background(), 90)
                await replica.start()
                await replica.warm(1)
        over.set()
        await asyncio.gather(*callers)


async def _calls(here: Stage, over: asyncio.Event) -> None:
    """One call after the other: join, ask, talk, leave."""
    while not over.is_set():
        room = here.name("call")
        await here.join(room)
        since = time.monotonic()
        await here.ask(room)
        await here.heal(room, since=since, limit=SERVED)
        agents = here.record.working(room)
        began = time.monotonic()
        await asyncio.sleep(CALL_LASTS)
        here.outcome.add("calls", 1)
        if here.record.working(room) != agents:
            here.outcome.violate("I3", f"a call was cut: {here.record.describe(room)}")
        samples = here.record.samples[here.record.rooms[room][-1]]
        without = agentless(samples, since=began, until=time.monotonic())
        if without > WITHOUT:
            here.outcome.violate("I2", f"{without:.1f} s without an agent: {here.record.describe(room)}")
        await here.end(room)
