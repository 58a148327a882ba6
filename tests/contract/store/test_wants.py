"""Wants in a store: asked for, changed, listed, forgotten."""

from __future__ import annotations

import math
from dataclasses import replace

import anyio
import pytest

from gateway.keeper.model import Ask, Invitation, State, Want
from gateway.keeper.ports import Store
from tests.contract.store_worlds import NOW, asked, claim, want

pytestmark = pytest.mark.anyio


async def test_an_ask_for_a_living_want_renews_it_and_keeps_its_id(store: Store) -> None:
    """Start requests are idempotent while the want lives."""
    first, was_there = await store.ask(Ask(room="r", agent="a"), fresh=want("w1"))
    again, is_there = await store.ask(Ask(room="r", agent="a"), fresh=want("w2", at=NOW + 5))
    assert (was_there, is_there) == (False, True)
    assert (again.id, again.asked_at, again.created_at) == (first.id, NOW + 5, NOW)


async def test_an_ask_of_before_the_last_one_does_not_set_its_time_back(store: Store) -> None:
    """Requests overtake each other on their way."""
    await asked(store, want("w1", at=NOW + 5))
    assert (await asked(store, want("w2"))).asked_at == NOW + 5


async def test_an_ask_after_the_want_ended_makes_another_one(store: Store) -> None:
    """An ended want is not called back to life; a later ask is a new job."""
    first = await asked(store, want("w1"))
    assert await store.update(replace(first, state=State.FINISHED), was=first)
    second, deduplicated = await store.ask(Ask(room="r", agent="a"), fresh=want("w2", at=NOW + 1))
    assert (second.id, deduplicated) == ("w2", False)
    assert [w.id for w in await store.living()] == ["w2"]


async def test_an_asks_metadata_replaces_the_wants_only_when_it_has_some(store: Store) -> None:
    """A page that reloads does not wipe out what the room was asked with."""
    await asked(store, replace(want("w1"), metadata="de"))
    kept = await asked(store, want("w2"))
    changed = await asked(store, replace(want("w3"), metadata="fr"))
    assert (kept.metadata, changed.metadata) == ("de", "fr")


async def test_a_want_stays_in_the_trace_that_began_it(store: Store) -> None:
    """It is stored, and whoever asks later has a trace of their own."""
    first, second = (f"00-{digits * 16}-{'cd' * 8}-01" for digits in ("ab", "ef"))
    await asked(store, replace(want("w1"), traceparent=first))
    assert (await asked(store, replace(want("w2"), traceparent=second))).traceparent == first
    assert [w.traceparent for w in await store.living()] == [first]


async def test_fifty_asks_at_once_make_one_want(store: Store) -> None:
    """A page that asks in a loop, behind a balancer, is answered with one job."""
    answers: list[tuple[Want, bool]] = []

    async def ask(number: int) -> None:
        answers.append(await store.ask(Ask(room="r", agent="a"), fresh=want(f"w{number}")))

    async with anyio.create_task_group() as tasks:
        for number in range(50):
            tasks.start_soon(ask, number)
    assert len({answer.id for answer, _ in answers}) == 1
    assert sorted(there for _, there in answers) == [False] + [True] * 49
    assert len(await store.living()) == 1


async def test_an_update_of_something_changed_meanwhile_writes_nothing(store: Store) -> None:
    """Two passes never overwrite each other's outcome."""
    first = await asked(store, want())
    assert await store.update(replace(first, state=State.STOPPED), was=first)
    assert not await store.update(replace(first, state=State.JOINED), was=first)
    stored = await store.want("w1")
    assert stored is not None
    assert stored.state is State.STOPPED


async def test_an_update_of_a_want_that_is_gone_writes_nothing(store: Store) -> None:
    """What was forgotten stays forgotten."""
    assert not await store.update(replace(want(), state=State.JOINED), was=want())
    assert await store.want("w1") is None


async def test_an_update_counts_every_field(store: Store) -> None:
    """The comparison leaves out the two that an ask may change, and no other."""
    first = await asked(store, want())
    assert not await store.update(first, was=replace(first, sid="RM_2"))
    assert not await store.update(first, was=replace(first, failures=1))
    assert not await store.update(first, was=replace(first, not_before=0.5))
    assert await store.update(replace(first, sid="RM_2"), was=replace(first, asked_at=1.0, metadata="x"))


@pytest.mark.parametrize("later", [9.0, 0.0], ids=["later", "in the same instant"])
async def test_an_ask_during_a_pass_survives_the_passs_update(store: Store, later: float) -> None:
    """The time of a late ask is never lost, nor what it asks with, whoever writes last (I5 depends on it)."""
    first = await asked(store, want())
    await asked(store, replace(want("w2", at=NOW + later), metadata="new"))
    assert await store.update(replace(first, state=State.JOINED), was=first)
    stored = await store.want("w1")
    assert stored is not None
    assert (stored.state, stored.asked_at, stored.metadata) == (State.JOINED, NOW + later, "new")


async def test_a_want_that_was_asked_for_meanwhile_is_not_ended(store: Store) -> None:
    """The ask was answered: it must not vanish with the want."""
    first = await asked(store, want())
    await asked(store, want("w2", at=NOW + 9))
    assert not await store.update(replace(first, state=State.FINISHED), was=first)
    renewed = await store.want("w1")
    assert renewed is not None
    assert renewed.state is State.WAITING
    assert await store.update(replace(renewed, state=State.FINISHED), was=renewed)


