"""The store in memory has the faults that a simulation needs; the contract holds for it as for real ones."""

from __future__ import annotations

from dataclasses import replace

import anyio
import pytest
from trio.testing import MockClock

from gateway.keeper.model import State
from gateway.keeper.ports import LeaseLost, StoreUnavailable
from tests.contract.store_worlds import asked, claim, replica, want
from tests.fakes.store import MemoryStore

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> tuple[str, dict[str, object]]:
    return "trio", {"clock": MockClock(autojump_threshold=0)}


@pytest.fixture
async def store(anyio_backend: object) -> MemoryStore:
    return MemoryStore(lambda: 1000.0 + anyio.current_time())


async def test_a_failover_takes_back_the_last_seconds_and_no_more(store: MemoryStore) -> None:
    """Acknowledged writes are lost, rows and indexes alike; nobody is told anything before a heartbeat."""
    before = await store.beat(replica("A"), lead=True)
    first = await asked(store, want("w1", room="r1"))
    held = await store.claim(claim("j1", of=first))
    kept = await store.wants("r1")
    await anyio.sleep(10)
    await store.update(replace(kept[0], state=State.FINISHED), was=kept[0])
    await store.release("j1")
    await asked(store, want("w2", room="r2"))

    store.lose(5)

    with pytest.raises(StoreUnavailable):
        await store.living()
    assert (await store.beat(replica("A"), lead=True)).generation != before.generation
    assert await store.living() == await store.wants("r1") == kept
    assert await store.all_claims() == await store.claims("r1") == [held]
    assert await store.wants("r2") == []
    assert await store.place(kept[0]) == 1


async def test_one_replica_is_cut_off_alone(store: MemoryStore) -> None:
    """Partitions are between a replica and the store; an outage is everybody's."""
    cut, other = store.link(), store.link()
    cut.away = True
    with pytest.raises(StoreUnavailable):
        await cut.living()
    assert await other.living() == []
    store.away = True
    with pytest.raises(StoreUnavailable):
        await other.living()


async def test_an_answer_may_get_lost_after_the_effect(store: MemoryStore) -> None:
    """Unavailable does not mean that nothing was written (I3)."""
    store.loses = lambda: True
    with pytest.raises(StoreUnavailable):
        await asked(store, want())
    store.loses = lambda: False
    assert [w.id for w in await store.living()] == ["w1"]


async def test_stale_writes_are_counted(store: MemoryStore) -> None:
    """The mutation without the fence is judged by them."""
    epoch = (await store.beat(replica("A"), lead=True)).epoch
    await anyio.sleep(10)
    await store.link().beat(replica("B"), lead=True)
    with pytest.raises(LeaseLost):
        await asked(store, want(), epoch=epoch)
    assert store.stale_writes == 1


async def test_a_silent_replica_is_listed_for_a_minute(store: MemoryStore) -> None:
    """Long enough for the leader to see what it held."""
    link = store.link()
    await link.beat(replica("A"), lead=False)
    await anyio.sleep(59)
    assert [r.id for r in (await store.beat(replica("B"), lead=True)).replicas] == ["A", "B"]
    await anyio.sleep(2)
    assert [r.id for r in (await store.beat(replica("B"), lead=True)).replicas] == ["B"]
