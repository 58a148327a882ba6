"""What a gateway costs with many rooms: CPU per webhook, how late its loop is, memory, the resync.

Each variant is a process of its own (three for `replicas3`): the webhook's route, the keeper, a store, and
rooms that have their agent. This process is LiveKit: it sends the webhooks, 200 a second, of people who come
and go in these rooms, and answers the API where it is asked over HTTP. The variants whose ratio matters run
side by side, and take turns with the webhooks.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import os
import random
import socket
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import aiohttp
import msgspec

from bench.events import PATH, about_person
from bench.livekit_http import serving
from bench.report import Row
from bench.scale_gateway import Config
from bench.scale_world import Site, Visitors
from gateway.keeper.model import Source
from gateway.store.clock import steady_clock
from tests.fakes.livekit import FakeLiveKit
from tests.livekit_server import free_port
from tests.redis_server import RedisServer
from tests.server_process import die_with

NAME = "scale"
N = 20
"""Seconds that each variant is measured: two resyncs at least."""
RATE = 200
SETTLE = 15.0
"""Seconds before that: a gateway that has just begun compares everything once."""
FIRST_SWEEP = 75.0
"""The same where a new leader's first look at each room, within a minute, would show."""
TURNS = 5
"""In so many pieces, by turns, variants that run side by side are measured."""
START_TIMEOUT = 60.0
REPOSITORY = Path(__file__).parents[1]


@dataclass(frozen=True, slots=True, kw_only=True)
class Variant:
    name: str
    rooms: int
    store: str = "memory"
    """memory, sqlite or redis."""
    http: bool = False
    """The real adapter asks LiveKit over HTTP."""
    replicas: int = 1
    source: Source = Source.REQUEST
    foreign: bool = False
    rate: int = RATE
    uvicorn: bool = False
    """Webhooks come over HTTP where they would not otherwise."""
    bare: bool = False
    """Webhooks are answered unread, and that is all: what the machine charges for being woken."""

    @property
    def settle(self) -> float:
        return FIRST_SWEEP if self.rooms >= 10_000 else SETTLE

    @property
    def piped(self) -> bool:
        """Whether webhooks come through a pipe: in memory, nothing but what is measured."""
        return self.store == "memory" and not self.http and not self.uvicorn

    @property
    def ids(self) -> list[str]:
        return [f"replica-{number}" for number in range(self.replicas)]

    @property
    def site(self) -> Site:
        return Site(rooms=self.rooms, replicas=self.ids, source=self.source, foreign=self.foreign)


SIDE_BY_SIDE = (
    Variant(name="bare", rooms=0, bare=True),
    Variant(name="rooms_100", rooms=100),
    Variant(name="rooms_1000", rooms=1000),
    Variant(name="rooms_10000", rooms=10_000),
)
"""The growth that is promised, and what of it is the machine's: a minute later it may cost half as much."""
ONE_BY_ONE = (
    Variant(name="webhooks_1000", rooms=1000, uvicorn=True),
    Variant(name="passes_100", rooms=100, source=Source.POLICY),
    Variant(name="passes_1000", rooms=1000, source=Source.POLICY),
    Variant(name="passes_10000", rooms=10_000, source=Source.POLICY),
    Variant(name="foreign_10000", rooms=10_000, foreign=True, rate=20),
    Variant(name="http_1000", rooms=1000, http=True),
    Variant(name="http_10000", rooms=10_000, http=True),
    Variant(name="http_passes_1000", rooms=1000, http=True, source=Source.POLICY),
    Variant(name="sqlite_1000", rooms=1000, store="sqlite"),
    Variant(name="redis_1000", rooms=1000, store="redis"),
    Variant(name="redis_passes_1000", rooms=1000, store="redis", http=True, source=Source.POLICY),
    Variant(name="replicas3_1000", rooms=1000, store="redis", http=True, replicas=3),
    Variant(name="replicas3_10000", rooms=10_000, store="redis", http=True, replicas=3),
)


async def run(n: int = N, only: Sequence[str] = ()) -> tuple[Sequence[Row], Sequence[str]]:
    rows: list[Row] = []
    for group in [SIDE_BY_SIDE, *((variant,) for variant in ONE_BY_ONE)]:
        if wanted := [v for v in group if not only or v.name in only]:
            rows += await _measured(wanted, n)
    first = f"{n} s each, {SETTLE:g} s after its start; {FIRST_SWEEP:g} s with 10,000 rooms, bare, rooms_*"
    return rows, [first, *NOTES]


