"""What a row plays on: LiveKit, the store, gateways, proxies, people, and the record of all of it.

It knows no fault by itself and holds no opinion: rows do things, `verdict` judges.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import os
import random
import tempfile
import time
from collections.abc import AsyncIterator, Collection, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from livekit import api

from tests.live.clients import Person
from tests.livekit_server import KEY, SECRET, LiveKitServer
from tests.processes import lives
from tests.processes.hooks import Hooks
from tests.processes.meddler import Meddler
from tests.processes.outcome import Outcome
from tests.processes.record import Record
from tests.processes.replica import Replica
from tests.processes.toxiproxy import Link, Toxiproxy
from tests.processes.verdict import Said
from tests.redis_server import RedisServer

AGENT = "fault-agent"
SERVED = 30.0
"""Seconds in which a row's rooms must have their agents before anything is done to them."""
CALM = 3.0
"""Seconds in which a second agent would have come: from dispatch to agent it takes 0.4 (fact 4), and a lost
dispatch is made again after 4."""
POLL_STATES = 0.5
FRESH = 15.0
"""Seconds after a gateway's launch in which it may tell what the store last heard."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Setup:
    """What a row needs. One gateway with SQLite and one livekit-server unless it says otherwise."""

    replicas: int = 1
    slots: int = 4
    module: str = "beeper"
    """Of `tests.processes.agents`."""
    redis: bool = False
    appendonly: bool = False
    """Redis has every write on disk before it answers."""
    nodes: int = 1
    """livekit-servers; several share a redis-server of their own."""
    proxied: frozenset[str] = frozenset()
    """`livekit`, `redis`: each replica's way there goes through toxiproxy."""
    meddled: bool = False
    """The first replica's way to LiveKit goes through the meddler."""
    env: Mapping[str, str] = field(default_factory=dict)
    envs: Mapping[int, Mapping[str, str]] = field(default_factory=dict)
    """For single replicas, by number."""
    agents: Mapping[int, str] = field(default_factory=dict)
    """Agent names of single replicas, by number; `AGENT` else."""
    watched: str = ""
    """The witness looks at rooms whose names begin so."""
    departure_timeout: int = 20
    unready: frozenset[int] = frozenset()
    """Numbers of the replicas that will say that they are not ready."""
    redis_env: Mapping[str, str] = field(default_factory=dict)
    """Variables with which redis-server is started."""


