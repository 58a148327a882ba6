"""What a store lost, and replicas put back."""

from __future__ import annotations

import itertools
from dataclasses import replace

import pytest

from gateway.keeper.model import Ask, Stage, State
from gateway.keeper.ports import Store
from tests.contract.store_worlds import NOW, asked, claim, want

pytestmark = pytest.mark.anyio


async def test_what_was_lost_is_restored_and_nothing_else_touched(store: Store) -> None:
    """After a failover replicas tell what they know; the store believes what it has."""
    there = await asked(store, want("w1"))
    kept = await store.claim(claim("j1", of=there))
    there = (await store.wants("r"))[0]
    await store.restore(
        [
            replace(there, state=State.JOINED),
            want("w2"),
            lost := replace(want("w3", room="r3"), metadata="m", asked_at=NOW + 2),
        ],
        [claim("j2", of=there), lost_claim := claim("j3", of=lost)],
    )
    assert await store.living() == [there, lost]
    assert await store.all_claims() == [kept, lost_claim]
    assert await store.place(lost) == 2
    assert await store.release("j3") == lost_claim


async def test_of_two_copies_of_a_want_the_later_one_is_restored(store: Store) -> None:
    """Whoever held a want long ago tells what it knows of it, and so does the leader."""
    old = await asked(store, want("w1"))
    later = replace(old, state=State.JOINED, since=old.since + 1, identity="agent-2")
    await store.restore([later], [])
    await store.restore([replace(old, state=State.JOINED, identity="agent-1")], [])
    assert await store.living() == [later]
    await store.ask(
        Ask(room="r", agent="a", metadata="m"), fresh=replace(want("w2"), asked_at=NOW + 9, metadata="m")
    )
    restarted = replace(later, generation=2)
    await store.restore([restarted], [])
    assert await store.living() == [replace(restarted, asked_at=NOW + 9, metadata="m")]
    await store.restore([replace(later, asked_at=NOW + 12, metadata="n")], [])
    assert await store.living() == [replace(restarted, asked_at=NOW + 12, metadata="n")]


async def test_of_two_claims_the_later_one_is_restored(store: Store) -> None:
    """A failover brings back claims that were released, and stages that were left behind."""
    there = await asked(store, want("w1"))
    old = await store.claim(claim("j1", of=there))
    assert old is not None
    further = replace(old, stage=Stage.OPEN, since=old.since + 0.000002)
    await store.restore([], [further])
    assert await store.claims("r") == [further]
    later = replace(old, job_id="j2", since=old.since + 1)
    await store.restore([], [later])
    await store.restore([], [further])
    assert await store.all_claims() == [later] == await store.claims("r")


async def test_a_later_want_takes_the_place_of_one_whose_end_was_lost(store: Store) -> None:
    """Only one lives, so that the other must have ended; in whichever order that is told."""
    first = await asked(store, want("w1"))
    second = want("w2", at=NOW + 5)
    await store.restore([second], [])
    assert await store.living() == [second]
    assert await store.wants("r") == [second]
    await store.restore([replace(first, state=State.FINISHED)], [])
    assert await store.living() == [second]
    await store.restore([want("w0", at=NOW - 5)], [])
    assert await store.living() == [second], "an older one does not"


async def test_a_want_is_not_restored_when_another_one_ended_after_it_was_asked_for(store: Store) -> None:
    """Whoever tells it was out of touch, and the room was wanted anew meanwhile, and had its agent."""
    now = store.clock()
    ended = await asked(store, want("w2", at=now + 5))
    finished = replace(ended, state=State.FINISHED, since=now + 20)
    assert await store.update(finished, was=ended)
    await store.restore([want("w1", at=now)], [])
    assert await store.living() == []
    asked_later = want("w0", at=now + 21)
    await store.restore([asked_later], [])
    assert await store.living() == [asked_later]


async def test_an_end_that_is_restored_holds_for_what_was_asked_before_it(store: Store) -> None:
    """In whichever order they are told; the end that came last counts."""
    now = store.clock()
    ends = [replace(want(f"e{n}", at=now + n), state=State.FINISHED, since=now + n + 1) for n in (5, 20)]
    for number, told in enumerate(itertools.permutations([*ends, want("w1", at=now + 10)])):
        for each in told:
            of_its_own = replace(each, id=f"{each.id}-{number}", room=f"r{number}")
            await store.restore([of_its_own], [])
        assert await store.living() == [], [each.id for each in told]
        assert [w.id for w in await store.wants(f"r{number}")] == [f"e20-{number}"]
    await store.restore([want("w2", at=now + 30), *ends], [])
    assert [w.id for w in await store.living()] == ["w2"]


async def test_of_two_copies_of_a_claim_its_replica_knows_the_right_one(store: Store) -> None:
    """An identity or a close reason that a failover lost changes no `since`."""
    wanted = await asked(store, want())
    held = await store.claim(claim(of=wanted))
    assert held is not None
    named = replace(held, identity="of-my-own", raised="ValueError")
    await store.restore([], [named])
    assert await store.claims("r") == [named]
    await store.restore([], [replace(claim("j2", of=wanted), since=held.since)])
    assert await store.claims("r") == [named], "another job's of the same time does not take its place"


async def test_an_end_that_was_lost_is_restored(store: Store) -> None:
    """What was stopped stays stopped, unless somebody asked after that."""
    stopped = await asked(store, want("w1", at=store.clock()))
    asked_again = await asked(store, want("w2", room="r2"))
    await asked(store, want("w3", room="r2", at=NOW + 1))
    await store.restore([replace(w, state=State.STOPPED) for w in (stopped, asked_again)], [])
    assert [w.id for w in await store.living()] == ["w2"]
    again, deduplicated = await store.ask(Ask(room="r", agent="a"), fresh=want("w4"))
    assert (again.id, deduplicated) == ("w4", False)
