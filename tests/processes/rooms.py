"""What there is while a row is played (LiveKit, the store, gateways, proxies), and what people do there.

It knows no fault by itself and holds no opinion.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import random
import time
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from livekit import api

from tests.live.clients import Person
from tests.livekit_server import KEY, SECRET, LiveKitServer
from tests.processes import lives
from tests.processes.hooks import Hooks
from tests.processes.meddler import Meddler
from tests.processes.record import Record
from tests.processes.replica import Replica
from tests.processes.setup import Setup
from tests.processes.toxiproxy import Link
from tests.processes.verdict import Wishes
from tests.redis_server import RedisServer

SERVED = 30.0
"""Seconds in which a row's rooms must have their agents before anything is done to them."""


@dataclass(slots=True, kw_only=True)
class Rooms:
    setup: Setup
    nodes: list[LiveKitServer]
    redis: RedisServer | None
    hooks: Hooks
    meddler: Meddler | None
    links: dict[tuple[int, str], Link]
    replicas: list[Replica]
    record: Record
    book: Path
    people: dict[str, Person] = field(default_factory=dict)
    wishes: defaultdict[str, Wishes] = field(default_factory=lambda: defaultdict(Wishes))
    """By room: when somebody asked for an agent, and when that was over."""
    _numbers: Any = field(default_factory=lambda: itertools.count(1))

    @property
    def livekit(self) -> LiveKitServer:
        return self.nodes[0]

    @property
    def replica(self) -> Replica:
        return self.replicas[0]

    def api(self) -> api.LiveKitAPI:
        return api.LiveKitAPI(self.livekit.http_url, KEY, SECRET)

    def name(self, what: str = "room") -> str:
        return f"{what}-{next(self._numbers)}"

    async def join(self, room: str, node: int = 0, *, identity: str = "") -> Person:
        """A person joins, or comes back under the same identity."""
        former = self.people.get(room)
        if former is not None:
            await former.leave()
        identity = former.identity if former else identity
        person = self.people[room] = Person(self.nodes[node].url, KEY, SECRET, room, identity)
        await person.join()
        return person

    def asked(self, room: str) -> None:
        """To be called before whatever may bring an agent: nobody is uninvited from now on."""
        self.wishes[room].asked.append(time.monotonic())

    async def ask(
        self, room: str, *, first: Replica | None = None, timeout: float = SERVED
    ) -> dict[str, Any]:
        """POST as a frontend does: to any replica that lives, again and again until one accepts it."""
        self.asked(room)
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

    async def stop(self, room: str, *, timeout: float = SERVED) -> None:
        """The agent is told to end by request; returns when it is no more in the room."""
        await self.replica.ask(room, "stop_agent")
        await self.record.wait(room, lambda s: not s.agents, timeout=timeout)
        self.wishes[room].over.append(time.monotonic())

    async def end(self, room: str) -> None:
        """The person leaves and the room is deleted, as an operator would; returns when nobody is there."""
        if room in self.people:
            await self.people.pop(room).leave()
        async with self.api() as livekit:
            with contextlib.suppress(api.TwirpError):  # it has ended already
                await livekit.room.delete_room(api.DeleteRoomRequest(room=room))
        await self.record.wait(room, lambda s: s.over, timeout=SERVED)
        self.wishes[room].over.append(time.monotonic())

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
