"""What the keeper relies on when livekit-server dies and comes back: the fake's story and the real one's."""

from __future__ import annotations

from collections.abc import Iterator

import anyio
import pytest

from gateway.keeper.model import Participant, Room, Unknown
from tests.contract.livekit_worlds import DEPARTURE_TIMEOUT, World, eventually
from tests.livekit_server import LiveKitServer

pytestmark = pytest.mark.anyio

DOWN = 1.0


@pytest.fixture(params=["fake-trio", pytest.param("real", marks=pytest.mark.needs("livekit-server"))])
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def server() -> Iterator[LiveKitServer]:
    """A server that a test may kill."""
    with LiveKitServer(extra={"room": {"departure_timeout": DEPARTURE_TIMEOUT}}) as server:
        yield server


async def participants_of(world: World, room: str) -> list[Participant]:
    answer = await world.livekit.participants(room)
    assert isinstance(answer, list)
    return answer


async def test_while_the_server_is_away_every_answer_is_unknown(world: World) -> None:
    """Nothing is concluded from a dead server (I3)."""
    await world.livekit.create_room("room-1", empty_timeout=60)
    world.kill()
    assert isinstance(await world.livekit.rooms(["room-1"]), Unknown)
    assert isinstance(await world.livekit.participants("room-1"), Unknown)
    assert isinstance(await world.livekit.create_room("room-1", empty_timeout=60), Unknown)
    assert isinstance(await world.livekit.create_dispatch("room-1", "a", metadata="", attributes={}), Unknown)
    assert isinstance(await world.livekit.remove_participant("room-1", "x"), Unknown)


async def test_a_server_that_is_back_has_forgotten_rooms_and_dispatches(world: World) -> None:
    """What was wanted must be made anew, under another SID (facts 26, 80)."""
    before = await world.livekit.create_room("room-1", empty_timeout=60)
    await world.livekit.create_dispatch("room-1", "echo", metadata="", attributes={})

    world.kill()
    world.start(after=0)

    # the first call may still go to the dead server's connection, and is unknown then
    assert await eventually(world.livekit.rooms, lambda rooms: rooms == []) == []
    after = await world.livekit.create_room("room-1", empty_timeout=60)
    assert isinstance(before, Room)
    assert isinstance(after, Room)
    assert after.sid != before.sid
    dispatches = await world.livekit.dispatches("room-1")
    assert isinstance(dispatches, list)
    assert [d.agent for d in dispatches] == [""]


async def test_people_and_agents_come_back_by_themselves(world: World) -> None:
    """The same identities, under another SID: dispatching at once would make a second agent (fact 80)."""
    await world.join("room-1", "user-1")
    await world.join("room-1", "agent-1", agent="echo")
    await eventually(lambda: participants_of(world, "room-1"), lambda got: len(got) == 2)
    before = await world.livekit.rooms(["room-1"])

    world.kill()
    await anyio.sleep(DOWN)
    world.start(after=DOWN)

    back = await eventually(lambda: participants_of(world, "room-1"), lambda got: len(got) == 2)
    after = await world.livekit.rooms(["room-1"])
    assert sorted((p.identity, p.agent) for p in back) == [("agent-1", "echo"), ("user-1", None)]
    assert isinstance(before, list)
    assert isinstance(after, list)
    assert [r.sid for r in after] != [r.sid for r in before]