@pytest.mark.parametrize("time", [0.1 + 0.2, 1795265832.9375281, 1e22, 5e-324, NOW + 1e-6, math.pi])
async def test_times_come_back_to_the_last_digit(store: Store, time: float) -> None:
    """A time that changed on its way would make every comparison fail."""
    first = replace(want(at=time), not_before=time, dispatched_at=time, trouble_since=time)
    assert await asked(store, first) == first
    assert await store.want("w1") == first
    assert await store.update(replace(first, since=time, lacking_since=0.0), was=first)


async def test_whole_numbers_as_times_are_no_change(store: Store) -> None:
    """1 and 1.0 are the same time, however they are written down."""
    first = replace(want(), not_before=1, created_at=2)
    await asked(store, first)
    assert await store.update(replace(first, state=State.JOINED), was=first)


@pytest.mark.parametrize("name", ["ä" * 128, "r" * 300, "🦊 {roomkeeper}:\n\t\x00\x7f", '"\\/[],', "*", " "])
async def test_names_may_be_long_and_strange(store: Store, name: str) -> None:
    """LiveKit takes almost any name; rooms must not be mixed up for that."""
    wanted = await asked(store, replace(want(room=name, agent=name), metadata=name, reason=name))
    held = await store.claim(claim(of=wanted))
    assert held is not None
    assert [replace(w, sid="") for w in await store.wants(name)] == [wanted]
    assert await store.claims(name) == [held]
    invitation = Invitation(
        room=name, identity=name, agent=name, metadata=name, expires_at=store.clock() + 60
    )
    await store.invite(invitation)
    assert await store.invitations(name) == await store.invitations() == [invitation]
    assert await store.release("j1") == held
    assert await store.claims(name) == []


async def test_a_rooms_wants_are_the_living_or_else_the_last_ended_of_each_agent(store: Store) -> None:
    """Who asks about a room learns how it stands, and how it last ended."""
    first = await asked(store, want("w1"))
    await store.update(replace(first, state=State.FINISHED), was=first)
    await asked(store, want("w2", at=NOW + 1))
    third = await asked(store, want("w3", agent="b", at=NOW + 2))
    await store.update(replace(third, state=State.FINISHED), was=third)
    assert [w.id for w in await store.wants("r")] == ["w2", "w3"]
    assert await store.wants("elsewhere") == []


async def test_living_wants_are_listed_oldest_first(store: Store) -> None:
    """Whoever takes over works them off in order."""
    for number in (2, 0, 1):
        await asked(store, want(f"w{number}", room=f"r{number}", at=NOW + number))
    assert [w.id for w in await store.living()] == ["w0", "w1", "w2"]


async def test_recent_wants_are_the_living_before_the_ended_and_newest_first(store: Store) -> None:
    """The console shows what is going on before what is over."""
    at = store.clock()
    for number in range(4):
        await asked(store, want(f"w{number}", room=f"r{number}", at=at + number))
    for number in (0, 2):
        ended = await store.want(f"w{number}")
        assert ended is not None
        await store.update(replace(ended, state=State.FINISHED), was=ended)
    assert [w.id for w in await store.recent()] == ["w3", "w1", "w2", "w0"]
    assert [w.id for w in await store.recent(3)] == ["w3", "w1", "w2"]
    assert [w.id for w in await store.recent(1)] == ["w3"]


async def test_the_place_in_line_goes_by_the_time_without_an_agent(store: Store) -> None:
    """First come, first served, each agent's name for itself; who does not wait has no place."""
    first = await asked(store, want("w1", room="r1", at=NOW + 2))
    second = await asked(store, want("w2", room="r2", at=NOW + 1))
    other = await asked(store, want("w3", room="r3", agent="b", at=NOW + 9))
    assert [await store.place(w) for w in (first, second, other)] == [2, 1, 1]
    joined = replace(second, state=State.JOINED, lacking_since=0.0)
    assert await store.update(joined, was=second)
    assert [await store.place(w) for w in (first, joined, second)] == [1, None, None]
    again = replace(joined, state=State.WAITING, lacking_since=NOW + 3)
    assert await store.update(again, was=joined)
    assert [await store.place(w) for w in (first, again)] == [1, 2]
    assert await store.update(replace(first, state=State.STOPPED), was=first)
    assert await store.place(again) == 1


async def test_ended_wants_are_forgotten_after_their_time(store: Store) -> None:
    """The store does not grow for ever, and forgets no living want."""
    at = store.clock()
    first = await asked(store, want("w1", at=at))
    await store.update(replace(first, state=State.FINISHED), was=first)
    await asked(store, want("w2", at=at))
    assert await store.forget_ended(before=at) == 0
    assert await store.forget_ended(before=at + 1) == 1
    assert [w.id for w in await store.recent()] == ["w2"]
    assert [w.id for w in await store.wants("r")] == ["w2"]


async def test_any_number_of_wants_is_forgotten_at_once(store: Store) -> None:
    """A day's end leaves nothing behind, not even the room's name."""
    at = store.clock()
    for number in range(450):
        ended = await asked(store, want(f"w{number}", room=f"r{number}", at=at))
        await store.update(replace(ended, state=State.FINISHED), was=ended)
    assert await store.forget_ended(before=at + 1) == 450
    assert await store.recent() == []
    assert await store.wants("r7") == []
