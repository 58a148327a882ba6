"""The network between a gateway with its jobs and LiveKit: slow, resetting, half-open (toxiproxy)."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import Awaitable, Callable

from tests.processes.building import stage
from tests.processes.outcome import Outcome
from tests.processes.setup import Setup
from tests.processes.table import row
from tests.processes.toxiproxy import Link

HALF_OPEN = 20.0
RETURNED = 12.0
"""Seconds after the link's return in which agents that come back by themselves are there (fact 80)."""

WIRED = Setup(slots=4, proxied=frozenset({"livekit"}))


@row("network-slow", "500 ms latency between gateway and LiveKit", n=10, limit=15)
async def slow(outcome: Outcome) -> None:
    await _served(outcome, lambda link: link.slow(500))


@row(
    "network-resets",
    "5 % of the connections between gateway and LiveKit are reset",
    n=30,
    bounded=2,
    limit=15,
)
async def resets(outcome: Outcome) -> None:
    await _served(outcome, lambda link: link.reset(0.05))


async def _served(outcome: Outcome, fault: Callable[[Link], Awaitable[None]]) -> None:
    """Asked for: one comes; killed: another one comes."""
    async with stage(WIRED, outcome) as here:
        await fault(here.links[0, "livekit"])
        for _ in range(outcome.n):
            room = here.name()
            await here.join(room)
            since = time.monotonic()
            await here.ask(room)
            await here.heal(room, since=since, limit=30)
            for former in here.record.working(room):
                since = time.monotonic()
                os.kill(here.pid_of(former), signal.SIGKILL)
                await here.heal(room, since=since, limit=30, former=[former])
            await here.calm([room])
            await here.end(room)


@row(
    "network-half-open",
    "connections to LiveKit stay open and carry nothing for 20 s",
    n=4,
    limit=30,
)
async def half_open(outcome: Outcome) -> None:
    """Agents stay, come back by themselves or are replaced; one in the end. A heal is a room's that was seen
    without its agent, from then on; an agent that was there all the time is a call that was kept."""
    async with stage(WIRED, outcome) as here:
        rooms = await here.serve(3)
        link = here.links[0, "livekit"]
        for _ in range(outcome.n):
            before = here.agents_of(rooms)
            since = time.monotonic()
            async with here.pause(rooms):
                await link.hang()
                await asyncio.sleep(HALF_OPEN)
                await link.heal()
            await asyncio.sleep(RETURNED)
            for room in rooms:
                lost = here.record.lost(room, before[room], since=since)
                if lost is None:
                    outcome.add("calls_kept", 1)
                else:
                    await here.heal(room, since=lost, limit=time.monotonic() - lost + 30)
            await here.calm(rooms)
            outcome.add("agents_replaced", here.cut(rooms, before))
