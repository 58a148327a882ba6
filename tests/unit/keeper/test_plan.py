"""The plan is pure and total: any situation gives one plan, and that keeps the invariants."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.keeper.model import Claim, End, Participant, Room, Seen, Source, Stage, State, Want
from gateway.keeper.outcome import advanced
from gateway.keeper.plan import BACK_FOR_GOOD, plan
from gateway.keeper.situation import (
    Dispatch,
    EndJob,
    LoseDispatch,
    MarkMissing,
    Release,
    RemoveParticipant,
    Situation,
)
from gateway.settings import KeeperSettings
from pool.ports import JobEvent, JobEventKind

NOW = 1_800_000_000.0
RULES = KeeperSettings()
PERSON = Participant(identity="p")
AGENT = Participant(identity="agent-j1", agent="a")
ROOM = Room(name="r", sid="RM_1", people=1)


def want(**changes: object) -> Want:
    base = Want(
        id="w",
        room="r",
        agent="a",
        sid="RM_1",
        node="ND_1",
        created_at=NOW - 5,
        asked_at=NOW - 5,
        since=NOW - 5,
        lacking_since=NOW - 5,
    )
    return replace(base, **changes)  # type: ignore[arg-type]


def claim(stage: Stage, since: float = NOW - 1, **changes: object) -> Claim:
    base = Claim(
        room="r",
        agent="a",
        want_id="w",
        generation=1,
        sid="RM_1",
        job_id="j1",
        identity="agent-j1",
        stage=stage,
        since=since,
    )
    return replace(base, **changes)  # type: ignore[arg-type]


def situation(**changes: object) -> Situation:
    base = Situation(
        want=want(),
        claim=None,
        seen=Seen(room=ROOM, participants=[PERSON], at=NOW),
        now=NOW,
        ours=True,
        runs=True,
        node="ND_1",
    )
    return replace(base, **changes)  # type: ignore[arg-type]


times = st.floats(NOW - 1000, NOW)
wants = st.builds(
    Want,
    id=st.just("w"),
    room=st.just("r"),
    agent=st.just("a"),
    source=st.sampled_from(Source),
    generation=st.integers(1, 3),
    sid=st.sampled_from(["", "RM_1", "RM_2"]),
    node=st.sampled_from(["", "ND_1", "ND_2"]),
    state=st.sampled_from([s for s in State if not s.ended]),
    created_at=times,
    asked_at=times,
    since=times,
    lacking_since=st.one_of(st.just(0.0), times),
    trouble_since=st.one_of(st.just(0.0), times),
    dispatched_at=st.one_of(st.just(0.0), times),
    identity=st.sampled_from(["", "agent-j1"]),
    needs_person=st.booleans(),
    failures=st.integers(0, 9),
    not_before=st.one_of(st.just(0.0), st.floats(NOW - 10, NOW + 10)),
)
claims = st.builds(
    Claim,
    room=st.just("r"),
    agent=st.just("a"),
    want_id=st.sampled_from(["w", "another"]),
    generation=st.integers(1, 3),
    sid=st.sampled_from(["RM_1", "RM_2"]),
    job_id=st.just("j1"),
    identity=st.just("agent-j1"),
    stage=st.sampled_from(Stage),
    since=times,
)
participants = st.lists(
    st.sampled_from(
        [
            *(PERSON, AGENT, replace(AGENT, identity="agent-j2")),
            replace(AGENT, identity="avatar-of-j1", avatar=True),
        ]
    ),
    unique_by=lambda p: p.identity,
)
situations = st.builds(
    Situation,
    want=wants,
    claim=st.one_of(st.none(), claims),
    seen=st.builds(Seen, room=st.sampled_from([None, ROOM]), participants=participants, at=st.just(NOW)),
    now=st.just(NOW),
    ours=st.booleans(),
    runs=st.booleans(),
    untold=st.booleans(),
    node=st.sampled_from(["", "ND_1", "ND_2"]),
    asked_since_seen=st.booleans(),
)


@settings(max_examples=1000)
@given(situations)
def test_every_situation_has_one_plan(s: Situation) -> None:
    """Pure and total."""
    assert plan(s, RULES) == plan(s, RULES)


@settings(max_examples=1000)
@given(situations)
def test_nothing_is_dispatched_while_somebody_holds_the_room(s: Situation) -> None:
    """I1: a claim forbids another agent, whoever's it is."""
    decided = plan(s, RULES)
    if s.ours and s.claim is not None:
        assert not any(isinstance(a, Dispatch) for a in decided.actions)