NOTES = [
    f"{RATE} webhooks a second, one by one: a person joins or leaves a room that has its agent; lost: those"
    " without a 200",
    "cpu_ms_per_event: CPU time of the gateway's process (of all three, for replicas3) over its webhooks: the"
    " wake-up for each, signature, keeper, store, resync, heartbeat, and the fakes in its process: the memory"
    " store, and LiveKit's answers (but for http); the sender of the webhooks is another process",
    f"bare and rooms_* run side by side, each measured in {TURNS} pieces by turns. bare: the same process"
    " without a gateway in it, which answers what it did not read. Webhooks come through a pipe with bare,"
    " rooms, passes and foreign, and over HTTP (uvicorn) with all others",
    "idle_cpu_ms_per_s: the same process before, without any webhook",
    "rooms, webhooks, http, sqlite, redis: wants that were asked for; passes: wants by the room's name, which"
    " a join renews, so that every webhook makes the keeper look; foreign: agents of other people's workers",
    "resync_s: the mean comparison with LiveKit's list; loop_lag: how late a task that sleeps 50 ms is",
]


async def _measured(variants: Sequence[Variant], seconds: float) -> list[Row]:
    """The variants side by side: `seconds` of webhooks for each."""
    turns = TURNS if len(variants) > 1 else 1
    async with contextlib.AsyncExitStack() as stack:
        measured = [Measured(v, await _start(v, stack)) for v in variants]
        await asyncio.sleep(max(v.settle for v in variants))
        for each in measured:
            await each.gateways.begin()
        await asyncio.sleep(seconds / 4)
        for each in measured:
            each.idle = await each.gateways.figures()
        for _ in range(turns):
            for each in measured:
                await each.turn(seconds / turns)
    return [each.row() for each in measured]


class Measured:
    """A variant's gateways, and what was found of them."""

    def __init__(self, variant: Variant, gateways: Gateways) -> None:
        self.gateways = gateways
        self.idle: list[dict[str, float]] = []
        self._variant = variant
        self._found: list[dict[str, float]] = []
        self._last: list[dict[str, float]] = []
        self._sent = self._lost = 0

    async def turn(self, seconds: float) -> None:
        await self.gateways.begin()
        sent, lost = await self.gateways.send(seconds)
        self._last = await self.gateways.figures()
        self._found += self._last
        self._sent += sent
        self._lost += lost

    def row(self) -> Row:
        return {
            "variant": self._variant.name,
            "n": self._sent,
            "lost": self._lost,
            "rooms": self._variant.rooms,
            "cpu_ms_per_event": round(1000 * self._total("cpu_s") / max(1, self._sent), 3),
            "idle_cpu_ms_per_s": round(1000 * sum(each["cpu_s"] / each["wall_s"] for each in self.idle), 1),
            "loop_lag_p99_ms": round(max(each["lag_p99_ms"] for each in self._found), 1),
            "loop_lag_max_ms": round(max(each["lag_max_ms"] for each in self._found), 1),
            "rss_mb": round(sum(each["rss_mb"] for each in self._last)),
            "resync_s": round(self._total("resyncs_s") / max(1.0, self._total("resyncs")), 3),
            "passes": round(self._total("passes")),
            "livekit_calls": round(self._total("calls")),
        }

    def _total(self, name: str) -> float:
        return sum(each[name] for each in self._found)


