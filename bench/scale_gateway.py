"""The process that `scale` measures: the webhook's route on uvicorn, the keeper, a store, and rooms that have
their agent. No pool of real processes: their jobs run and tell nothing.

`python -m bench.scale_gateway CONFIG`; the config is JSON, see `Config`. The fake LiveKit is in this process
unless `livekit_url` names one to be asked over HTTP with the real adapter. `GET /figures` tells what was
spent since `POST /begin`.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import gc
import logging
import socket
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import replace
from pathlib import Path

import anyio
import msgspec
import psutil
import structlog
import uvloop
from prometheus_client import Histogram
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from bench.events import KEY, PATH, SECRET
from bench.figures import percentile
from bench.scale_world import Site, SteadyPool, Visitors
from gateway.http.heard import Heard
from gateway.http.routes import at
from gateway.http.webhook import Webhook
from gateway.keeper.keeper import Keeper
from gateway.keeper.model import Source, Unknown
from gateway.keeper.notes import Hint
from gateway.keeper.ports import LiveKit, Store
from gateway.livekit.api import LiveKitClient
from gateway.metrics import Metrics
from gateway.server import Signals, serve
from gateway.settings import KeeperSettings, StoreSettings
from gateway.store.clock import steady_clock
from gateway.store.open import open_store
from tests.fakes.livekit import FakeLiveKit
from tests.fakes.store import MemoryStore

LAG_EVERY = 0.05
LIVEKIT_TIMEOUT = 10.0


class Config(msgspec.Struct, kw_only=True):
    port: int
    replica: str
    replicas: list[str]
    rooms: int
    store: str = "memory"
    """memory, a path, or a redis:// URL."""
    source: str = Source.REQUEST.value
    foreign: bool = False
    livekit_url: str = ""
    fill: bool
    """The store is empty, and this process has to fill it."""
    pipe: str = ""
    """A Unix socket through which webhooks come, instead of HTTP."""
    node_id: str = ""
    """LiveKit's node, when it is another process."""
    bare: bool = False
    """No gateway at all: webhooks are answered unread."""

    def site(self) -> Site:
        return Site(
            rooms=self.rooms, replicas=self.replicas, source=Source(self.source), foreign=self.foreign
        )


class Figures:
    """What this process spends."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics
        self._process = psutil.Process()
        self._lags: list[float] = []
        self.begin()

    def begin(self) -> None:
        self._cpu, self._wall = time.process_time(), time.monotonic()
        self._not_ours = 0.0
        self._lags.clear()
        self._counts = self._totals()

    @contextlib.contextmanager
    def not_ours(self) -> Iterator[None]:
        """What happens in it is LiveKit's own work."""
        began = time.thread_time()
        yield
        self._not_ours += time.thread_time() - began

    async def watch_lag(self) -> None:
        """How much later than it asked a task gets the loop."""
        while True:
            asked = time.monotonic()
            await asyncio.sleep(LAG_EVERY)
            self._lags.append(time.monotonic() - asked - LAG_EVERY)

    def told(self) -> dict[str, float]:
        now = self._totals()
        return {
            "cpu_s": time.process_time() - self._cpu - self._not_ours,
            "wall_s": time.monotonic() - self._wall,
            "lag_p99_ms": 1000 * percentile(self._lags or [0.0], 0.99),
            "lag_max_ms": 1000 * max(self._lags, default=0.0),
            "rss_mb": self._process.memory_info().rss / 1e6,
            **{name: now[name] - self._counts[name] for name in now},
        }

    def _totals(self) -> dict[str, float]:
        return {
            "passes": _sum(self._metrics.passes.collect(), "_total"),
            "webhooks": _sum(self._metrics.webhooks.collect(), "_total"),
            "resyncs": _sum(self._metrics.resyncs.collect(), "_count"),
            "resyncs_s": _sum(self._metrics.resyncs.collect(), "_sum"),
            "calls": _sum(self._metrics.livekit_calls.collect(), "_count"),
        }


def _sum(families: object, suffix: str) -> float:
    return sum(s.value for f in families for s in f.samples if s.name.endswith(suffix))  # type: ignore[attr-defined]


