"""What several replicas rely on in a store that they share: the lead, the fence, inboxes, generations."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import TypeVar

import anyio
import pytest

from gateway.keeper.model import Claim, Invitation, Stage, State
from gateway.keeper.notes import End, Guests, Here, Look, Note
from gateway.keeper.ports import LEADER, LeaseLost, Store, StoreUnavailable
from tests.contract.store_worlds import NOW, StoreWorld, asked, claim, replica, want

pytestmark = pytest.mark.anyio

T = TypeVar("T")

SHORT = 0.3
"""A lease that tests wait for."""


@pytest.fixture(params=["memory", pytest.param("redis", marks=pytest.mark.needs("redis-server"))])
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
async def other(world: StoreWorld) -> Store:
    """Another replica's way to the same store."""
    return await world.link()


async def eventually(look: Callable[[], Awaitable[T]], until: Callable[[T], bool]) -> T:
    """What `look` returns once it is so."""
    with anyio.fail_after(10):
        while not until(seen := await look()):  # noqa: ASYNC110  (a store has no event for it)
            await anyio.sleep(0.01)
    return seen


# ---- the lead ---------------------------------------------------------------------------------------------


async def test_only_one_leads_and_all_know_who(store: Store, other: Store) -> None:
    """Under the same epoch, in the same generation, with the same list of replicas."""
    mine = await store.beat(replica("A"), lead=True)
    theirs = await other.beat(replica("B"), lead=True)
    assert (mine.leader, theirs.leader) == ("A", "A")
    assert (mine.epoch, mine.generation) == (theirs.epoch, theirs.generation)
    assert [r.id for r in theirs.replicas] == ["A", "B"]


async def test_nobody_leads_who_does_not_want_to(store: Store, other: Store) -> None:
    """A replica that cannot use LiveKit leaves the lead alone, and lets go of it."""
    assert (await store.beat(replica("A"), lead=False)).leader == ""
    first = await store.beat(replica("A"), lead=True)
    assert (await store.beat(replica("A"), lead=False)).leader == ""
    second = await other.beat(replica("B"), lead=True)
    assert second.leader == "B"
    assert second.epoch > first.epoch


async def test_a_retired_leader_leaves_the_lead_and_the_list(store: Store, other: Store) -> None:
    """A graceful end makes nobody wait; claims stay with their jobs."""
    await store.beat(replica("A"), lead=True)
    held = await store.claim(replace(claim(of=await asked(store, want())), replica="A"))
    await store.retire("A")
    pulse = await other.beat(replica("B"), lead=True)
    assert pulse.leader == "B"
    assert [r.id for r in pulse.replicas] == ["B"]
    assert await other.all_claims() == [held]


@pytest.mark.parametrize("lease", [SHORT])
async def test_a_silent_leader_loses_the_lead_and_what_it_writes_late(store: Store, other: Store) -> None:
    """The fence: a leader that was frozen wakes up and changes nothing, whoever leads by then (I1)."""
    old = (await store.beat(replica("A"), lead=True)).epoch
    wanted = await asked(store, want(), epoch=old)
    pulse = await eventually(lambda: other.beat(replica("B"), lead=True), lambda p: p.leader == "B")
    assert pulse.epoch > old
    silent = next(r for r in pulse.replicas if r.id == "A")
    assert pulse.now - silent.beat_at > SHORT  # lapsed, and still listed
    with pytest.raises(LeaseLost):
        await store.update(replace(wanted, state=State.JOINED), was=wanted, epoch=old)
    assert await store.living() == [wanted]
    assert (await store.beat(replica("A"), lead=True)).leader == "B"


@pytest.mark.parametrize("lease", [SHORT])
async def test_a_lapsed_lead_is_not_one_even_if_nobody_took_it(store: Store, other: Store) -> None:
    """Notes to the leader were lost meanwhile: it begins anew, under another epoch."""
    old = (await store.beat(replica("A"), lead=True)).epoch
    await eventually(lambda: other.beat(replica("B"), lead=False), lambda p: p.leader == "")
    with pytest.raises(LeaseLost):
        await asked(store, want(), epoch=old)
    await asked(other, want())
    again = await store.beat(replica("A"), lead=True)
    assert again.leader == "A"
    assert again.epoch > old
    assert Look("r") not in await store.receive("A")


