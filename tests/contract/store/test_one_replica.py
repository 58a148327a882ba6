"""What a replica alone relies on in a store: the lead, the fence, its inbox, the clock."""

from __future__ import annotations

from dataclasses import replace

import anyio
import pytest

from gateway.keeper.model import Invitation, Stage, State
from gateway.keeper.notes import End, Look, Note
from gateway.keeper.ports import LEADER, LeaseLost, Store
from tests.contract.store_worlds import NOW, asked, claim, replica, want

pytestmark = pytest.mark.anyio


async def test_a_lone_replica_leads_and_sees_itself(store: Store) -> None:
    """The first heartbeat brings the lead; the epoch stays while the lead does."""
    first = await store.beat(replica("A"), lead=True)
    again = await store.beat(replica("A"), lead=True)
    assert (first.leader, again.leader) == ("A", "A")
    assert first.epoch == again.epoch > 0
    assert first.generation == again.generation != ""
    assert first.now <= again.now
    assert [(r.id, r.beat_at, r.capacity.slots) for r in again.replicas] == [("A", again.now, 1)]


async def test_what_is_written_under_a_wrong_epoch_is_not_written(store: Store) -> None:
    """The fence: whoever believes to lead and does not, changes nothing."""
    right = (await store.beat(replica("A"), lead=True)).epoch
    wanted = await asked(store, want(), epoch=right)
    held = await store.claim(claim(of=wanted))
    wanted = (await store.wants("r"))[0]
    assert held is not None
    wrong = right + 1
    with pytest.raises(LeaseLost):
        await asked(store, want("w2", at=NOW + 5), epoch=wrong)
    with pytest.raises(LeaseLost):
        await store.update(replace(wanted, state=State.JOINED), was=wanted, epoch=wrong)
    with pytest.raises(LeaseLost):
        await store.advance(replace(held, stage=Stage.OPEN), was=held, epoch=wrong)
    with pytest.raises(LeaseLost):
        await store.release("j1", epoch=wrong)
    assert await store.living() == [wanted]
    assert await store.all_claims() == [held]
    assert await store.update(replace(wanted, state=State.JOINED), was=wanted, epoch=right)
    assert await store.advance(replace(held, stage=Stage.OPEN), was=held, epoch=right)
    assert await store.release("j1", epoch=right) is not None


async def test_notes_arrive_in_order_and_once(store: Store) -> None:
    """To the leader or by name: this replica is both."""
    await store.beat(replica("A"), lead=True)
    notes: list[Note] = [Look("r1"), End("j1", kill=True), Look("ä\n")]
    await store.send(LEADER, notes[:2])
    await store.send("A", notes[2:])
    assert await store.receive("A") == notes
    assert await store.receive("A") == []


async def test_a_note_wakes_whoever_waits_for_it(store: Store) -> None:
    """Hints are worth something while they are fresh."""
    await store.beat(replica("A"), lead=True)
    heard: list[Note] = []

    async def hear() -> None:
        heard.extend(await store.receive("A"))

    with anyio.fail_after(5):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(hear)
            await anyio.lowlevel.checkpoint()
            await store.send("A", [Look("r")])
    assert heard == [Look("r")]


async def test_a_leader_gets_no_notes_of_what_it_does_itself(store: Store) -> None:
    """It knows."""
    await store.beat(replica("A"), lead=True)
    await asked(store, want())
    await store.invite(Invitation(room="r", identity="p", agent="a", expires_at=store.clock() + 60))
    assert await store.receive("A") == []


async def test_the_clock_runs_and_never_goes_back(store: Store) -> None:
    """Times in rows can be compared, whoever wrote them."""
    times = [store.clock()]
    for _ in range(20):
        await store.beat(replica("A"), lead=True)
        times.append(store.clock())
    assert times == sorted(times)
    assert times[-1] > times[0]
