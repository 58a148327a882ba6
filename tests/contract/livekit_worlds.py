"""The two worlds of the LiveKit contract: the fake's, and a real server's with WebRTC clients. The same verbs
for both, so that one suite can tell whether the fake lies.
"""

from __future__ import annotations

import asyncio
import itertools
import signal
import subprocess
import sys
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Protocol, TypeVar

import anyio
import psutil
from livekit import api, rtc

from gateway.keeper.ports import LiveKit
from gateway.livekit.api import LiveKitClient
from tests.fakes.livekit import FakeLiveKit
from tests.fakes.livekit_parts import Connection
from tests.livekit_server import LiveKitServer

DEPARTURE_TIMEOUT = 2
"""Of rooms in both worlds, in seconds; see `livekit_server` in conftest."""
REPOSITORY = Path(__file__).parents[2]
PATIENCE = 8.0
POLL = 0.05

T = TypeVar("T")


class Client(Protocol):
    async def leave(self) -> None: ...


class Process(Protocol):
    """A client that is a process of its own."""

    async def leave(self) -> None: ...

    def freeze(self) -> None: ...

    def thaw(self) -> None: ...

    def kill(self) -> None: ...

    async def block(self) -> None:
        """Its event loop stands still; the process runs."""


class World(Protocol):
    @property
    def livekit(self) -> LiveKit: ...

    def name(self) -> str:
        """A room name that nobody had before."""

    async def join(self, room: str, identity: str, *, agent: str | None = None) -> Client: ...

    async def join_as_process(self, room: str, identity: str, *, agent: str | None = None) -> Process: ...

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


class FakeProcess(FakeClient):
    def freeze(self) -> None:
        self._world.freeze(self._connection)

    def thaw(self) -> None:
        self._world.thaw(self._connection)

    def kill(self) -> None:
        self._world.crash(self._connection)

    async def block(self) -> None:
        """The SDK's own thread goes on: nothing that LiveKit could see."""


class FakeWorld:
    def __init__(self, livekit: FakeLiveKit) -> None:
        self.livekit = livekit
        self._names = itertools.count()

    def name(self) -> str:
        return f"room-{next(self._names)}"

    async def join(self, room: str, identity: str, *, agent: str | None = None) -> Client:
        return FakeClient(self.livekit, self.livekit.join(room, identity, agent=agent))

    async def join_as_process(self, room: str, identity: str, *, agent: str | None = None) -> Process:
        return FakeProcess(self.livekit, self.livekit.join(room, identity, agent=agent))

    def kill(self) -> None:
        self.livekit.kill()

    def start(self, *, after: float) -> None:
        self.livekit.start(after=after)


class RealClient:
    def __init__(self, room: rtc.Room) -> None:
        self._room = room

    async def leave(self) -> None:
        await self._room.disconnect()


class RealProcess:
    def __init__(self, url: str, token: str) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.contract.client", url, token],
            cwd=REPOSITORY,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    async def told(self, word: str) -> None:
        assert self._process.stdout is not None
        line = await asyncio.to_thread(self._process.stdout.readline)
        assert line.strip() == word, f"the client ended: {self._process.poll()}"

    async def leave(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        await asyncio.to_thread(self._process.wait)

    def freeze(self) -> None:
        self._process.send_signal(signal.SIGSTOP)
        while psutil.Process(self._process.pid).status() != psutil.STATUS_STOPPED:
            pass

    def thaw(self) -> None:
        self._process.send_signal(signal.SIGCONT)

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()

    async def block(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write("block\n")
        self._process.stdin.flush()
        await self.told("blocked")


class RealWorld:
    def __init__(self, server: LiveKitServer, livekit: LiveKitClient) -> None:
        self._server = server
        self.livekit = livekit
        self._clients: list[RealClient] = []
        self._processes: list[RealProcess] = []

    def name(self) -> str:
        return f"room-{uuid.uuid4().hex[:8]}"

    async def join(self, room: str, identity: str, *, agent: str | None = None) -> Client:
        client = rtc.Room()
        await client.connect(self._server.url, self._token(room, identity, agent))
        self._clients.append(RealClient(client))
        if agent is not None:
            await self._can_be_asked(room, identity)
        return self._clients[-1]

    async def join_as_process(self, room: str, identity: str, *, agent: str | None = None) -> Process:
        process = RealProcess(self._server.url, self._token(room, identity, agent))
        self._processes.append(process)
        await process.told("joined")
        await self._can_be_asked(room, identity)
        return process

    async def _can_be_asked(self, room: str, identity: str) -> None:
        """The data channel opens a moment after "joined"; until then LiveKit answers PerformRpc with 500."""
        await eventually(lambda: self.livekit.answers(room, identity), lambda answer: answer is True)

    def _token(self, room: str, identity: str, agent: str | None) -> str:
        token = (
            api.AccessToken(self._server.key, self._server.secret)
            .with_identity(identity)
            .with_grants(api.VideoGrants(room_join=True, room=room))
        )
        if agent is not None:  # as the server marks the agents of its own jobs (fact 21)
            token.with_kind("agent").with_attributes({"lk.agent_name": agent})
        return token.to_jwt()

    def kill(self) -> None:
        self._server.kill()

    def start(self, *, after: float) -> None:
        self._server.start()

    async def aclose(self) -> None:
        for process in self._processes:
            process.kill()
        for client in self._clients:
            await client.leave()


@asynccontextmanager
async def fake_world() -> AsyncIterator[FakeWorld]:
    async with FakeLiveKit(departure_timeout=DEPARTURE_TIMEOUT) as livekit:
        yield FakeWorld(livekit)


@asynccontextmanager
async def real_world(server: LiveKitServer) -> AsyncIterator[RealWorld]:
    async with LiveKitClient(server.url, server.key, server.secret, timeout=8.0) as livekit:
        world = RealWorld(server, livekit)
        try:
            yield world
        finally:
            await world.aclose()