async def test_a_replica_tells_what_it_can_take(store: Store, other: Store) -> None:
    """All see the latest figures; the leader hears of them at once, and only when they changed."""
    await store.beat(replica("A"), lead=True)
    await other.beat(replica("B"), lead=True)
    await other.beat(replica("B"), lead=True)
    pulse = await other.beat(replica("B", slots=7), lead=True)
    assert {r.id: r.capacity.slots for r in pulse.replicas} == {"A": 1, "B": 7}
    told = await store.receive("A")
    assert [(n.replica.id, n.replica.capacity.slots) for n in told if isinstance(n, Here)] == [
        ("B", 1),
        ("B", 7),
    ]
    assert len(told) == 2


# ---- inboxes ----------------------------------------------------------------------------------------------


async def test_the_leader_hears_of_every_write_that_is_not_its_own(store: Store, other: Store) -> None:
    """In the same step as the write; reading tells nobody, nor does what was not written."""
    await store.beat(replica("A"), lead=True)
    await other.beat(replica("B"), lead=True)
    await store.receive("A")
    wanted = await asked(other, want())
    held = await other.claim(claim(of=wanted))
    wanted = (await other.wants("r"))[0]
    assert held is not None
    joined = replace(wanted, state=State.JOINED)
    assert await other.update(joined, was=wanted)
    assert not await other.update(joined, was=wanted)
    assert await other.advance(opened := replace(held, stage=Stage.OPEN), was=held)
    assert not await other.advance(opened, was=held)
    assert await other.release("j1") == opened
    assert await other.release("j1") is None
    until = other.clock() + 60
    await other.invite(Invitation(room="r", identity="p", agent="a", expires_at=until))
    assert await store.receive("A") == [*[Look("r")] * 5, Guests("r", until)]
    assert await other.receive("B") == []


async def test_a_lost_claim_tells_nobody(store: Store, other: Store) -> None:
    """Fifty refused jobs are no news."""
    await store.beat(replica("A"), lead=True)
    wanted = await asked(store, want())
    await store.claim(claim("j1", of=wanted))
    await other.claim(claim("j2", of=wanted))
    assert await store.receive("A") == []


async def test_notes_reach_the_replica_they_are_sent_to(store: Store, other: Store) -> None:
    """By name, or whoever leads; notes to nobody are lost."""
    await other.send(LEADER, [Look("nobody")])
    await store.beat(replica("A"), lead=True)
    await other.beat(replica("B"), lead=True)
    await store.receive("A")
    await store.send("B", [End("j1")])
    await other.send(LEADER, [Look("r")])
    assert await other.receive("B") == [End("j1")]
    assert await store.receive("A") == [Look("r")]


async def test_an_inbox_keeps_the_newest_ten_thousand_notes(store: Store, other: Store) -> None:
    """A replica that hangs fills no memory."""
    await store.beat(replica("A"), lead=True)
    notes: list[Note] = [Look(str(number)) for number in range(10_050)]
    await other.send("A", notes)
    assert await store.receive("A") == notes[50:]


async def test_a_retired_replicas_inbox_is_gone(store: Store, other: Store) -> None:
    """Whoever comes after it under the same name starts with an empty one."""
    await store.beat(replica("A"), lead=True)
    await other.send("A", [Look("r")])
    await store.retire("A")
    assert await store.receive("A") == []


# ---- shared rows ------------------------------------------------------------------------------------------


async def test_of_claims_over_two_links_one_is_granted(store: Store, other: Store) -> None:
    """Two replicas' workers are asked at once (I1)."""
    wanted = await asked(store, want())
    held: list[Claim | None] = []

    async def try_it(link: Store, number: int) -> None:
        held.append(await link.claim(claim(f"j{number}", of=wanted)))

    async with anyio.create_task_group() as tasks:
        for number in range(20):
            tasks.start_soon(try_it, store if number % 2 else other, number)
    [winner] = await store.all_claims()
    assert held == [winner] * 20


async def test_what_one_replica_wrote_another_reads(store: Store, other: Store) -> None:
    """Wants, claims, places: nothing is remembered in a link."""
    wanted = await asked(store, want())
    assert await other.wants("r") == await other.living() == await other.recent() == [wanted]
    assert await other.place(wanted) == 1
    held = await other.claim(claim(of=wanted))
    assert await store.claim_of("j1") == held


