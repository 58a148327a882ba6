"""What a frontend waits for its answer: job requests at 200 a second while the pool has nothing to do.

`floor`: `/livez`, which does nothing. `again`: requests for rooms that have asked before, as pages send them
on every reconnect. `fresh`: each for a room of its own, which is stored before it is answered. Nobody serves
the agent that they ask for, so that no agent's start is measured.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack

import aiohttp

from bench.report import Row
from bench.steady import at_rate, row_of
from tests.live.site import Site

NAME = "post"
N = 2000
"""Requests of each variant."""
RATE = 200.0
ROOMS = 40
WITHIN = 5.0
"""Seconds after which an answer does not count."""
AGENT = "served-by-nobody"


async def run(n: int = N) -> tuple[Sequence[Row], Sequence[str]]:
    site = Site()
    seconds = n / RATE
    async with AsyncExitStack() as stack:
        stack.enter_context(site.livekit)
        gateway = await stack.enter_async_context(site.gateway(None, slots=2))
        await gateway.warm(2)
        timeout = aiohttp.ClientTimeout(WITHIN)
        http = await stack.enter_async_context(aiohttp.ClientSession(gateway.url, timeout=timeout))
        run = f"{time.time():.0f}"
        await at_rate(RATE, 2.0, _asks(http, lambda number: f"warm-{run}-{number % ROOMS}"))
        rows = [
            row_of("floor", await at_rate(RATE, seconds, _livez(http))),
            row_of(
                "again",
                await at_rate(RATE, seconds, _asks(http, lambda number: f"warm-{run}-{number % ROOMS}")),
            ),
            row_of(
                "fresh", await at_rate(RATE, seconds, _asks(http, lambda number: f"fresh-{run}-{number}"))
            ),
        ]
    return rows, [f"{RATE:g} requests a second; lost: no 2xx within {WITHIN:g} s"]


def _livez(http: aiohttp.ClientSession) -> Callable[[int], Awaitable[bool]]:
    async def ask(_: int) -> bool:
        return await _ok(http.get("/livez"))

    return ask


def _asks(http: aiohttp.ClientSession, room: Callable[[int], str]) -> Callable[[int], Awaitable[bool]]:
    async def ask(number: int) -> bool:
        wanted = {"jobType": "start_agent", "roomName": room(number), "payload": {"agentName": AGENT}}
        return await _ok(http.post("/api/livekit/job", json=wanted))

    return ask


async def _ok(request: aiohttp.client._RequestContextManager) -> bool:
    try:
        async with request as answer:
            await answer.read()
            return answer.ok
    except (aiohttp.ClientError, TimeoutError):
        return False
