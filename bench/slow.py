"""What 2,000 slow and silent connections do to honest callers, and how long they last.

`before` and `beside`: tokens asked for at a steady rate over connections of their own, without and with the
crowd. A third of it says nothing, a third drips a head, a third drips a body.
"""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import Sequence
from contextlib import AsyncExitStack, suppress

import httpx

from bench.report import Row
from bench.steady import at_rate, row_of
from gateway.listening import allow_many_connections
from tests.live.gateway import Gateway
from tests.live.site import Site

NAME = "slow"
N = 2000
"""Connections in the crowd."""
RATE = 100.0
"""Honest requests a second."""
SECONDS = 10.0
DRIP = 1.0
"""Seconds between two drops."""
GONE_WITHIN = 30.0
AT_ONCE = 100
"""Connections that are opened side by side."""

_BEGINNINGS = (
    b"",
    b"POST /api/token HTTP/1.1\r\nhost: x\r\n",
    b"POST /api/token HTTP/1.1\r\nhost: x\r\ncontent-length: 100000\r\n\r\n",
)
_DROPS = (b"", b"a: b\r\n", b" ")


class Crowd:
    def __init__(self, host: str, port: int) -> None:
        self._address = host, port
        self._tasks: list[asyncio.Task[None]] = []
        self._places = asyncio.Semaphore(AT_ONCE)
        self._came = asyncio.Semaphore(0)
        self.lasted: list[float] = []

    async def come(self, n: int) -> None:
        """Returns when all of them are there."""
        kinds = itertools.islice(itertools.cycle(range(len(_BEGINNINGS))), n)
        self._tasks = [asyncio.create_task(self._one(kind)) for kind in kinds]
        for _ in range(n):
            await self._came.acquire()

    async def gone(self, within: float) -> int:
        """How many are still there after so many seconds."""
        _, there = await asyncio.wait(self._tasks, timeout=within)
        for task in there:
            task.cancel()
        return len(there)

    async def _one(self, kind: int) -> None:
        async with self._places:
            reader, writer = await asyncio.open_connection(*self._address)
        self._came.release()
        began = time.monotonic()
        writer.write(_BEGINNINGS[kind])
        try:
            ended = asyncio.ensure_future(reader.read())
            while not (await asyncio.wait([ended], timeout=DRIP))[0]:
                writer.write(_DROPS[kind])
        finally:
            self.lasted.append(time.monotonic() - began)
            ended.cancel()
            writer.close()
            with suppress(OSError):
                await writer.wait_closed()


async def run(n: int = N) -> tuple[Sequence[Row], Sequence[str]]:
    allow_many_connections()
    site = Site(webhooks=False)
    async with AsyncExitStack() as stack:
        stack.enter_context(site.livekit)
        gateway = await stack.enter_async_context(site.gateway(None, slots=1))
        await honest(gateway)  # not counted: everything is cold
        before = await honest(gateway)
        crowd = Crowd("127.0.0.1", site.port)
        await crowd.come(n)
        beside = await honest(gateway)
        there = await crowd.gone(GONE_WITHIN)
    return [row_of("before", before), row_of("beside", beside)], [
        f"{n} slow or silent connections; still there {GONE_WITHIN + SECONDS:g} s after they came: {there};"
        f" the last one lasted {max(crowd.lasted, default=0.0):.0f} s",
        f"tokens asked for at {RATE:g}/s for {SECONDS:g} s; lost: no 2xx within 5 s",
    ]


async def honest(gateway: Gateway) -> list[float]:
    """Seconds of each request."""

    async def ask(_: int) -> bool:
        try:
            answer = await gateway.http.post("/api/token", json={"identity": "alice"}, timeout=5.0)
        except httpx.TransportError:
            return False
        return answer.is_success

    return await at_rate(RATE, SECONDS, ask)
