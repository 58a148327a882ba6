"""Where the agent `tests.live.agents.clocked` tells when it was assigned and when it began."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

PATH = "BENCH_CLOCK"
"""The variable by which agents find it: every process that is started inside `running` has it."""


@dataclass(frozen=True, slots=True)
class Start:
    """Seconds since the epoch."""

    assigned: float
    entered: float


class Clock(asyncio.DatagramProtocol):
    def __init__(self) -> None:
        self._starts: dict[str, Start] = {}
        self._told: dict[str, asyncio.Event] = {}

    def datagram_received(self, data: bytes, addr: object) -> None:
        told = json.loads(data)
        self._starts.setdefault(told["room"], Start(told["assigned"], told["entered"]))
        self._event(told["room"]).set()

    async def start(self, room: str, *, timeout: float) -> Start | None:
        """The first start of an agent in the room; None when there is none within `timeout` seconds."""
        try:
            async with asyncio.timeout(timeout):
                await self._event(room).wait()
        except TimeoutError:
            return None
        return self._starts[room]

    def _event(self, room: str) -> asyncio.Event:
        return self._told.setdefault(room, asyncio.Event())


@asynccontextmanager
async def running() -> AsyncIterator[Clock]:
    with tempfile.TemporaryDirectory(prefix="bench-clock-") as folder:
        path = Path(folder) / "clock"
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
            listener.bind(str(path))
            listener.setblocking(False)
            os.environ[PATH] = str(path)
            transport, clock = await asyncio.get_running_loop().create_datagram_endpoint(Clock, sock=listener)
            try:
                yield clock
            finally:
                transport.close()
                del os.environ[PATH]
