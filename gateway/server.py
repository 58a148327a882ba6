"""uvicorn in our event loop, with signals of our own, and a front door that opens in stages."""

from __future__ import annotations

import asyncio
import signal
import socket
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from types import FrameType

import anyio
import structlog
import uvicorn
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from gateway.connections import Connection
from gateway.http.problems import problem

log = structlog.get_logger(__name__)

LAST_REQUESTS = 3.0
"""Seconds that requests under way may take once everything else has ended."""


class Front:
    """Answers `/livez` from the first moment, the rest between `open` and `close` only (fact 66)."""

    def __init__(self) -> None:
        self._app: ASGIApp | None = None
        self._why = "Roomkeeper is starting."

    def open(self, app: ASGIApp) -> None:
        self._app = app

    def close(self) -> None:
        self._app, self._why = None, "Roomkeeper is ending."

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if self._app is not None:
            return await self._app(scope, receive, send)
        if scope["path"] == "/livez":
            return await PlainTextResponse("ok")(scope, receive, send)
        answer = problem(503, self._why, path=scope["path"], headers={"retry-after": "1"})
        return await answer(scope, receive, send)


class Signals:
    """SIGTERM and SIGINT: the first asks to end, the second to end at once."""

    def __init__(self) -> None:
        self.end = anyio.Event()
        self.at_once = anyio.Event()

    def hear(self, number: int) -> None:
        log.info("signal_heard", signal=signal.Signals(number).name, at_once=self.end.is_set())
        if self.end.is_set():
            self.at_once.set()
        self.end.set()


class Server(uvicorn.Server):
    """Keeps serving when a signal comes: uvicorn would close its sockets before anything drains (fact 56)."""

    def __init__(self, app: ASGIApp, signals: Signals, proxies: Sequence[str]) -> None:
        super().__init__(
            uvicorn.Config(
                app,
                http=Connection,
                ws="none",
                lifespan="off",
                log_config=None,
                access_log=False,
                server_header=False,
                proxy_headers=bool(proxies),
                forwarded_allow_ips=list(proxies),
                timeout_graceful_shutdown=int(LAST_REQUESTS),
            )
        )
        self._signals = signals
        self._loop = asyncio.get_running_loop()
        self.listening = anyio.Event()

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        self._loop.call_soon_threadsafe(self._signals.hear, sig)

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.listening.set()


@asynccontextmanager
async def serve(
    app: ASGIApp, listener: socket.socket, signals: Signals, *, proxies: Sequence[str] = ()
) -> AsyncIterator[None]:
    """Serve HTTP for as long as the block lasts. `proxies`: whose word on the client's address counts."""
    server = Server(app, signals, proxies)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(server.serve, [listener], name="http")
        await server.listening.wait()
        yield
        server.should_exit = True