async def main(config: Config) -> None:
    metrics = Metrics()
    gc.collect()
    gc.freeze()  # as the gateway does
    async with (
        anyio.create_task_group() as tasks,
        contextlib.AsyncExitStack() as stack,
    ):
        store = await stack.enter_async_context(_store(config.store))
        site = config.site()
        visitors = None
        livekit: LiveKit
        if config.livekit_url:
            node = config.node_id
            livekit = await stack.enter_async_context(_client(config.livekit_url, metrics.livekit_calls))
        else:
            livekit = fake = await stack.enter_async_context(FakeLiveKit(clock=store.clock))
            node = fake.node_id
            site.fill(fake)
            visitors = Visitors(fake)
        if config.fill:
            await fill(store, site, livekit, node)
        pool = SteadyPool(site.jobs_of(config.replica), node)
        keeper = Keeper(
            store=store,
            livekit=livekit,
            workers=pool,
            settings=replace(KeeperSettings(), room_patterns=(("scale-*", site.agent),))
            if site.source is Source.POLICY
            else KeeperSettings(),
            metrics=metrics,
            clock=store.clock,
            replica_id=config.replica,
        )
        keeper.on_capacity(pool.capacity())
        figures = Figures(metrics)
        tasks.start_soon(keeper.run, name="keeper")
        tasks.start_soon(figures.watch_lag, name="lag")

        def hint(told: Hint) -> bool:
            if visitors is not None:
                with figures.not_ours():
                    visitors.hear(told)
            return keeper.hint(told)

        webhook = Webhook(
            keys={KEY: SECRET}, hint=hint, counter=metrics.webhooks, clock=time.time, heard=Heard()
        )
        if config.pipe:
            server = await asyncio.start_unix_server(functools.partial(_take, webhook), config.pipe)
            stack.callback(server.close)
        control = _control(figures, lambda: [h.why for h in keeper.reports.health() if not h.ok])
        await _serve(config.port, at(PATH, webhook, otherwise=control))
        tasks.cancel_scope.cancel()


async def bare(config: Config) -> None:
    figures = Figures(Metrics())
    gc.collect()
    gc.freeze()

    async def answer(_scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        await send({"type": "http.response.start", "status": 200})

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(figures.watch_lag, name="lag")
        async with await asyncio.start_unix_server(functools.partial(_take, answer), config.pipe):
            await _serve(config.port, _control(figures, list))
        tasks.cancel_scope.cancel()


async def fill(store: Store, site: Site, livekit: LiveKit, node_id: str) -> None:
    """Wants and claims into an empty store."""
    rooms = await livekit.rooms()
    assert not isinstance(rooms, Unknown)
    wants = site.wants(rooms, node_id, store.clock())
    await store.restore(wants, site.claims(wants, store.clock()))


@contextlib.asynccontextmanager
async def _store(where: str) -> AsyncIterator[Store]:
    if where == "memory":
        memory = MemoryStore(steady_clock())
        memory.latency = 0.0
        yield memory
        return
    url = where if "://" in where else ""
    async with open_store(StoreSettings(path=Path(where), url=url)) as store:
        yield store


@contextlib.asynccontextmanager
async def _client(url: str, calls: Histogram) -> AsyncIterator[LiveKit]:
    def count(method: str, outcome: str, seconds: float) -> None:
        calls.labels(method, outcome).observe(seconds)

    async with LiveKitClient(url, KEY, SECRET, timeout=LIVEKIT_TIMEOUT, on_call=count) as livekit:
        yield livekit


async def _take(webhook: ASGIApp, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Webhooks as their Authorization header and their body, a line each; answered with their status."""

    async def answer(message: Message) -> None:
        if message["type"] == "http.response.start":
            writer.write(b"%d\n" % message["status"])

    while authorization := await reader.readline():
        body = await reader.readline()

        async def receive(body: bytes = body) -> Message:
            return {"type": "http.request", "body": body.rstrip(b"\n")}

        headers = [(b"authorization", authorization.rstrip(b"\n"))]
        await webhook({"type": "http", "method": "POST", "headers": headers}, receive, answer)


def _control(figures: Figures, faults: Callable[[], list[str]]) -> Starlette:
    async def ready(_: Request) -> Response:
        return JSONResponse(faults())

    async def begin(_: Request) -> Response:
        figures.begin()
        return Response()

    async def told(_: Request) -> Response:
        return JSONResponse(figures.told())

    return Starlette(
        routes=[
            Route("/readyz", ready),
            Route("/begin", begin, methods=["POST"]),
            Route("/figures", told),
        ]
    )


async def _serve(port: int, app: ASGIApp) -> None:
    """As the gateway does, until told to end."""
    signals = Signals()
    listener = socket.create_server(("127.0.0.1", port), backlog=2048)
    async with serve(app, listener, signals):
        await signals.end.wait()


if __name__ == "__main__":
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        given = msgspec.json.decode(sys.argv[1], type=Config)
        runner.run(bare(given) if given.bare else main(given))