@dataclass(slots=True, kw_only=True)
class Stage:
    setup: Setup
    nodes: list[LiveKitServer]
    redis: RedisServer | None
    hooks: Hooks
    meddler: Meddler | None
    links: dict[tuple[int, str], Link]
    replicas: list[Replica]
    record: Record
    book: Path
    outcome: Outcome
    people: dict[str, Person] = field(default_factory=dict)
    said: list[Said] = field(default_factory=list)
    pauses: list[tuple[float, float]] = field(default_factory=list)
    _numbers: Any = field(default_factory=lambda: itertools.count(1))

    @property
    def livekit(self) -> LiveKitServer:
        return self.nodes[0]

    @property
    def replica(self) -> Replica:
        return self.replicas[0]

    def api(self) -> api.LiveKitAPI:
        return api.LiveKitAPI(self.livekit.http_url, KEY, SECRET)

    # ---- rooms and people

    def name(self, what: str = "room") -> str:
        return f"{what}-{next(self._numbers)}"

    async def join(self, room: str, node: int = 0) -> Person:
        """A person joins, or comes back under the same identity."""
        former = self.people.get(room)
        if former is not None:
            await former.leave()
        identity = former.identity if former else ""
        person = self.people[room] = Person(self.nodes[node].url, KEY, SECRET, room, identity)
        await person.join()
        return person

    async def ask(
        self, room: str, *, first: Replica | None = None, timeout: float = SERVED
    ) -> dict[str, Any]:
        """POST as a frontend does: to any replica that lives, again and again until one accepts it."""
        deadline = time.monotonic() + timeout
        replica = first or self._any()
        while True:
            if (job := await replica.try_ask(room)) is not None:
                return job
            replica = self._any()
            if time.monotonic() > deadline:
                raise AssertionError(f"no replica took a request for {room} within {timeout} s")
            await asyncio.sleep(0.1)

    def _any(self) -> Replica:
        return random.choice([r for r in self.replicas if r.alive] or self.replicas)

    async def end(self, room: str) -> None:
        """The person leaves and the room is deleted, as an operator would; returns when nobody is there."""
        if room in self.people:
            await self.people.pop(room).leave()
        async with self.api() as livekit:
            with contextlib.suppress(api.TwirpError):  # it has ended already
                await livekit.room.delete_room(api.DeleteRoomRequest(room=room))
        await self.record.wait(room, lambda s: s.over, timeout=SERVED)

    async def end_all(self, rooms: Sequence[str]) -> None:
        await asyncio.gather(*(self.end(room) for room in rooms))

    async def serve(self, count: int, what: str = "room") -> list[str]:
        """So many rooms, each with a person in it and an agent that works."""
        rooms = [self.name(what) for _ in range(count)]
        await asyncio.gather(*(self.join(room, i % len(self.nodes)) for i, room in enumerate(rooms)))
        await asyncio.gather(*(self.ask(room) for room in rooms))
        for room in rooms:
            await self.record.wait_working(room, timeout=SERVED)
        return rooms

    def agent_of(self, room: str) -> str:
        """The identity of the agent that works there now."""
        (identity,) = self.record.working(room)
        return identity

    def agents_of(self, rooms: Sequence[str]) -> dict[str, str]:
        return {room: self.agent_of(room) for room in rooms}

    def pid_of(self, identity: str) -> int:
        signature = lives.signature_of(self.book, identity)
        assert signature is not None, f"{identity} has not signed in"
        return signature.pid

    def rooms_of(self, replica: Replica, rooms: Sequence[str]) -> list[str]:
        """Those of the rooms whose agents are processes of that replica."""
        pids = {p.pid for p in replica.processes()}
        return [r for r in rooms if {self.pid_of(i) for i in self.record.working(r)} & pids]

    # ---- healing

    async def heal(self, room: str, *, since: float, limit: float, former: Collection[str] = ()) -> None:
        """Measure from `since` until an agent other than `former` works there; later than `limit`: I2."""
        try:
            sample = await self.record.wait_working(
                room,
                other_than=tuple(former),
                since=since,
                timeout=max(0.1, limit - (time.monotonic() - since)),
            )
        except TimeoutError:
            self.outcome.violate("I2", f"no agent {limit:g} s after the fault. {self.record.describe(room)}")
        else:
            self.outcome.heals.append(max(0.0, sample.at - since))

    async def heal_all(
        self, rooms: Sequence[str], *, since: float, limit: float, former: Mapping[str, str] | None = None
    ) -> None:
        gone = former or {}
        await asyncio.gather(
            *(
                self.heal(room, since=since, limit=limit, former=[gone[room]] if room in gone else [])
                for room in rooms
            )
        )

    async def calm(self, rooms: Sequence[str], seconds: float = CALM) -> None:
        """Nothing is done for some seconds: whoever works there now must be the one who does afterwards."""
        before = {room: self.record.working(room) for room in rooms}
        await asyncio.sleep(seconds)
        for room, agents in before.items():
            if len(self.record.working(room)) != 1:
                self.outcome.violate("I2", f"not one agent in the end. {self.record.describe(room)}")
            elif agents and self.record.working(room) != agents:
                self.outcome.add("changed_late", 1)

    async def heard(self, room: str, *, since: float, limit: float) -> None:
        """The same as `heal`, by the ears of the person, for when LiveKit's lists lie (fact 20)."""
        try:
            track = await self.people[room].agent_track(
                since=since, timeout=max(0.1, limit - (time.monotonic() - since))
            )
        except AssertionError as error:
            self.outcome.violate("I2", f"{error}. {self.record.describe(room)}")
        else:
            self.outcome.heals.append(track.at - since)

    def must_be_uncut(self, rooms: Sequence[str], before: Mapping[str, str]) -> None:
        """Whoever worked there still does: nothing was done to them, and nothing may be about them (I3)."""
        for room in rooms:
            if self.record.working(room) != {before[room]}:
                self.outcome.violate("I3", f"{before[room]} was cut off. {self.record.describe(room)}")
        self.outcome.add("calls_kept", len(rooms) - self.cut(rooms, before))
        self.outcome.add("calls_cut", self.cut(rooms, before))

    def cut(self, rooms: Sequence[str], before: Mapping[str, str]) -> int:
        """Calls that have another agent now, or none, than they had before."""
        return sum(self.record.working(room) != {before[room]} for room in rooms)

    async def total(self, metric: str, **labels: str) -> float:
        """A metric's sum over the replicas that answer."""
        return sum([await r.count(metric, **labels) for r in self.replicas if r.alive])

    @asynccontextmanager
    async def pause(self) -> AsyncIterator[None]:
        """Processes are frozen or cut off meanwhile: I1 allows an overlap until 2 s after it."""
        start = time.monotonic()
        try:
            yield
        finally:
            self.pauses.append((start, time.monotonic()))

    async def _listen(self) -> None:
        """What the API says, in turn by each replica."""
        for replica in itertools.cycle(self.replicas):
            await asyncio.sleep(POLL_STATES)
            if not replica.alive:
                continue
            before = time.monotonic()
            wants = await replica.wants()
            if before - replica.launched < FRESH:
                continue  # one that has just started has yet to look
            for want in wants:
                self.said.append(Said(before, want["roomName"], want["state"], want["agentIdentity"] or ""))

    def judge(self) -> None:
        """Hold the record against the invariants."""
        self.outcome.judge(self.record, self.said, self.pauses)


