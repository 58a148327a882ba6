"""A claim that retires: it holds its room no longer, and is known until its job has left."""

from __future__ import annotations

from dataclasses import replace

import pytest

from gateway.keeper.model import Claim, Stage
from gateway.keeper.ports import Store
from tests.contract.store_worlds import NOW, asked, claim, want

pytestmark = pytest.mark.anyio


async def retired(store: Store) -> Claim:
    held = await store.claim(claim("j1", of=await asked(store, want())))
    assert held is not None
    retiring = replace(held, stage=Stage.OPEN, retires_since=NOW)
    assert await store.advance(retiring, was=held)
    return retiring


async def test_its_room_is_free_for_a_successor(store: Store) -> None:
    """One successor; both are the room's claims, and known by their jobs."""
    old = await retired(store)
    wanted = await asked(store, want())
    new = await store.claim(claim("j2", of=wanted))
    assert new is not None
    assert new.job_id == "j2"
    assert await store.claim(claim("j3", of=wanted)) == new
    assert await store.claims("r") == [new, old]
    assert await store.all_claims() == [old, new]
    assert await store.claim_of("j1") == old


async def test_it_advances_and_is_released_without_touching_its_successor(store: Store) -> None:
    """Its job goes on to tell of itself."""
    old = await retired(store)
    new = await store.claim(claim("j2", of=await asked(store, want())))
    leaving = replace(old, stage=Stage.LEAVING)
    assert await store.advance(leaving, was=old)
    assert await store.release("j1") == leaving
    assert await store.claims("r") == [new]
    assert await store.claim(claim("j3", of=await asked(store, want()))) == new


async def test_a_successors_end_leaves_it_alone(store: Store) -> None:
    """And frees the room for another one."""
    old = await retired(store)
    wanted = await asked(store, want())
    await store.claim(claim("j2", of=wanted))
    await store.release("j2")
    assert await store.claims("r") == [old]
    again = await store.claim(claim("j3", of=wanted))
    assert again is not None
    assert again.job_id == "j3"


async def test_both_are_restored(store: Store) -> None:
    """In whichever order they are told."""
    wanted = await asked(store, want())
    old = replace(claim("j1", of=wanted), stage=Stage.OPEN, retires_since=NOW)
    new = replace(claim("j2", of=wanted), since=old.since + 5.0)
    await store.restore([], [new, old])
    assert await store.all_claims() == [old, new]
    await store.restore([], [old, new])
    assert await store.all_claims() == [old, new]
    assert await store.release("j2") == new
    assert await store.claims("r") == [old]


async def test_that_it_retires_is_restored(store: Store) -> None:
    """A failover brought back that it holds; its replica knows better."""
    held = await store.claim(claim("j1", of=await asked(store, want())))
    assert held is not None
    old = replace(held, retires_since=NOW)
    await store.restore([], [old])
    assert await store.claims("r") == [old]
    new = await store.claim(claim("j2", of=await asked(store, want())))
    assert new is not None
    assert new.job_id == "j2"
