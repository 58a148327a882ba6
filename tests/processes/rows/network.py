"""The network between a gateway with its jobs and LiveKit: slow, resetting, half-open (toxiproxy)."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import Awaitable, Callable

from tests.processes.outcome import Outcome
from tests.processes.stage import Setup, stage
from tests.processes.table import row
from tests.processes.toxiproxy import Link

WIRED = Setup(slots=4, proxied=frozenset({"livekit"}))


@row("network-slow", "500 ms latency between gateway and LiveKit", n=10, limit=15)
async def slow(outcome: Outcome) -> None:
    await _served(outcome, lambda link: link.slow(500))


@row(
    "network-resets",
    "5 % of the connections between gateway and LiveKit are reset",
    n=30,
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
    """Agents come back by themselves or are replaced; one in the end. Heals from the link's return."""
    async with stage(WIRED, outcome) as here:
        rooms = await here.serve(3)
        link = here.links[0, "livekit"]
        for _ in range(outcome.n):
            before = here.agents_of(rooms)
            async with here.pause():
                await link.hang()
                await asyncio.sleep(20)
                await link.heal()
            since = time.monotonic()
            await here.heal_all(rooms, since=since, limit=30)
            await here.calm(rooms, seconds=12)
            outcome.add("agents_replaced", here.cut(rooms, before))