async def test_replicas_agree_on_the_time(store: Store, other: Store) -> None:
    """Whichever clock was read later shows the later time, within what a loaded machine's reading may err."""
    for number in range(20):
        await store.beat(replica("A"), lead=True)
        await other.beat(replica("B"), lead=True)
        links = (store, other) if number % 2 else (other, store)
        first, second = links[0].clock(), links[1].clock()
        assert first - 0.01 <= second <= first + 0.5


# ---- generations ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("lease", [SHORT])
async def test_after_a_wipe_nothing_new_begins_until_replicas_told_what_they_know(
    world: StoreWorld, store: Store, other: Store
) -> None:
    """An empty store must not let a second agent in, nor a second want (I1, I2); what was restored holds."""
    before = await store.beat(replica("A"), lead=True)
    await other.beat(replica("B"), lead=True)
    await asked(store, want())
    held = await store.claim(claim("j1", of=want()))
    [wanted] = await store.wants("r")
    assert held is not None
    assert before.settled

    world.wipe()
    after = await store.beat(replica("A"), lead=True)
    pulse = await other.beat(replica("B"), lead=True)

    assert (after.settled, pulse.settled) == (False, False)
    assert after.generation == pulse.generation != before.generation
    assert after.leader == pulse.leader == "A"
    assert after.epoch > before.epoch
    with pytest.raises(StoreUnavailable):
        await other.claim(claim("j2", of=wanted))
    with pytest.raises(StoreUnavailable):
        await asked(other, want("w2"))
    with pytest.raises(LeaseLost):
        await asked(store, want(), epoch=before.epoch)
    await store.restore([wanted], [held])
    assert (await asked(other, want("w2", at=NOW + 1))).id == "w1"
    await eventually(lambda: other.beat(replica("B"), lead=True), lambda p: p.settled)
    assert await other.claim(claim("j2", of=wanted)) == held
    assert (await asked(other, want("w3", room="r3"))).id == "w3"


async def test_after_a_wipe_a_replica_is_told_nothing_before_its_next_heartbeat(
    world: StoreWorld, store: Store, other: Store
) -> None:
    """What it would read there is not what it takes it for: nothing is no answer (I3)."""
    await store.beat(replica("A"), lead=True)
    wanted = await asked(store, want())
    held = await store.claim(claim(of=wanted))
    assert held is not None
    world.wipe()
    await other.beat(replica("B"), lead=True)
    steps: list[Callable[[], Awaitable[object]]] = [
        lambda: store.want("w1"),
        lambda: store.wants("r"),
        store.living,
        store.recent,
        lambda: store.place(wanted),
        lambda: store.update(wanted, was=wanted),
        lambda: asked(store, wanted),
        lambda: store.forget_ended(0.0),
        lambda: store.claim(held),
        lambda: store.claims("r"),
        store.all_claims,
        lambda: store.claim_of("j1"),
        lambda: store.advance(held, was=held),
        lambda: store.release("j1"),
        lambda: store.invite(Invitation(room="r", identity="p", agent="a", expires_at=NOW)),
        lambda: store.invitations("r"),
        store.invitations,
        lambda: store.restore([wanted], [held]),
        lambda: store.send(LEADER, [Look("r")]),
    ]
    for step in steps:
        with pytest.raises(StoreUnavailable):
            await step()
    assert await store.receive("A") == []
    await store.beat(replica("A"), lead=True)
    await store.restore([wanted], [held])
    assert await store.claims("r") == [held]


@pytest.mark.parametrize("lease", [SHORT])
async def test_after_a_wipe_notes_arrive_as_before(world: StoreWorld, store: Store, other: Store) -> None:
    """Whoever waits for a note while the store is emptied hears the next one."""
    await store.beat(replica("A"), lead=True)
    world.wipe()
    await store.beat(replica("A"), lead=True)
    await other.send(LEADER, [Look("r")])
    assert await store.receive("A") == [Look("r")]


async def test_a_want_may_be_pinned_by_restoring_its_claim_first(store: Store, other: Store) -> None:
    """Several replicas tell in any order; each row is put once."""
    wanted = want(sid="RM_1")
    held = claim(of=wanted)
    await store.restore([], [held])
    await other.restore([wanted], [held, replace(held, job_id="j2")])
    await store.restore([replace(wanted, id="w2", created_at=NOW - 1)], [])
    assert await store.living() == [wanted]
    assert await store.all_claims() == [held]
