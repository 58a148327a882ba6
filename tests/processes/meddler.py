"""A proxy before livekit-server that understands HTTP: it loses or delays the answers of single API calls.

Toxiproxy sees bytes only. Whatever is no API call (the workers' and clients' websockets) passes through, or
is refused by its path.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from tests.livekit_server import free_port

LIMIT = 1 << 20


@dataclass(frozen=True, slots=True)
class Meddling:
    """What happens to one call."""

    hold: float = 0.0
    """Seconds before it reaches LiveKit: the caller may have given up, and it still has its effect."""
    late: float = 0.0
    """Seconds by which the answer is late."""
    lose: bool = False
    """The answer is lost, and the connection with it."""


Rule = Callable[[str], Meddling | None]
"""By the path of the request; None: nothing happens to it."""


class Meddler:
    """Listens on `port`; an async context manager."""

    def __init__(self, upstream_port: int) -> None:
        self.port = free_port(socket.SOCK_STREAM)
        self.rule: Rule = lambda _: None
        self.refuse: Callable[[str], bool] = lambda _: False
        """Paths that are answered 503 without LiveKit hearing of them."""
        self.counts: Counter[str] = Counter()
        self._upstream_port = upstream_port
        self._connections: set[asyncio.Task[None]] = set()
        self._sockets: set[tuple[str, asyncio.StreamWriter]] = set()

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port, limit=LIMIT)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None
    ) -> None:
        self._server.close()
        for connection in list(self._connections):
            connection.cancel()
        await asyncio.gather(*self._connections, return_exceptions=True)

    def drop(self, path: str) -> None:
        """Close the open websockets of that path."""
        for opened, writer in list(self._sockets):
            if opened.startswith(path):
                writer.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._connections.add(task)
        try:
            # Cancelled at the end only: a server's own callback would report it as a fault.
            with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
                upstream = await asyncio.open_connection("127.0.0.1", self._upstream_port, limit=LIMIT)
                try:
                    await self._talk(reader, writer, *upstream)
                finally:
                    upstream[1].close()
        finally:
            self._connections.discard(task)
            writer.close()

    async def _talk(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        up_reader: asyncio.StreamReader,
        up_writer: asyncio.StreamWriter,
    ) -> None:
        """The requests of one connection, one after the other."""
        while True:
            head = await reader.readuntil(b"\r\n\r\n")
            path = head.split(b" ", 2)[1].decode()
            if self.refuse(path):
                self.counts["refused"] += 1
                writer.write(
                    b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
                )
                await writer.drain()
                return
            if b"upgrade: websocket" in head.lower():
                up_writer.write(head)
                await self._pass_through(path, reader, writer, up_reader, up_writer)
                return
            request = head + await reader.readexactly(_length(head))
            meddling = self.rule(path) or Meddling()
            await asyncio.sleep(meddling.hold)
            up_writer.write(request)
            answer = await up_reader.readuntil(b"\r\n\r\n")
            answer += await up_reader.readexactly(_length(answer))
            await asyncio.sleep(meddling.late)
            if meddling != Meddling():
                self.counts["meddled"] += 1
            if meddling.lose:
                return
            writer.write(answer)
            await writer.drain()

    async def _pass_through(
        self,
        path: str,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        up_reader: asyncio.StreamReader,
        up_writer: asyncio.StreamWriter,
    ) -> None:
        opened = (path, writer)
        self._sockets.add(opened)
        try:
            ways = {
                asyncio.create_task(_pump(reader, up_writer)),
                asyncio.create_task(_pump(up_reader, writer)),
            }
            _, left = await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
            for way in left:
                way.cancel()
        finally:
            self._sockets.discard(opened)


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(ConnectionError):
        while chunk := await reader.read(1 << 16):
            writer.write(chunk)
            await writer.drain()


def _length(head: bytes) -> int:
    """Content-Length; LiveKit and its client library send no chunks on these calls."""
    for line in head.split(b"\r\n"):
        name, _, value = line.partition(b":")
        if name.lower() == b"content-length":
            return int(value)
    return 0
