"""What the keeper relies on as long as livekit-server runs."""

from __future__ import annotations

from collections.abc import Awaitable

import anyio
import pytest

from gateway.keeper.model import Dispatch, Participant, Room, Unknown
from tests.contract.livekit_worlds import World, eventually

pytestmark = pytest.mark.anyio


async def room_named(world: World, name: str) -> Room:
    """The room as it is listed; fails the test when it is not."""
    rooms = await world.livekit.rooms([name])
    assert isinstance(rooms, list)
    assert [r.name for r in rooms] == [name]
    return rooms[0]


async def dispatched(world: World, room: str, agent: str) -> Dispatch:
    answer = await world.livekit.create_dispatch(room, agent, metadata="", attributes={})
    assert isinstance(answer, Dispatch)
    return answer


async def dispatches_of(world: World, room: str, agent: str) -> list[Dispatch]:
    answer = await world.livekit.dispatches(room)
    assert isinstance(answer, list)
    return [d for d in answer if d.agent == agent]


async def participants_of(world: World, room: str) -> list[Participant]:
    answer = await world.livekit.participants(room)
    assert isinstance(answer, list)
    return answer


# Rooms


async def test_a_created_room_is_listed_with_its_sid(world: World) -> None:
    """The keeper pins a want to the SID that CreateRoom returned (fact 83)."""
    name = world.name()
    created = await world.livekit.create_room(name, empty_timeout=60)
    assert await room_named(world, name) == created


async def test_creating_a_room_that_exists_returns_it_as_it_is(world: World) -> None:
    """CreateRoom may be repeated at will: same SID, nothing reset."""
    name = world.name()
    first = await world.livekit.create_room(name, empty_timeout=60)
    assert await world.livekit.create_room(name, empty_timeout=30) == first


async def test_an_existing_room_keeps_its_own_empty_timeout(world: World) -> None:
    """A second CreateRoom prolongs nothing: who needs the room longer must be in it."""
    name = world.name()
    await world.livekit.create_room(name, empty_timeout=1)
    await world.livekit.create_room(name, empty_timeout=600)

    rooms = await eventually(lambda: world.livekit.rooms([name]), lambda rooms: rooms == [])

    assert rooms == []


async def test_no_names_ask_for_no_rooms(world: World) -> None:
    """An empty list is not "all rooms", as it is on LiveKit's wire."""
    await world.livekit.create_room(world.name(), empty_timeout=60)
    assert await world.livekit.rooms([]) == []


async def test_all_rooms_are_listed_without_names(world: World) -> None:
    """The resync compares with whatever exists."""
    one, other = world.name(), world.name()
    await world.livekit.create_room(one, empty_timeout=60)
    await world.livekit.create_room(other, empty_timeout=60)

    rooms = await world.livekit.rooms()

    assert isinstance(rooms, list)
    assert {one, other} <= {r.name for r in rooms}


async def test_a_room_that_never_was_is_definitely_absent(world: World) -> None:
    """ListRooms tells absence from ignorance at once, unlike ListDispatch (fact 19)."""
    assert await world.livekit.rooms([world.name()]) == []


async def test_a_room_comes_back_under_another_sid(world: World) -> None:
    """A want that is pinned to the SID does not pass to the successor (fact 16, I4)."""
    name = world.name()
    first = await world.livekit.create_room(name, empty_timeout=1)
    await eventually(lambda: world.livekit.rooms([name]), lambda rooms: rooms == [])

    second = await world.livekit.create_room(name, empty_timeout=60)

    assert isinstance(first, Room)
    assert isinstance(second, Room)
    assert second.sid != first.sid


@pytest.mark.parametrize("name", ["x" * 257, "\N{SNOWMAN}" * 86])
async def test_create_room_refuses_a_name_of_more_than_256_bytes(world: World, name: str) -> None:
    """The server's limit counts bytes (fact 17)."""
    assert isinstance(await world.livekit.create_room(name, empty_timeout=1), Unknown)


async def test_create_room_takes_an_empty_name(world: World) -> None:
    """Even this is for us to validate."""
    assert isinstance(await world.livekit.create_room("", empty_timeout=1), Room)


# Dispatches


async def test_a_dispatch_creates_its_room(world: World) -> None:
    """So a late one resurrects a finished room (fact 8)."""
    name = world.name()
    await dispatched(world, name, "echo")
    assert (await room_named(world, name)).people == 0


async def test_a_dispatch_checks_no_room_name(world: World) -> None:
    """What CreateRoom refuses, CreateDispatch takes: names are for us to validate (fact 17)."""
    name = f"{world.name():x<257}"
    await dispatched(world, name, "echo")
    assert (await room_named(world, name)).name == name


