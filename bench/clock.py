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
        self._entered: dict[str, asyncio.Event] = {}
        self._left: dict[str, asyncio.Event] = {}

    def datagram_received(self, data: bytes, addr: object) -> None:
        told = json.loads(data)
        room = told["room"]
        if told["what"] == "entered":
            self._starts.setdefault(room, Start(told["assigned"], told["at"]))
            self._entered.setdefault(room, asyncio.Event()).set()
        else:
            self._left.setdefault(room, asyncio.Event()).set()

    async def start(self, room: str, *, timeout: float) -> Start | None:
        """The first start of an agent in the room; None when there is none within `timeout` seconds."""
        told = await _within(timeout, self._entered.setdefault(room, asyncio.Event()))
        return self._starts[room] if told else None

    async def left(self, room: str, *, timeout: float) -> bool:
        """Whether the agent was there and has left within `timeout` seconds."""
        return await _within(timeout, self._left.setdefault(room, asyncio.Event()))


async def _within(timeout: float, event: asyncio.Event) -> bool:
    try:
        async with asyncio.timeout(timeout):
            await event.wait()
    except TimeoutError:
        return False
    return True


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
