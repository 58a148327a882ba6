"""What a job process tells its worker, and the worker's answer: one JSON line each, over a unix socket.

Not over logging, which user code may reconfigure. The worker's side; the job process's side is `pool.child`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import cast

import msgspec
import structlog

from pool.figures import Allowance, Figures
from pool.folders import OwnFolder
from pool.ports import JobEventKind

log = structlog.get_logger(__name__)

MAX_LINE_BYTES = 65536


class Report(msgspec.Struct, frozen=True, omit_defaults=True):
    """A line from a job process. The first one, at its setup, has a `pid` only; so has the answer that its
    event loop turns."""

    pid: int
    job_id: str = ""
    kind: JobEventKind | None = None
    detail: str = ""
    at: float = 0.0
    """When it happened, as `uptime()` tells: the worker may have stood still since then. 0: just now."""
    voice: Figures | None = None
    """Then it says nothing else."""


class Answer(msgspec.Struct, frozen=True, omit_defaults=True):
    """A line to a job process: after `ENTERED` whether it may go on; empty, it is the question whether its
    event loop turns."""

    confirmed: bool | None = None


class Wire(asyncio.Protocol):
    """The connection of one job process; open for as long as the process lives."""

    def __init__(
        self,
        heard: Callable[[Wire, Report], None],
        lost: Callable[[Wire], None],
        figures: Callable[[Figures], None] = lambda figures: None,
    ) -> None:
        """`figures`: who counts what is told of sessions' voices."""
        self.pid = 0
        self.closed = False
        self._heard = heard
        self._lost = lost
        self._figures = figures
        self._allowed = Allowance()
        self._rest = b""
        self._transport: asyncio.WriteTransport | None = None
        self._decoder = msgspec.json.Decoder(Report)

    def answer(self, answer: Answer) -> None:
        if self._transport is not None and not self.closed:
            self._transport.write(msgspec.json.encode(answer) + b"\n")

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.WriteTransport, transport)  # uvloop's is none by inheritance

    def data_received(self, data: bytes) -> None:
        *lines, self._rest = (self._rest + data).split(b"\n")
        for line in lines:
            try:
                report = self._decoder.decode(line)
            except msgspec.MsgspecError as error:  # user code cannot reach this socket by accident
                log.warning("job_report_unreadable", pid=self.pid, error=str(error))
                continue
            self.pid = report.pid
            if report.voice is None:
                self._heard(self, report)
            elif self._allowed.take():
                self._figures(report.voice)
        if len(self._rest) > MAX_LINE_BYTES:
            log.warning("job_report_too_long", pid=self.pid)
            self._rest = b""

    def connection_lost(self, exc: Exception | None) -> None:
        self.closed = True
        self._lost(self)


class ReportServer:
    """Listens on a unix socket in a directory of its own that only this user may enter."""

    def __init__(
        self,
        *,
        heard: Callable[[Wire, Report], None],
        lost: Callable[[Wire], None],
        figures: Callable[[Figures], None],
    ) -> None:
        self._heard = heard
        self._lost = lost
        self._figures = figures
        self._folder = OwnFolder("jobs")
        self._server: asyncio.Server | None = None

    @property
    def path(self) -> str:
        return str(self._folder.path / "jobs.sock")

    async def start(self) -> None:
        loop = asyncio.get_running_loop()
        self._server = await loop.create_unix_server(self._wire, self.path)

    def _wire(self) -> Wire:
        return Wire(self._heard, self._lost, self._figures)

    def close(self) -> None:
        """Stop listening. A job process that still lives dies of it only when this process ends."""
        if self._server is not None:
            self._server.close()
        self._folder.close()