Pipe = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class Gateways:
    """The measured processes, and the way to them."""

    def __init__(
        self,
        variant: Variant,
        session: aiohttp.ClientSession,
        urls: Sequence[str],
        visitors: Visitors | None,
        pipe: Pipe | None,
    ) -> None:
        self._variant = variant
        self._urls = urls
        self._session = session
        self._visitors = visitors
        self._pipe = pipe
        self._moves = _moves(variant.site)
        self._answers = asyncio.Lock()

    async def begin(self) -> None:
        for url in self._urls:
            async with self._session.post(f"{url}/begin"):
                pass

    async def figures(self) -> list[dict[str, float]]:
        found: list[dict[str, float]] = []
        for url in self._urls:
            async with self._session.get(f"{url}/figures") as answer:
                found.append(await answer.json())
        return found

    async def send(self, seconds: float) -> tuple[int, int]:
        """Webhooks at a steady pace, whatever the answers take: how many, and how many got no 200."""
        count = int(seconds * self._variant.rate)
        began = time.monotonic()
        async with asyncio.TaskGroup() as tasks:
            answers = []
            for number in range(count):
                await asyncio.sleep(began + number / self._variant.rate - time.monotonic())
                url = self._urls[number % len(self._urls)]
                answers.append(tasks.create_task(self._post(url, next(self._moves))))
        return count, sum(not answer.result() for answer in answers)

    async def _post(self, url: str, move: tuple[str, str, str]) -> bool:
        if self._visitors is not None:
            self._visitors.move(*move)
        authorization, body = about_person(*move)
        if self._pipe is not None:
            reader, writer = self._pipe
            writer.write(f"{authorization}\n{body}\n".encode())
            async with self._answers:  # they come in the order of the webhooks
                return await reader.readline() == b"200\n"
        try:
            async with self._session.post(
                f"{url}{PATH}", data=body, headers={"authorization": authorization}
            ) as answer:
                return answer.status == 200
        except aiohttp.ClientError:
            return False


def _moves(site: Site) -> Iterator[tuple[str, str, str]]:
    """Somebody joins a room, or leaves one that they joined a while ago; a seeded choice of rooms."""
    rng = random.Random(1)
    visiting: list[tuple[str, str]] = []
    for number in itertools.count():
        if number % 2 and len(visiting) > site.rooms // 10:
            room, identity = visiting.pop(rng.randrange(len(visiting)))
            yield "participant_left", room, identity
        else:
            room, identity = site.name(rng.randrange(max(1, site.rooms))), f"visitor-{number}"
            visiting.append((room, identity))
            yield "participant_joined", room, identity


async def _start(variant: Variant, stack: contextlib.AsyncExitStack) -> Gateways:
    where, node, url, visitors = "memory", "", "", None
    session = await stack.enter_async_context(aiohttp.ClientSession())
    if variant.store == "sqlite":
        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="bench-scale-"))
        where = f"{folder}/scale.db"
    if variant.store == "redis":
        server = RedisServer(appendonly=False).start()
        stack.callback(server.kill)
        where = server.url
    if variant.http:
        livekit = await stack.enter_async_context(FakeLiveKit(clock=steady_clock()))
        variant.site.fill(livekit)
        port = free_port(socket.SOCK_STREAM)
        await stack.enter_async_context(serving(livekit, port))
        url, node, visitors = f"http://127.0.0.1:{port}", livekit.node_id, Visitors(livekit)
    folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="bench-scale-"))
    path = f"{folder}/webhooks" if variant.piped else ""
    ports = [free_port(socket.SOCK_STREAM) for _ in range(variant.replicas)]
    for replica, port in zip(variant.ids, ports, strict=True):
        first = replica == variant.ids[0]
        config = Config(
            port=port,
            replica=replica,
            replicas=variant.ids,
            rooms=variant.rooms,
            store=where,
            source=variant.source.value,
            foreign=variant.foreign,
            livekit_url=url,
            node_id=node,
            fill=first,
            pipe=path,
            bare=variant.bare,
        )
        await stack.enter_async_context(_process(config))
        await _ready(session, port)
    pipe = await asyncio.open_unix_connection(path) if path else None
    return Gateways(variant, session, [f"http://127.0.0.1:{port}" for port in ports], visitors, pipe)


async def _ready(session: aiohttp.ClientSession, port: int) -> None:
    deadline = time.monotonic() + START_TIMEOUT
    while (why := await _faults(session, f"http://127.0.0.1:{port}/readyz")) != []:
        if time.monotonic() > deadline:
            raise RuntimeError(f"the gateway did not get ready: {why}")
        await asyncio.sleep(0.1)


async def _faults(session: aiohttp.ClientSession, url: str) -> list[str]:
    try:
        async with session.get(url) as answer:
            found: list[str] = await answer.json()
            return found
    except aiohttp.ClientError as error:
        return [str(error)]


@contextlib.asynccontextmanager
async def _process(config: Config) -> AsyncIterator[None]:
    argument = msgspec.json.encode(config).decode()
    command = [sys.executable, "-m", "bench.scale_gateway", argument]
    dying = die_with(os.getpid())
    process = await asyncio.create_subprocess_exec(*command, cwd=REPOSITORY, preexec_fn=dying)
    try:
        yield
    finally:
        process.kill()
        await process.wait()
