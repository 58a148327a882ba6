"""The two worlds of the LiveKit contract: the fake's, and a real server's with WebRTC clients. The same verbs
for both, so that one suite can tell whether the fake lies.
"""

from __future__ import annotations

import itertools
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Protocol, TypeVar

import anyio
from livekit import api, rtc

from gateway.keeper.ports import LiveKit
from gateway.livekit.api import LiveKitClient
from tests.fakes.livekit import FakeLiveKit
from tests.fakes.livekit_parts import Connection
from tests.livekit_server import LiveKitServer

DEPARTURE_TIMEOUT = 2
"""Of rooms in both worlds, in seconds; see `livekit_server` in conftest."""
PATIENCE = 8.0
POLL = 0.05

T = TypeVar("T")


class Client(Protocol):
    async def leave(self) -> None: ...


class World(Protocol):
    @property
    def livekit(self) -> LiveKit: ...

    def name(self) -> str:
        """A room name that nobody had before."""

    async def join(self, room: str, identity: str, *, agent: str | None = None) -> Client: ...

    def kill(self) -> None:
        """kill -9 of the server."""

    def start(self, *, after: float) -> None:
        """The server is back, `after` seconds later; returns once it answers."""


async def eventually(ask: Callable[[], Awaitable[T]], holds: Callable[[T], bool]) -> T:
    """Ask until it holds; the last answer is returned either way, for the assertion to show."""
    answer = await ask()
    with anyio.move_on_after(PATIENCE):
        while not holds(answer):
            await anyio.sleep(POLL)
            answer = await ask()
    return answer


class FakeClient:
    def __init__(self, world: FakeLiveKit, connection: Connection) -> None:
        self._world, self._connection = world, connection

    async def leave(self) -> None:
        self._world.leave(self._connection)


class FakeWorld:
    def __init__(self, livekit: FakeLiveKit) -> None:
        self.livekit = livekit
        self._names = itertools.count()

    def name(self) -> str:
        return f"room-{next(self._names)}"

    async def join(self, room: str, identity: str, *, agent: str | None = None) -> Client:
        return FakeClient(self.livekit, self.livekit.join(room, identity, agent=agent))

    def kill(self) -> None:
        self.livekit.kill()

    def start(self, *, after: float) -> None:
        self.livekit.start(after=after)


class RealClient:
    def __init__(self, room: rtc.Room) -> None:
        self._room = room

    async def leave(self) -> None:
        await self._room.disconnect()


class RealWorld:
    def __init__(self, server: LiveKitServer, livekit: LiveKitClient) -> None:
        self._server = server
        self.livekit = livekit
        self._clients: list[RealClient] = []

    def name(self) -> str:
        return f"room-{uuid.uuid4().hex[:8]}"

    async def join(self, room: str, identity: str, *, agent: str | None = None) -> Client:
        token = (
            api.AccessToken(self._server.key, self._server.secret)
            .with_identity(identity)
            .with_grants(api.VideoGrants(room_join=True, room=room))
        )
        if agent is not None:  # as the server marks the agents of its own jobs (fact 21)
            token.with_kind("agent").with_attributes({"lk.agent_name": agent})
        client = rtc.Room()
        await client.connect(self._server.url, token.to_jwt())
        self._clients.append(RealClient(client))
        return self._clients[-1]

    def kill(self) -> None:
        self._server.kill()

    def start(self, *, after: float) -> None:
        self._server.start()

    async def aclose(self) -> None:
        for client in self._clients:
            await client.leave()


@asynccontextmanager
async def fake_world() -> AsyncIterator[World]:
    async with FakeLiveKit(departure_timeout=DEPARTURE_TIMEOUT) as livekit:
        yield FakeWorld(livekit)


@asynccontextmanager
async def real_world(server: LiveKitServer) -> AsyncIterator[World]:
    async with LiveKitClient(server.url, server.key, server.secret, timeout=8.0) as livekit:
        world = RealWorld(server, livekit)
        try:
            yield world
        finally:
            await world.aclose()