@settings(max_examples=1000)
@given(situations)
def test_nothing_is_dispatched_into_another_room_instance(s: Situation) -> None:
    """I4: only the instance that the want is pinned to."""
    decided = plan(s, RULES)
    if any(isinstance(a, Dispatch) for a in decided.actions):
        assert decided.want.sid == (s.seen.room.sid if s.seen.room is not None else "")


@settings(max_examples=1000)
@given(situations)
def test_joined_is_said_only_of_an_agent_that_is_listed_and_open(s: Situation) -> None:
    """I7."""
    decided = plan(s, RULES)
    if decided.want.state is State.JOINED and s.want.state is not State.JOINED:
        assert any(p.identity == decided.want.identity for p in s.seen.agents("a"))
        if s.ours:
            assert s.claim is not None
            assert s.claim.stage is Stage.OPEN


@settings(max_examples=1000)
@given(situations)
def test_the_claims_own_agent_is_removed_only_to_make_it_leave(s: Situation) -> None:
    """Nobody throws out the agent that serves."""
    decided = plan(s, RULES)
    removed = {a.identity for a in decided.actions if isinstance(a, RemoveParticipant)}
    serving = s.claim is not None and s.claim.stage is Stage.OPEN and s.claim.want_id == s.want.id
    if s.ours and s.runs and s.claim is not None and serving and s.claim.generation == s.want.generation:
        assert s.claim.identity not in removed


@settings(max_examples=1000)
@given(situations)
def test_no_person_is_ever_removed(s: Situation) -> None:
    """Only agents of the want's name."""
    removed = {a.identity for a in plan(s, RULES).actions if isinstance(a, RemoveParticipant)}
    assert PERSON.identity not in removed


@settings(max_examples=1000)
@given(situations)
def test_a_want_that_waits_for_something_is_looked_at_again(s: Situation) -> None:
    """I2: a living want without a working agent is never left alone, unless it waits for a person."""
    decided = plan(s, RULES)
    lacks = decided.want.state in {State.WAITING, State.DISPATCHED} and not decided.want.needs_person
    if lacks:
        assert decided.due is not None


def test_a_request_for_a_room_that_does_not_exist_yet_is_dispatched() -> None:
    """Whoever carries out the dispatch makes the room first."""
    decided = plan(situation(want=want(sid="", node=""), seen=Seen(room=None, at=NOW)), RULES)
    assert decided.actions == [Dispatch()]


def test_a_policy_want_whose_room_ended_makes_no_room() -> None:
    """Nobody asked for it but the people who have left."""
    policy = want(sid="", source=Source.POLICY)
    assert plan(situation(want=policy, seen=Seen(room=None, at=NOW)), RULES).want.state is State.FINISHED


def test_a_dispatch_that_nobody_claimed_in_time_is_lost() -> None:
    """Fact 4: after 4 s nobody will."""
    early = want(state=State.DISPATCHED, dispatched_at=NOW - 3.9)
    late = want(state=State.DISPATCHED, dispatched_at=NOW - 4.0)
    assert plan(situation(want=early), RULES).actions == []
    assert plan(situation(want=late), RULES).actions == [LoseDispatch()]


@pytest.mark.parametrize(
    ("stage", "limit"),
    [(Stage.ACCEPTED, 8.0), (Stage.LAUNCHED, 15.0), (Stage.ENTERED, 15.0), (Stage.CONNECTED, 30.0)],
)
def test_a_job_that_comes_no_further_is_killed_at_its_limit(stage: Stage, limit: float) -> None:
    """Dead and frozen processes (facts 63, 74)."""
    before = plan(situation(claim=claim(stage, since=NOW - limit + 0.1)), RULES)
    late = claim(stage, since=NOW - limit)
    after = plan(situation(claim=late), RULES)
    assert list(before.actions) == []
    if stage is Stage.ACCEPTED:  # there is no process yet
        assert after.actions == [EndJob(late), Release(late, End.LOST)]
    else:
        assert after.actions == [EndJob(late, kill=True)]


def test_a_claim_without_a_process_is_released_after_its_ghost_is_gone() -> None:
    """First the identity is removed, then the room is free."""
    decided = plan(situation(claim=claim(Stage.OPEN), runs=False), RULES)
    kinds = [type(a) for a in decided.actions]
    assert kinds == [RemoveParticipant, Release]