async def test_equal_dispatches_are_two(world: World) -> None:
    """There is no dedupe by name; the gate has to refuse one of the jobs (fact 5)."""
    name = world.name()
    first = await dispatched(world, name, "echo")
    second = await dispatched(world, name, "echo")
    assert {d.id for d in await dispatches_of(world, name, "echo")} == {first.id, second.id}
    assert first.id != second.id


async def test_a_dispatch_that_nobody_serves_succeeds_and_brings_nobody(world: World) -> None:
    """The answer says nothing about a worker, and no job is ever listed (facts 1, 2)."""
    name = world.name()
    await dispatched(world, name, "nobody-serves-this")
    await anyio.sleep(0.5)  # longer than LiveKit takes to launch a job (fact 4)
    assert [d.jobs for d in await dispatches_of(world, name, "nobody-serves-this")] == [0]
    assert await participants_of(world, name) == []


async def test_a_dispatch_says_its_room_and_agent(world: World) -> None:
    """The keeper tells dispatches apart by agent name; an unnamed one is there besides (facts 55, 76)."""
    name = world.name()
    await world.livekit.create_room(name, empty_timeout=60)
    await dispatched(world, name, "echo")

    listed = await world.livekit.dispatches(name)

    assert isinstance(listed, list)
    assert sorted((d.room, d.agent) for d in listed) == [(name, ""), (name, "echo")]


async def test_a_deleted_dispatch_is_gone_and_a_second_delete_finds_none(world: World) -> None:
    """Deleting twice is a definite "there was none", not a fault (fact 9)."""
    name = world.name()
    dispatch = await dispatched(world, name, "echo")
    assert await world.livekit.delete_dispatch(name, dispatch.id) is True
    assert await world.livekit.delete_dispatch(name, dispatch.id) is False
    assert await dispatches_of(world, name, "echo") == []


async def test_the_dispatches_of_a_room_on_no_node_are_unknown_after_3_s(world: World) -> None:
    """Asking costs 3 s and proves nothing: the same answer as a broken bus (fact 19)."""
    started = anyio.current_time()
    assert isinstance(await world.livekit.dispatches(world.name()), Unknown)
    assert 2.5 < anyio.current_time() - started < 6


async def test_deleting_a_dispatch_of_a_room_on_no_node_is_unknown(world: World) -> None:
    """Not "there was none": the room's node may just be out of reach (fact 19)."""
    assert isinstance(await world.livekit.delete_dispatch(world.name(), "AD_nope"), Unknown)


# Participants


async def test_a_room_that_never_was_has_no_participants(world: World) -> None:
    """ListParticipants answers [] at once, also for a missing room (fact 19)."""
    assert await world.livekit.participants(world.name()) == []


async def test_a_person_is_listed_until_they_leave(world: World) -> None:
    """Presence is what participants say."""
    name = world.name()
    person = await world.join(name, "user-1")

    listed = await eventually(
        lambda: participants_of(world, name), lambda got: [p.active for p in got] == [True]
    )
    assert [(p.identity, p.person, p.agent) for p in listed] == [("user-1", True, None)]

    await person.leave()
    assert await eventually(lambda: participants_of(world, name), lambda got: got == []) == []


async def test_an_agent_is_told_from_a_person_by_kind_and_name(world: World) -> None:
    """An agent is of kind AGENT and carries its name (fact 21)."""
    name = world.name()
    await world.join(name, "user-1")
    await world.join(name, "agent-1", agent="echo")

    listed = await eventually(lambda: participants_of(world, name), lambda got: len(got) == 2)

    assert sorted((p.identity, p.agent) for p in listed) == [("agent-1", "echo"), ("user-1", None)]


async def test_agents_are_not_counted_as_people(world: World) -> None:
    """ListRooms' num_participants leaves agents out (fact 76)."""
    name = world.name()
    await world.join(name, "agent-1", agent="echo")
    await world.join(name, "user-1")

    async def people() -> int:
        return (await room_named(world, name)).people

    assert await eventually(people, lambda n: n > 0) == 1


async def test_the_count_of_people_lags_where_the_list_of_participants_does_not(world: World) -> None:
    """ListRooms refreshes its count every 5 s: who must know whether a person is there lists participants."""
    name = world.name()
    await world.livekit.create_room(name, empty_timeout=60)
    await world.join(name, "user-1")

    listed = await eventually(lambda: participants_of(world, name), lambda got: any(p.active for p in got))

    assert [p.identity for p in listed] == ["user-1"]
    assert (await room_named(world, name)).people == 0


async def test_a_participant_can_be_removed_once(world: World) -> None:
    """Removing is definite both ways: gone, and then none to remove (fact 19)."""
    name = world.name()
    await world.join(name, "user-1")
    await world.join(name, "agent-1", agent="echo")

    assert await world.livekit.remove_participant(name, "agent-1") is True

    left = await eventually(lambda: participants_of(world, name), lambda got: len(got) == 1)
    assert [p.identity for p in left] == ["user-1"]
    assert await world.livekit.remove_participant(name, "agent-1") is False


