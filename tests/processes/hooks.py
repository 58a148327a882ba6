"""Between LiveKit's webhooks and the gateways: a load balancer that can lose, double and shuffle events."""

from __future__ import annotations

import asyncio
import itertools
import random
import socket
from collections import Counter
from collections.abc import Sequence
from types import TracebackType
from typing import Self

import aiohttp
from aiohttp import web

from tests.livekit_server import free_port

TIMEOUT = 2.0
SHUFFLED_WITHIN = 3.0
"""Seconds by which an event may be late when events are shuffled."""


class Hooks:
    """One receiver for LiveKit; each event goes to one of the gateways in turn, the next one when it is dead.

    An async context manager. `lost` and `doubled` are shares of the events, drawn with a seed.
    """

    def __init__(self) -> None:
        self.port = free_port(socket.SOCK_STREAM)
        self.lost = 0.0
        self.doubled = 0.0
        self.shuffled = False
        self.counts: Counter[str] = Counter()
        self._targets: Sequence[str] = ()
        self._turn = itertools.count()
        self._random = random.Random(1)
        self._tasks: set[asyncio.Task[None]] = set()
        self._past: list[tuple[bytes, dict[str, str]]] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/hook"

    def deliver_to(self, gateways: Sequence[str]) -> None:
        """Base URLs of the gateways."""
        self._targets = [f"{url}/api/livekit/webhook" for url in gateways]

    async def __aenter__(self) -> Self:
        self._http = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=TIMEOUT))
        app = web.Application()
        app.router.add_post("/hook", self._receive)
        self._runner = web.AppRunner(app, access_log=None)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", self.port).start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None
    ) -> None:
        for task in list(self._tasks):
            task.cancel()
        await self._runner.cleanup()
        await self._http.close()

    async def replay(self, count: int) -> None:
        """Deliver so many of the events that came so far again, drawn at random: LiveKit's signatures hold
        for 5 minutes (fact 25)."""
        past = list(self._past)
        places = asyncio.Semaphore(16)

        async def again() -> None:
            async with places:
                await self._deliver(*self._random.choice(past))

        await asyncio.gather(*(again() for _ in range(count)))

    async def _receive(self, request: web.Request) -> web.Response:
        """Answers as the gateway did, when the event is delivered at once and unharmed."""
        body, headers = await request.read(), self._headers(request)
        self.counts["received"] += 1
        self._past.append((body, headers))
        if self._random.random() < self.lost:
            self.counts["lost"] += 1
            return web.Response()
        if self._random.random() < self.doubled:
            self.counts["doubled"] += 1
            self._later(body, headers)
        if self.shuffled:
            self._later(body, headers)
            return web.Response()
        return web.Response(status=await self._deliver(body, headers))

    def _headers(self, request: web.Request) -> dict[str, str]:
        return {name: request.headers[name] for name in ("Authorization", "Content-Type")}

    def _later(self, body: bytes, headers: dict[str, str]) -> None:
        task = asyncio.create_task(self._deliver_late(body, headers), name="webhook")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _deliver_late(self, body: bytes, headers: dict[str, str]) -> None:
        await asyncio.sleep(self._random.random() * SHUFFLED_WITHIN)
        await self._deliver(body, headers)

    async def _deliver(self, body: bytes, headers: dict[str, str]) -> int:
        targets = self._targets
        first = next(self._turn)
        for number in range(len(targets)):
            url = targets[(first + number) % len(targets)]
            try:
                async with self._http.post(url, data=body, headers=headers) as answer:
                    if answer.status < 500:
                        self.counts["delivered"] += 1
                        return answer.status
            except (aiohttp.ClientError, TimeoutError):
                continue
        return 503