@asynccontextmanager
async def stage(setup: Setup, outcome: Outcome) -> AsyncIterator[Stage]:
    """Everything up and ready; judged and ended afterwards, whatever happened."""
    async with AsyncExitStack() as stack:
        book = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="lives-")))
        hooks = await stack.enter_async_context(Hooks())
        nodes = [stack.enter_context(node) for node in _nodes(setup, hooks.url, stack)]
        with _environment(setup.redis_env):
            redis = stack.enter_context(RedisServer(appendonly=setup.appendonly)) if setup.redis else None
        meddler = await stack.enter_async_context(Meddler(nodes[0].port)) if setup.meddled else None
        links = await _links(setup, nodes[0], redis, stack)
        replicas = [
            _replica(number, setup, nodes, redis, meddler, links, book) for number in range(setup.replicas)
        ]
        hooks.deliver_to([replica.url for replica in replicas])
        for replica in replicas:
            stack.push_async_callback(replica.close)
        await asyncio.gather(*(_start(replica, setup) for replica in replicas))
        urls = [node.http_url for node in nodes]
        record = await stack.enter_async_context(Record(urls, KEY, SECRET, book, setup.watched))
        here = Stage(
            setup=setup,
            nodes=nodes,
            redis=redis,
            hooks=hooks,
            meddler=meddler,
            links=links,
            replicas=replicas,
            record=record,
            book=book,
            outcome=outcome,
        )
        listener = asyncio.create_task(here._listen(), name="states")
        try:
            yield here
            here.judge()
        finally:
            listener.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await listener
            for replica in replicas:
                outcome.keep_log(f"gateway-{replica.number}", replica.log_tail(20000))
            for person in here.people.values():
                await person.leave()


async def _start(replica: Replica, setup: Setup) -> None:
    if replica.number in setup.unready:
        replica.launch()
        await replica.wait_until("/readyz", 503, timeout=SERVED)
    else:
        await replica.start()
        await replica.warm(setup.slots)


@contextlib.contextmanager
def _environment(extra: Mapping[str, str]) -> Iterator[None]:
    """What children started meanwhile find in their environment."""
    before = {name: os.environ.get(name) for name in extra}
    os.environ.update(extra)
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name) if value is None else os.environ.update({name: value})


def _nodes(setup: Setup, hook: str, stack: AsyncExitStack) -> list[LiveKitServer]:
    extra: dict[str, dict[str, Any]] = {"room": {"departure_timeout": setup.departure_timeout}}
    if setup.nodes > 1:
        bus = stack.enter_context(RedisServer())
        extra["redis"] = {"address": f"127.0.0.1:{bus.port}"}
    return [LiveKitServer(webhook_urls=[hook], extra=extra) for _ in range(setup.nodes)]


async def _links(
    setup: Setup, livekit: LiveKitServer, redis: RedisServer | None, stack: AsyncExitStack
) -> dict[tuple[int, str], Link]:
    if not setup.proxied:
        return {}
    toxiproxy = await stack.enter_async_context(Toxiproxy())
    ports = {"livekit": livekit.port} | ({"redis": redis.port} if redis else {})
    return {
        (number, what): await toxiproxy.proxy(f"{what}-{number}", ports[what])
        for number in range(setup.replicas)
        for what in sorted(setup.proxied)
    }


def _replica(
    number: int,
    setup: Setup,
    nodes: Sequence[LiveKitServer],
    redis: RedisServer | None,
    meddler: Meddler | None,
    links: Mapping[tuple[int, str], Link],
    book: Path,
) -> Replica:
    node = nodes[number % len(nodes)]
    port = node.port
    if (number, "livekit") in links:
        port = links[number, "livekit"].port
    elif meddler is not None and number == 0:
        port = meddler.port
    env = {"LIVEKIT_URL": f"ws://127.0.0.1:{port}", "ROOMKEEPER_LOG": "json", lives.BOOK: str(book)}
    if redis is not None:
        link = links.get((number, "redis"))
        env["ROOMKEEPER_STORE"] = f"redis://127.0.0.1:{link.port if link else redis.port}/0"
    return Replica(
        number,
        node,
        f"tests.processes.agents.{setup.module}:server",
        slots=setup.slots,
        agent=setup.agents.get(number, AGENT),
        env={**env, **setup.env, **setup.envs.get(number, {})},
        livekit_port=port,
    )