def test_an_agent_of_the_name_without_a_claim_is_removed_beside_the_one_with_it() -> None:
    """I1, where somebody came in past the gate."""
    both = Seen(room=ROOM, participants=[PERSON, AGENT, replace(AGENT, identity="x")], at=NOW)
    decided = plan(situation(claim=claim(Stage.OPEN), seen=both), RULES)
    assert decided.actions == [RemoveParticipant("x", "stray")]


def test_of_two_foreign_agents_the_one_longest_present_stays() -> None:
    """Foreign workers have no claim; the room's memory decides."""
    old, new = replace(AGENT, identity="old", joined_at=1.0), replace(AGENT, identity="new", joined_at=2.0)
    seen = Seen(room=ROOM, participants=[PERSON, new, old], at=NOW)
    decided = plan(situation(ours=False, seen=seen), RULES)
    assert decided.want.identity == "old"
    assert decided.actions == [RemoveParticipant("new", "stray")]


def test_a_foreign_agent_that_left_on_purpose_is_not_called_back() -> None:
    """I5, as far as a webhook told."""
    joined = want(state=State.JOINED, identity="x")
    left = plan(situation(ours=False, want=joined, left_cleanly={"x": NOW}), RULES)
    crashed = plan(situation(ours=False, want=joined), RULES)
    assert left.want.state is State.FINISHED
    assert Dispatch() in crashed.actions


def test_a_want_is_given_up_at_its_deadline_with_the_reason() -> None:
    """Nobody waits for ever, and the reason is kept."""
    old = want(lacking_since=NOW - RULES.give_up_after, reason="no worker is registered with LiveKit")
    decided = plan(situation(want=old), RULES)
    assert decided.want.state is State.GAVE_UP
    assert "no worker is registered" in decided.want.reason


def test_a_want_pinned_without_a_registration_learns_the_node_from_the_next_one() -> None:
    """Else a restart of LiveKit would later look like the room's end (fact 80)."""
    decided = plan(situation(want=want(node=""), claim=claim(Stage.OPEN)), RULES)
    assert decided.want.node == "ND_1"


def test_a_restart_of_livekit_is_told_from_a_rooms_end_by_the_node() -> None:
    """Another SID on another node: the room came back; on the same node: it is another call."""
    back = Room(name="r", sid="RM_2", people=1)
    seen = Seen(room=back, participants=[PERSON], at=NOW)
    assert plan(situation(seen=seen, node="ND_2"), RULES).want.sid == "RM_2"
    assert plan(situation(seen=seen, node="ND_1"), RULES).want.state is State.FINISHED
    assert plan(situation(seen=seen, node=""), RULES).want.state is State.REPLACING


def test_an_agent_that_is_only_connected_is_not_said_to_have_joined() -> None:
    """I7: it is listed, and its session is not open yet."""
    seen = Seen(room=ROOM, participants=[PERSON, AGENT], at=NOW)
    connected = plan(situation(claim=claim(Stage.CONNECTED), seen=seen), RULES)
    opened = plan(situation(claim=claim(Stage.OPEN), seen=seen), RULES)
    assert connected.want.state is State.DISPATCHED
    assert opened.want.state is State.JOINED


def test_an_agent_that_is_back_is_believed_when_it_has_stayed() -> None:
    """It keeps its room: only what it told of its end may mean something else until then (fact 80)."""
    back = claim(Stage.OPEN, missing_since=NOW - 20)
    seen = Seen(room=ROOM, participants=[PERSON, AGENT], at=NOW)
    just = plan(situation(claim=back, seen=seen, want=want(state=State.JOINED, since=NOW - 1)), RULES)
    assert (just.want.state, just.actions) == (State.JOINED, [])
    assert just.due == NOW - 1 + BACK_FOR_GOOD
    long = want(state=State.JOINED, since=NOW - BACK_FOR_GOOD - 1)
    after = plan(situation(claim=back, seen=seen, want=long), RULES)
    assert (after.want.state, after.actions) == (State.JOINED, [MarkMissing(back, missing=False)])


def test_a_stage_begins_when_the_job_tells_of_it_not_when_the_store_can_hear() -> None:
    """One that hangs has no more time because the store was away."""
    told_at = NOW - 30
    event = JobEvent(job_id="j1", kind=JobEventKind.CONNECTED)
    assert advanced(claim(Stage.ENTERED, since=NOW - 40), event, told_at).since == told_at
    assert advanced(claim(Stage.CONNECTED, since=NOW - 40), event, told_at).since == NOW - 40, "told again"
