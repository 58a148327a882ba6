"""What the keeper relies on when one of two livekit-servers dies with a room: the fake's story and the real
one's. Whoever asks, asks the one that lives.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import anyio
import pytest
from livekit import api

from gateway.keeper.model import Participant, Room, Unknown
from tests.contract.livekit_worlds import FakeWorld, Process, RealWorld, eventually, fake_world, real_world
from tests.livekit_server import LiveKitServer
from tests.redis_server import RedisServer

pytestmark = pytest.mark.anyio

NODE_LAPSES = 8.0
"""Seconds: another node takes a dead one's room after 3 to 5 s, plus a call that was on its way (S12)."""


class Cluster:
    """A world whose room is on a node that can be killed."""

    room = "room-1"

    def __init__(self, world: FakeWorld | RealWorld, doomed: LiveKitServer | None) -> None:
        self._world = world
        self._doomed = doomed
        self.livekit = world.livekit

    async def open(self, *, empty_timeout: int) -> None:
        if self._doomed is None:
            await self.livekit.create_room(self.room, empty_timeout=empty_timeout)
            return
        async with api.LiveKitAPI(self._doomed.url, self._doomed.key, self._doomed.secret) as there:
            node = _node_id(self._doomed)
            request = api.CreateRoomRequest(name=self.room, node_id=node, empty_timeout=empty_timeout)
            await there.room.create_room(request)

    async def join(self, identity: str, *, agent: str | None = None) -> Process:
        return await self._world.join_as_process(self.room, identity, agent=agent)

    def kill_its_node(self) -> None:
        if isinstance(self._world, FakeWorld):
            self._world.livekit.lose_node([self.room])
        elif self._doomed is not None:
            self._doomed.kill()

    async def listed(self) -> list[Participant]:
        answer = await self.livekit.participants(self.room)
        assert isinstance(answer, list)
        return answer

    async def taken_over(self, *, empty_timeout: float) -> Room:
        """Ask for the room until a living node has it."""
        with anyio.fail_after(NODE_LAPSES + 3):
            while True:
                room = await self.livekit.create_room(self.room, empty_timeout=empty_timeout)
                if isinstance(room, Room):
                    return room
                await anyio.sleep(0.2)


def _node_id(server: LiveKitServer) -> str:
    return server.log_path.read_text().split('"nodeID":"', 1)[1].split('"', 1)[0]


@pytest.fixture(
    params=["fake-trio", pytest.param("real", marks=pytest.mark.needs("livekit-server", "redis-server"))]
)
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@asynccontextmanager
async def real_cluster() -> AsyncIterator[Cluster]:
    with RedisServer() as redis:
        shared = {"redis": {"address": f"127.0.0.1:{redis.port}"}}
        with LiveKitServer(extra=shared) as doomed, LiveKitServer(extra=shared) as other:
            async with real_world(other) as world:
                yield Cluster(world, doomed)


@asynccontextmanager
async def fake_cluster() -> AsyncIterator[Cluster]:
    async with fake_world() as world:
        yield Cluster(world, None)


@pytest.fixture
async def cluster(kind: str, anyio_backend: tuple[str, dict[str, Any]]) -> AsyncIterator[Cluster]:
    async with real_cluster() if kind == "real" else fake_cluster() as cluster:
        yield cluster


async def test_an_agent_that_died_with_its_node_can_be_replaced(cluster: Cluster) -> None:
    """Nothing tells of the death: everybody stays listed, calls are unknown. `CreateRoom` moves the room, and
    then the dead agent is definitely dead, and can be removed (S12)."""
    await cluster.open(empty_timeout=60)
    agent = await cluster.join("agent-1", agent="echo")
    before = await cluster.livekit.rooms([cluster.room])
    cluster.kill_its_node()
    agent.kill()

    assert [p.identity for p in await cluster.listed()] == ["agent-1"]
    assert isinstance(await cluster.livekit.remove_participant(cluster.room, "agent-1"), Unknown)

    assert isinstance(before, list)
    assert (await cluster.taken_over(empty_timeout=60)).sid == before[0].sid
    assert [p.identity for p in await cluster.listed()] == ["agent-1"]
    assert await cluster.livekit.answers(cluster.room, "agent-1") is False
    assert await cluster.livekit.remove_participant(cluster.room, "agent-1") is True
    assert await cluster.listed() == []
    assert await cluster.livekit.remove_participant(cluster.room, "agent-1") is False


async def test_while_no_living_node_has_the_room_nothing_is_known_of_who_is_in_it(cluster: Cluster) -> None:
    """The call cannot tell a dead node from a broken bus: unknown, not dead (I3)."""
    await cluster.open(empty_timeout=60)
    await cluster.join("agent-1", agent="echo")
    cluster.kill_its_node()
    assert isinstance(await cluster.livekit.answers(cluster.room, "agent-1"), Unknown)


async def test_a_living_agent_comes_back_by_itself_into_the_moved_room(cluster: Cluster) -> None:
    """Who dispatches before that has two: a job whose process lives is waited for (fact 20)."""
    await cluster.open(empty_timeout=60)
    await cluster.join("agent-1", agent="echo")
    first = (await cluster.listed())[0]
    cluster.kill_its_node()

    with anyio.fail_after(15):
        while (await cluster.listed())[0].sid == first.sid:  # noqa: ASYNC110  (nothing tells)
            await anyio.sleep(0.2)

    answer = await eventually(
        lambda: cluster.livekit.answers(cluster.room, "agent-1"), lambda answer: answer is True
    )
    assert answer is True


async def test_a_moved_room_is_as_old_as_it_was(cluster: Cluster) -> None:
    """Its `empty_timeout` counts from its first creation: it ends at once, if `CreateRoom` does not give it
    more (S13)."""
    await cluster.open(empty_timeout=2)
    person = await cluster.join("user-1")
    await anyio.sleep(2)
    cluster.kill_its_node()
    person.kill()

    await cluster.taken_over(empty_timeout=1)

    rooms = await eventually(lambda: cluster.livekit.rooms([cluster.room]), lambda rooms: rooms == [])
    assert rooms == []
    assert await cluster.listed() == []


async def test_a_moved_room_lives_as_long_as_create_room_says(cluster: Cluster) -> None:
    """Unlike a room that has a node, which keeps its own time-out (S4, S13)."""
    await cluster.open(empty_timeout=2)
    person = await cluster.join("user-1")
    await anyio.sleep(2)
    cluster.kill_its_node()
    person.kill()

    moved = await cluster.taken_over(empty_timeout=60)

    await anyio.sleep(1.5)  # LiveKit looks once a second whether a room may end
    rooms = await cluster.livekit.rooms([cluster.room])
    assert isinstance(rooms, list)
    assert [r.sid for r in rooms] == [moved.sid]