async def test_removing_from_a_room_that_never_was_finds_none(world: World) -> None:
    """A definite answer, unlike DeleteDispatch's (fact 19)."""
    assert await world.livekit.remove_participant(world.name(), "user-1") is False


async def test_a_second_arrival_under_one_identity_removes_the_first(world: World) -> None:
    """An identity is in a room once (fact 22)."""
    name = world.name()
    await world.join(name, "user-1")
    first = await eventually(lambda: participants_of(world, name), lambda got: len(got) == 1)

    await world.join(name, "user-1")

    second = await eventually(lambda: participants_of(world, name), lambda got: got[0].sid != first[0].sid)
    assert [p.identity for p in second] == ["user-1"]
    assert second[0].sid != first[0].sid


# Who lives


async def timed(answer: Awaitable[bool | Unknown]) -> tuple[bool | Unknown, float]:
    started = anyio.current_time()
    return await answer, anyio.current_time() - started


async def test_a_living_agent_answers_at_once(world: World) -> None:
    """A method that nobody has is refused by the SDK, and that is a sign of life (S11)."""
    name = world.name()
    await world.join(name, "agent-1", agent="echo")
    answer, took = await timed(world.livekit.answers(name, "agent-1"))
    assert answer is True
    assert took < 1


async def test_an_agent_whose_event_loop_is_blocked_answers(world: World) -> None:
    """The SDK's thread answers, not the program: slow code is no death (S11)."""
    name = world.name()
    agent = await world.join_as_process(name, "agent-1", agent="echo")
    await agent.block()
    answer, took = await timed(world.livekit.answers(name, "agent-1"))
    assert answer is True
    assert took < 1


async def test_a_frozen_agent_does_not_answer_and_a_thawed_one_does(world: World) -> None:
    """SIGSTOP: nobody answers for 2 s (S11)."""
    name = world.name()
    agent = await world.join_as_process(name, "agent-1", agent="echo")
    agent.freeze()
    answer, took = await timed(world.livekit.answers(name, "agent-1"))
    assert answer is False
    assert 1.5 < took < 3
    agent.thaw()
    assert await world.livekit.answers(name, "agent-1") is True


async def test_a_killed_agent_does_not_answer(world: World) -> None:
    """A ghost is told from a living agent in 2 s, not in 20 (fact 12, S11)."""
    name = world.name()
    agent = await world.join_as_process(name, "agent-1", agent="echo")
    agent.kill()
    answer, took = await timed(world.livekit.answers(name, "agent-1"))
    assert answer is False
    assert 1.5 < took < 3
    assert [p.identity for p in await participants_of(world, name)] == ["agent-1"]


async def test_who_is_not_there_does_not_answer(world: World) -> None:
    """Definitely, and at once: in a room, and where no room is."""
    name = world.name()
    await world.join(name, "user-1")
    for room in (name, world.name()):
        answer, took = await timed(world.livekit.answers(room, "agent-1"))
        assert answer is False
        assert took < 1


# The end of rooms


async def test_a_room_ends_soon_after_its_last_person_though_an_agent_is_in_it(world: World) -> None:
    """Agents keep no room open: they are put out with it (fact 15)."""
    name = world.name()
    person = await world.join(name, "user-1")
    await world.join(name, "agent-1", agent="echo")

    await person.leave()

    assert await eventually(lambda: world.livekit.rooms([name]), lambda rooms: rooms == []) == []
    assert await participants_of(world, name) == []


async def test_an_agent_that_leaves_puts_the_end_of_the_room_off(world: World) -> None:
    """The departure timer starts anew when anybody leaves, agents included."""
    name = world.name()
    person = await world.join(name, "user-1")
    first = await room_named(world, name)
    agents = [await world.join(name, f"agent-{n}", agent="echo") for n in range(6)]
    await person.leave()

    for agent in agents:  # 3.6 s in all, the time-out is 2 s; LiveKit counts in whole seconds
        await anyio.sleep(0.6)
        await agent.leave()

    assert (await room_named(world, name)).sid == first.sid


async def test_an_agent_alone_keeps_a_new_room_for_its_empty_timeout_only(world: World) -> None:
    """Early dispatch must ask for an empty_timeout that covers the person's way (fact 8)."""
    name = world.name()
    await world.livekit.create_room(name, empty_timeout=1)
    await world.join(name, "agent-1", agent="echo")

    assert await eventually(lambda: world.livekit.rooms([name]), lambda rooms: rooms == []) == []


async def test_a_status_message_never_fails(world: World) -> None:
    """Best effort: nobody to hear it, no room even, is no fault of the keeper's."""
    name = world.name()
    await world.livekit.create_room(name, empty_timeout=60)
    await world.livekit.send_status(name, b"{}")
    await world.livekit.send_status(world.name(), b"{}")
