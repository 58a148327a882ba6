"""What the keeper relies on in a store, held by every store."""

from __future__ import annotations

import itertools
import math
from dataclasses import replace

import anyio
import pytest

from gateway.keeper.model import Ask, Claim, Invitation, Stage, State, Want
from gateway.keeper.notes import End, Look, Note
from gateway.keeper.ports import LEADER, LeaseLost, Store
from tests.contract.store_worlds import NOW, asked, claim, replica, want

pytestmark = pytest.mark.anyio


@pytest.fixture(params=["memory", "sqlite", pytest.param("redis", marks=pytest.mark.needs("redis-server"))])
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def anyio_backend(kind: str) -> str:
    return "asyncio" if kind == "redis" else "trio"


# ---- wants ------------------------------------------------------------------------------------------------


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


# ---- claims -----------------------------------------------------------------------------------------------


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


# ---- invitations ------------------------------------------------------------------------------------------


async def test_invitations_last_until_they_expire(store: Store) -> None:
    """A token calls its agent whenever its person joins with it, as long as it lives."""
    valid = Invitation(room="r", identity="p", agent="a", metadata="m", expires_at=store.clock() + 60)
    await store.invite(valid)
    await store.invite(Invitation(room="r", identity="q", agent="a", expires_at=store.clock() - 1))
    assert await store.invitations("r") == await store.invitations() == [valid]
    assert await store.invitations("elsewhere") == []
    await store.forget_ended(before=0.0)
    assert await store.invitations() == [valid]


async def test_a_later_invitation_replaces_the_same_persons_one(store: Store) -> None:
    """A page that gets a fresh token has one invitation, the fresh one."""
    first = Invitation(room="r", identity="p", agent="a", metadata="old", expires_at=store.clock() + 60)
    await store.invite(first)
    await store.invite(again := replace(first, metadata="new", expires_at=first.expires_at - 30))
    await store.invite(other := replace(first, agent="b"))
    assert await store.invitations("r") == await store.invitations() == [again, other]


# ---- replicas, as far as one alone is concerned -----------------------------------------------------------


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


async def test_the_clock_runs_and_never_goes_back(store: Store) -> None:
    """Times in rows can be compared, whoever wrote them."""
    times = [store.clock()]
    for _ in range(20):
        await store.beat(replica("A"), lead=True)
        times.append(store.clock())
    assert times == sorted(times)
    assert times[-1] > times[0]
