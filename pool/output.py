"""What job processes print, as lines of the worker's own log.

A job process's standard output and error are two sockets to the worker, so that what it said last is heard
even when it was killed, and every line says whose it is. livekit-rtc's native code speaks there, too.
"""

from __future__ import annotations

import asyncio
import io
import os
import re
import socket
import sys
from collections.abc import Callable, Mapping

import structlog

from pool.folders import OwnFolder

MAX_LINE_BYTES = 16 * 1024
"""A longer line is cut into several."""
LINES_A_SECOND = 500
"""Of one stream. What is printed beyond is left out, and counted: to log it would hold up the worker, and not
to read it the agent in its call."""

_NATIVE = re.compile(r"\[\S+ (ERROR|WARN|INFO|DEBUG|TRACE)\s+(\S+)\] (.*)", re.DOTALL)
"""As Rust's env_logger writes."""
_LEVELS = {"ERROR": "error", "WARN": "warning", "INFO": "info"}
STREAMS = {"stdout": 1, "stderr": 2}


def redirect(path: str) -> None:
    """In a job process: print to the worker that listens at `path` from now on."""
    for name, number in STREAMS.items():
        with socket.socket(socket.AF_UNIX) as stream:
            stream.connect(path)
            stream.sendall(f"{os.getpid()} {name}\n".encode())
            os.dup2(stream.fileno(), number)
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(line_buffering=True)


class Printed(asyncio.Protocol):
    """One stream of one job process."""

    def __init__(self, whose: Callable[[int], Mapping[str, str]]) -> None:
        self._whose = whose
        self._fields: dict[str, str | int] = {}
        self._log = structlog.get_logger("job")
        self._pid = 0
        self._rest = b""
        self._told = 0
        """Lines of this second."""
        self._left_out = 0

    def data_received(self, data: bytes) -> None:
        *whole, self._rest = (self._rest + data).split(b"\n")
        lines = [piece for line in whole for piece in _pieces(line)]
        if len(self._rest) > MAX_LINE_BYTES:
            *cut, self._rest = _pieces(self._rest)
            lines += cut
        if not self._pid and lines:
            pid, stream = lines.pop(0).decode().split()  # our own words, see `redirect`
            self._pid = int(pid)
            self._log = structlog.get_logger(f"job.{stream}")
        for line in lines[: LINES_A_SECOND - self._told]:
            self._tell(line)
        self._count(len(lines))

    def connection_lost(self, exc: Exception | None) -> None:
        if self._rest and self._pid:
            self._tell(self._rest)

    def _tell(self, line: bytes) -> None:
        text = line.decode(errors="replace").rstrip()
        if not text:
            return
        self._fields = {"pid": self._pid, **(self._whose(self._pid) or self._fields)}
        if (native := _NATIVE.fullmatch(text)) is not None:
            level, of, text = native.groups()
            getattr(self._log, _LEVELS.get(level, "debug"))(text, of=of, **self._fields)
        else:
            self._log.info(text, **self._fields)

    def _count(self, lines: int) -> None:
        if not self._told and lines:
            asyncio.get_running_loop().call_later(1.0, self._next_second)
        self._told += lines
        if self._told > LINES_A_SECOND:
            self._left_out += self._told - LINES_A_SECOND
            self._told = LINES_A_SECOND

    def _next_second(self) -> None:
        if self._left_out:
            self._log.warning("lines_left_out", lines=self._left_out, **self._fields)
        self._told = self._left_out = 0


def _pieces(line: bytes) -> list[bytes]:
    return [line[at : at + MAX_LINE_BYTES] for at in range(0, len(line), MAX_LINE_BYTES)]


class OutputServer:
    """Listens on a unix socket in a directory of its own that only this user may enter.

    `whose(pid)`: what is known of the process's job, for its lines.
    """

    def __init__(self, whose: Callable[[int], Mapping[str, str]]) -> None:
        self._whose = whose
        self._folder = OwnFolder("output")
        self._server: asyncio.Server | None = None

    @property
    def path(self) -> str:
        return str(self._folder.path / "output.sock")

    async def start(self) -> None:
        loop = asyncio.get_running_loop()
        self._server = await loop.create_unix_server(lambda: Printed(self._whose), self.path)

    def close(self) -> None:
        """Stop listening. What living processes print is heard until this process ends."""
        if self._server is not None:
            self._server.close()
        self._folder.close()
