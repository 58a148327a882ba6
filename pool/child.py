"""Inside a job process: a thin, importable wrapper around the user's setup and entrypoint.

It tells the worker what really happens to the job (a job's status and exit code cannot: facts 49, 75, 82),
and ends the process when the worker is gone (fact 13). It changes nothing that the user's code sees.
"""

from __future__ import annotations

import asyncio
import fcntl
import gc
import os
import signal
import socket
import sys
import termios
import threading
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

import msgspec
from livekit.agents import JobContext, JobProcess
from opentelemetry import context, trace
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from pool.clock import uptime
from pool.compat import start_rtc
from pool.figures import Figures
from pool.guard import die_with_parent
from pool.output import redirect
from pool.ports import JobEventKind
from pool.reports import Answer, Report
from pool.watch import Watch

MOST_UNTAKEN = 16_384
"""Bytes: far below what a socket takes before it blocks."""

_link: Link | None = None
"""This process's connection to its worker: made once, at the setup."""


class Link:
    """The connection to the worker: reports go out, one answer comes in; its end is this process's end."""

    def __init__(self, path: str) -> None:
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.connect(path)
        self._answer: asyncio.Future[bool] | None = None
        self.send(Report(pid=os.getpid()))
        threading.Thread(target=self._listen, name="roomkeeper_link", daemon=True).start()

    def send(self, report: Report) -> None:
        """Blocks for as long as the worker's buffer is full: a report is a few dozen bytes, so it is not."""
        self._socket.sendall(msgspec.json.encode(report) + b"\n")

    def offer(self, report: Report) -> None:
        """Send it, or lose it while the worker takes nothing: never blocks, and leaves room for `send`. Linux
        takes all of so short a line, or nothing."""
        if self._untaken() > MOST_UNTAKEN:
            return
        with suppress(BlockingIOError):
            self._socket.send(msgspec.json.encode(report) + b"\n", socket.MSG_DONTWAIT)

    def _untaken(self) -> int:
        """Bytes that the worker has not read yet, with what the system counts beside them."""
        return int.from_bytes(fcntl.ioctl(self._socket, termios.TIOCOUTQ, bytes(4)), sys.byteorder)

    def expect_answer(self) -> asyncio.Future[bool]:
        """Call before the report that asks for the answer is sent."""
        self._answer = asyncio.get_running_loop().create_future()
        return self._answer

    def _heard(self, answer: Answer) -> None:
        """In the job's event loop: that it answers at all is what the worker wants to know."""
        if answer.confirmed is None:
            self.send(Report(pid=os.getpid()))
        elif self._answer is not None:
            self._answer.set_result(answer.confirmed)

    def _listen(self) -> None:
        """A thread of its own, as the job may block its event loop for ever (fact 13)."""
        try:
            for line in self._socket.makefile("rb"):
                answer = msgspec.json.decode(line, type=Answer)
                if self._answer is not None:
                    with suppress(RuntimeError):  # the job's loop is closed: it is about to end
                        self._answer.get_loop().call_soon_threadsafe(self._heard, answer)
        finally:
            os.kill(os.getpid(), signal.SIGKILL)


def prepare(setup: Callable[[JobProcess], Any] | None, reports: str, output: str, process: JobProcess) -> Any:
    """In place of the user's `setup_fnc`: tie this process to the worker, get ready for a room, then do the
    user's setup. `reports`, `output`: where the worker listens."""
    global _link
    gc.enable()
    die_with_parent()
    redirect(output)
    _link = Link(reports)
    start_rtc()
    return setup(process) if setup is not None else None


async def enter(entrypoint: Callable[[JobContext], Awaitable[None]], ctx: JobContext) -> None:
    """In place of the user's entrypoint: run it if the job is still wanted, and report what becomes of it."""
    assert _link is not None, "prepare() ran in every job process"
    link = _link

    def report(kind: JobEventKind, detail: str = "") -> None:
        link.send(Report(pid=os.getpid(), job_id=ctx.job.id, kind=kind, detail=detail, at=uptime()))

    def figures(told: Figures) -> None:
        link.offer(Report(pid=os.getpid(), job_id=ctx.job.id, voice=told))

    answer = link.expect_answer()
    report(JobEventKind.ENTERED)
    if not await answer:
        ctx.shutdown("no longer wanted")
        return
    _continue_trace(dict(ctx.job.attributes))
    watch = Watch(ctx, report, figures)
    try:
        await entrypoint(ctx)
    except Exception as error:
        watch.entrypoint_raised(error)
        raise
    watch.entrypoint_returned()


def _continue_trace(attributes: dict[str, str]) -> None:
    """What the agent traces by itself belongs to what called for it (`traceparent`), unless livekit-agents
    has begun a trace of the job already. While nobody has set a tracer up, it means nothing."""
    if "traceparent" in attributes and not trace.get_current_span().get_span_context().is_valid:
        context.attach(TraceContextTextMapPropagator().extract(attributes))
