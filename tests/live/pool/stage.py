"""A stage for the pool: a stand-in for the keeper that grants and remembers, and calls that bring jobs."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import os
import sys
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import Any, Protocol

import psutil
from livekit import api
from prometheus_client import CollectorRegistry

from gateway.settings import Lane
from pool.metrics import PoolMetrics
from pool.ports import Capacity, JobEvent, JobEventKind, Launch, Offer, Verdict
from pool.supervisor import Pool
from tests.live.clients import Person

AGENT = "pool-agent"
ATTRIBUTES = {"from": "the stage"}
_rooms = itertools.count(1)


@dataclass
class Keeper:
    """A gate that grants every offer unless told otherwise, and a listener that keeps what it heard."""

    verdict: Verdict = Verdict.GRANTED
    identified: bool = True
    confirmed: bool = True
    offers: list[Offer] = field(default_factory=list)
    identities: dict[str, str] = field(default_factory=dict)
    events: list[JobEvent] = field(default_factory=list)
    times: list[float] = field(default_factory=list)
    capacities: list[Capacity] = field(default_factory=list)
    _changed: asyncio.Event = field(default_factory=asyncio.Event)

    async def claim(self, offer: Offer) -> Verdict:
        self.offers.append(offer)
        self._notify()
        return self.verdict

    async def identify(self, job_id: str, identity: str) -> bool:
        self.identities[job_id] = identity
        return self.identified

    async def confirm(self, job_id: str) -> bool:
        return self.confirmed

    def on_job(self, event: JobEvent) -> None:
        self.events.append(event)
        self.times.append(time.monotonic())
        self._notify()

    def on_capacity(self, capacity: Capacity) -> None:
        self.capacities.append(capacity)
        self._notify()

    def _notify(self) -> None:
        self._changed.set()

    async def until(self, holds: Callable[[], Any], *, timeout: float = 10.0) -> None:
        """Return once `holds()` is true; looked at whenever something was heard."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout):
                while not holds():
                    self._changed.clear()
                    await self._changed.wait()
        assert holds(), f"not within {timeout} s; heard: {[(e.kind.value, e.detail) for e in self.events]}"

    def kinds(self, job_id: str) -> list[JobEventKind]:
        return [event.kind for event in self.events if event.job_id == job_id]

    def job_in(self, room: str) -> str:
        """The job that was offered for the room, "" while there was none."""
        return next((offer.job_id for offer in self.offers if offer.room == room), "")

    def details(self, room: str, kind: JobEventKind) -> list[str]:
        job = self.job_in(room)
        return [event.detail for event in self.events if event.job_id == job and event.kind is kind]

    def count(self, kind: JobEventKind) -> int:
        return sum(event.kind is kind for event in self.events)

    async def event(
        self, room: str, kind: JobEventKind, *, count: int = 1, timeout: float = 10.0
    ) -> JobEvent:
        """Wait for the `count`th event of that kind of the room's job."""

        def found() -> list[JobEvent]:
            job = self.job_in(room)
            return [e for e in self.events if e.job_id == job and e.kind is kind][count - 1 : count]

        await self.until(found, timeout=timeout)
        return found()[0]


class Server(Protocol):
    """Where a livekit-server is."""

    @property
    def url(self) -> str: ...
    @property
    def http_url(self) -> str: ...

    key: str
    secret: str


@dataclass
class Stage:
    """A pool that runs, with everything around it."""

    pool: Pool
    keeper: Keeper
    api: api.LiveKitAPI
    livekit: Server
    lane: Lane
    registry: CollectorRegistry

    async def call(self, room: str = "", *, metadata: str = "") -> str:
        """Call the agent into a room (a new one by default), by the stage's lane; returns the room's name."""
        room = room or new_room()
        made = await self.api.room.create_room(api.CreateRoomRequest(name=room, metadata="the room's"))
        if self.lane == "direct":
            launch = Launch(
                room=room,
                sid=made.sid,
                attributes=ATTRIBUTES,
                metadata=metadata,
                room_metadata=made.metadata,
            )
            assert self.pool.launch(launch)
            return room
        await self.api.agent_dispatch.create_dispatch(
            api.CreateAgentDispatchRequest(
                agent_name=AGENT, room=room, metadata=metadata, attributes=ATTRIBUTES
            )
        )
        return room

    def sample(self, name: str, **labels: str) -> float:
        """What a metric says."""
        return self.registry.get_sample_value(name, labels) or 0.0

    async def until(self, name: str, value: float, *, timeout: float = 15.0, **labels: str) -> None:
        """Until a metric says so much."""
        async with asyncio.timeout(timeout):
            while self.sample(name, **labels) < value:  # noqa: ASYNC110  (a metric tells nobody)
                await asyncio.sleep(0.05)

    async def person(self, room: str) -> Person:
        """A person who has joined the room."""
        person = Person(self.livekit.url, self.livekit.key, self.livekit.secret, room)
        await person.join()
        return person

    async def warm(self, count: int) -> None:
        await self.keeper.until(
            lambda: min(self.pool.capacity().free, self.pool.capacity().warm) >= count, timeout=30
        )


def job_processes() -> list[psutil.Process]:
    """The processes of this process's pool, idle ones included: the forkserver's children."""
    found = []
    for child in psutil.Process().children(recursive=True):
        with contextlib.suppress(psutil.NoSuchProcess):  # a zombie counts as one
            if "multiprocessing.forkserver" in " ".join(child.cmdline()) and child.ppid() != os.getpid():
                found.append(child)
    return found


def new_room() -> str:
    return f"pool-{next(_rooms)}-{time.time_ns()}"


@contextlib.asynccontextmanager
async def running(
    livekit: Server,
    target: str,
    *,
    slots: int,
    keeper: Keeper | None = None,
    await_warm: int | None = None,
    lane: Lane = "dispatch",
    **options: Any,
) -> AsyncIterator[Stage]:
    """A pool of `slots`, once so many (by default all) are warm and it is registered; closed at the end.

    The agent's module is imported anew: one `AgentServer` belongs to one pool.
    """
    sys.modules.pop(target.partition(":")[0], None)
    keeper = keeper or Keeper()
    registry = CollectorRegistry()
    pool = Pool(
        target,
        url=livekit.url,
        api_key=livekit.key,
        api_secret=livekit.secret,
        slots=slots,
        default_agent_name=AGENT,
        gate=keeper,
        listener=keeper,
        metrics=PoolMetrics(registry),
        **options,
    )
    task = asyncio.create_task(pool.run(), name="pool")
    lkapi = api.LiveKitAPI(livekit.http_url, livekit.key, livekit.secret)
    stage = Stage(pool=pool, registry=registry, keeper=keeper, api=lkapi, livekit=livekit, lane=lane)
    try:
        await stage.warm(slots if await_warm is None else await_warm)
        yield stage
    finally:
        await pool.close()
        await lkapi.aclose()
        await task
