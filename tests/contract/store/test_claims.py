"""Claims in a store: one job gets a room, and it stays so."""

from __future__ import annotations

from dataclasses import replace

import anyio
import pytest

from gateway.keeper.model import Claim, Stage, State
from gateway.keeper.ports import Store
from tests.contract.store_worlds import NOW, asked, claim, want

pytestmark = pytest.mark.anyio


async def test_only_one_job_gets_the_claim(store: Store) -> None:
    """The second job is told who holds the room (I1)."""
    wanted = await asked(store, want())
    first = await store.claim(claim("j1", of=wanted))
    second = await store.claim(claim("j2", of=wanted))
    assert first is not None
    assert second is not None
    assert (first.job_id, second.job_id) == ("j1", "j1")


async def test_of_fifty_claims_at_once_one_is_granted(store: Store) -> None:
    """Fifty workers that are asked in the same moment agree on one of them (I1)."""
    wanted = await asked(store, want())
    held: list[Claim | None] = []

    async def try_it(number: int) -> None:
        held.append(await store.claim(claim(f"j{number}", of=wanted)))

    async with anyio.create_task_group() as tasks:
        for number in range(50):
            tasks.start_soon(try_it, number)
    [winner] = await store.all_claims()
    assert held == [winner] * 50


async def test_a_claim_may_be_repeated(store: Store) -> None:
    """An answer that was lost is asked for again, and is the same."""
    wanted = await asked(store, want())
    first = await store.claim(claim("j1", of=wanted))
    assert await store.claim(claim("j1", of=wanted)) == first


async def test_a_claim_needs_a_living_want_of_that_generation_and_room_instance(store: Store) -> None:
    """Late jobs of ended, restarted or older-room wants are refused (I4)."""
    wanted = await asked(store, want(sid="RM_1"))
    assert await store.claim(replace(claim(of=wanted), generation=2)) is None
    assert await store.claim(claim(of=wanted, sid="RM_2")) is None
    assert await store.claim(replace(claim(of=wanted), want_id="nobody")) is None
    assert await store.update(replace(wanted, state=State.STOPPED), was=wanted)
    assert await store.claim(claim(of=wanted)) is None


async def test_a_claim_pins_a_want_that_was_not_pinned(store: Store) -> None:
    """From its first agent on, a want belongs to one room instance; passes see that it changed."""
    wanted = await asked(store, want())
    await store.claim(claim(of=wanted, sid="RM_7"))
    stored = await store.want("w1")
    assert stored == replace(wanted, sid="RM_7")
    assert not await store.update(replace(wanted, state=State.JOINED), was=wanted)
    assert await store.update(replace(stored, state=State.JOINED), was=stored)


async def test_a_released_room_can_be_claimed_again(store: Store) -> None:
    """Release returns what was held, once."""
    wanted = await asked(store, want())
    held = await store.claim(claim("j1", of=wanted))
    assert await store.release("j1") == held
    assert await store.release("j1") is None
    after = await store.claim(claim("j2", of=wanted))
    assert after is not None
    assert after.job_id == "j2"


async def test_a_claim_advances_only_while_it_is_held(store: Store) -> None:
    """News of a job that has left change nothing."""
    wanted = await asked(store, want())
    held = await store.claim(claim("j1", of=wanted))
    assert held is not None
    opened = replace(held, stage=Stage.OPEN, pid=7, opened_at=NOW + 0.1)
    assert await store.advance(opened, was=held)
    assert await store.claim_of("j1") == opened
    assert await store.claims("r") == await store.all_claims() == [opened]
    await store.release("j1")
    assert not await store.advance(opened, was=opened)
    assert await store.claim_of("j1") is None


async def test_a_claim_that_changed_meanwhile_does_not_advance(store: Store) -> None:
    """What the job told and what the leader saw never overwrite each other."""
    held = await store.claim(claim("j1", of=await asked(store, want())))
    assert held is not None
    assert await store.advance(leaving := replace(held, stage=Stage.LEAVING), was=held)
    assert not await store.advance(replace(held, stage=Stage.OPEN), was=held)
    assert await store.claim_of("j1") == leaving


async def test_a_rooms_claims_are_listed_by_agent(store: Store) -> None:
    """And no other room's."""
    for number, agent in enumerate("ba"):
        await store.claim(claim(f"j{number}", of=await asked(store, want(f"w{number}", agent=agent))))
    await store.claim(claim("j9", of=await asked(store, want("w9", room="elsewhere"))))
    assert [c.agent for c in await store.claims("r")] == ["a", "b"]
    assert [c.job_id for c in await store.all_claims()] == ["j0", "j1", "j9"]
