"""What to do about one want. Pure: the same situation gives the same plan; knows no port and no clock.

First which instance of the room is meant, then whether somebody holds it, then whether it is time to call
somebody. Agents of other people's workers are `foreign`'s.
"""

from __future__ import annotations

from dataclasses import replace

from gateway.keeper.calling import NOBODY, call, deadline_of
from gateway.keeper.foreign import foreign
from gateway.keeper.model import Claim, End, Participant, Room, Source, Stage, State, Want
from gateway.keeper.situation import (
    LOOK_SOON,
    Action,
    EndJob,
    LoseDispatch,
    MarkLeaving,
    MarkMissing,
    Plan,
    Release,
    RemoveParticipant,
    Situation,
    change,
    finish,
    mark,
)
from gateway.settings import KeeperSettings

LEAVE_TIMEOUT = 2.0
"""A removed agent that has not reported its leaving by then is killed: it might come back (fact 89)."""
ROOM_RETURN_TIMEOUT = 30.0
"""After a LiveKit restart people come back within 25 s or not at all (fact 80)."""
STEADY_AFTER = 30.0
"""An agent that worked for so long is no crash loop: its next failure is a first one."""

FINISH_GRACE = 3.0
"""An agent that closed its own session may open another one, as some do to hand over; then it goes on."""
CLOSED_ON_PURPOSE = frozenset({"user_initiated", "task_completed", "job_shutdown"})
"""LiveKit's CloseReasons (fact 82) that are the agent's own will."""
MISSING_AFTER = 1.0
"""Seconds without being listed after which an agent is missing, and has not just left."""
BACK_FOR_GOOD = 5.0
"""Seconds after which one that was missing and is listed again is believed to be back."""

IN_ROOM = frozenset({Stage.CONNECTED, Stage.OPEN, Stage.SPENT})
"""The stages of a job whose agent is in its room."""
HANDS_OVER = "the agent hands over: its worker ends"
RESTARTED = "LiveKit does not list the room; it may be coming back"


def plan(s: Situation, rules: KeeperSettings) -> Plan:
    """Decide what to do about one living want."""
    room = s.seen.room
    if room is None or s.want.sid != room.sid:
        return _other_room(s, room, rules)
    if s.node and s.node != s.want.node:
        # Pinned while no worker was registered, or by somebody else's dispatch; or a node of a cluster is
        # gone and this room is not: what is seen of it from now on counts.
        s = replace(s, want=replace(s.want, node=s.node))
    if not s.ours:
        return foreign(s, rules)
    if s.claim is not None:
        return _claimed(s, s.claim, rules)
    return _unclaimed(s, rules)


# ---- which room instance ----------------------------------------------------------------------------


def _other_room(s: Situation, room: Room | None, rules: KeeperSettings) -> Plan:
    """The want's room instance is not the one that exists (I4)."""
    want = s.want
    if not want.sid:
        if room is not None:
            return Plan(want=replace(want, sid=room.sid, node=s.node), due=s.now)
        if want.source is Source.REQUEST:
            # The room is made with the dispatch, not before: while the want waits it would run out (fact 8).
            return _claimed(s, s.claim, rules) if s.claim is not None else call(s, rules, [])
        return finish(want, "the room has ended", s.now)
    if s.asked_since_seen and (room is not None or want.source is Source.REQUEST):
        # The ask meant the room as it is now, not the one that ended unseen. Only a request makes its room.
        return Plan(want=replace(want, sid="", node=""), due=s.now)
    agents = _residents(s)
    listed = any(p.identity in agents for p in s.seen.participants)
    restarted = bool(s.node and want.node and s.node != want.node)  # LiveKit did (fact 80)
    if room is not None and (listed or restarted):
        return Plan(want=replace(want, sid=room.sid, node=s.node), due=s.now)
    if agents or restarted or not s.node:
        # Without a registration nothing tells a restart of LiveKit from a room's end (I3).
        return _await_return(s)
    return finish(want, "the room has ended", s.now)


def _residents(s: Situation) -> frozenset[str]:
    """The identities of the want's agents that are in its room, as far as they told. They would have told
    that they were put out with it (fact 15): when it is gone, LiveKit restarted, whatever the workers know
    of that yet."""
    claim = s.claim
    if claim is None or not s.runs or claim.stage not in IN_ROOM or claim.want_id != s.want.id:
        return s.retiring
    return s.retiring | {claim.identity}


def _await_return(s: Situation) -> Plan:
    """The room may come back with its people and its agent. One that never had an agent has nothing to wait
    for: it is asked for anew."""
    if s.node and s.want.source is Source.REQUEST and s.claim is None and not s.want.identity:
        return Plan(want=replace(s.want, sid="", node="", dispatched_at=0.0), due=s.now)
    waiting = mark(s.want, RESTARTED, s.now)
    until = waiting.since + ROOM_RETURN_TIMEOUT
    if s.now >= until:
        return finish(s.want, "the room did not come back after LiveKit was away", s.now)
    return Plan(want=waiting, due=min(until, s.now + 2 * LOOK_SOON))


# ---- our own agents ---------------------------------------------------------------------------------


def _claimed(s: Situation, claim: Claim, rules: KeeperSettings) -> Plan:
    """A job of ours has the room, or is on its way."""
    want = s.want
    if not s.runs:  # its process is gone and nobody told us: its replica was restarted, or is dead
        return Plan(
            want=change(want, State.REPLACING, "the agent's process is gone", s.now),
            actions=[RemoveParticipant(claim.identity, "ghost"), Release(claim, _end_untold(claim))],
            due=s.now,
        )
    if claim.want_id != want.id or claim.generation != want.generation:
        return _make_leave(s, claim, "the agent before this one is leaving")
    listed = any(p.identity == claim.identity for p in s.seen.participants)
    match claim.stage:
        case Stage.ACCEPTED | Stage.LAUNCHED | Stage.ENTERED | Stage.CONNECTED:
            return _and_no_other(s, claim, _on_its_way(s, claim, rules))
        case Stage.OPEN if listed:
            return _and_no_other(s, claim, _working(s, claim))
        case Stage.OPEN:
            return _not_listed(s, claim, rules)
        case Stage.SPENT:
            return _spent(s, claim)
        case Stage.LEAVING:
            return _make_leave(s, claim, "the agent before this one is leaving")


def _end_untold(claim: Claim) -> End:
    """What became of a job whose process is gone without a word."""
    on_purpose = claim.close_reason in CLOSED_ON_PURPOSE and not claim.missing_since
    return End.FINISHED if on_purpose else End.DIED


def _working(s: Situation, claim: Claim) -> Plan:
    """In the room, and listening. One that was away is believed again when it has stayed for a while."""
    want = _joined(s.want, claim, s.now)
    if not claim.missing_since:
        return Plan(want=want)
    until = want.since + BACK_FOR_GOOD
    if s.now < until:
        return Plan(want=want, due=until)
    return Plan(want=want, actions=[MarkMissing(claim, missing=False)])


def _on_its_way(s: Situation, claim: Claim, rules: KeeperSettings) -> Plan:
    """Each stage before `open` has its limit: dead processes, frozen ones, sessions that never open
    (facts 63, 74)."""
    words, limit = {
        Stage.ACCEPTED: ("the agent is on its way", rules.accept_timeout),
        Stage.CONNECTED: ("the agent is in the room and getting ready", rules.open_timeout),
    }.get(claim.stage, ("the agent is on its way", rules.connect_timeout))
    want = change(s.want, State.DISPATCHED, words, s.now)
    if claim.stage is Stage.CONNECTED:
        want = replace(want, identity=claim.identity)
    if s.now >= deadline_of(want, rules):
        why = f"no working agent within {rules.give_up_after:g} s"
        return Plan(want=change(want, State.GAVE_UP, why, s.now))
    until = claim.since + limit
    if s.now < until:
        return Plan(want=want, due=until)
    if s.untold:  # it answers, and may long be at work
        return Plan(want=want, due=s.now + 2 * LOOK_SOON)
    if claim.stage is Stage.ACCEPTED:  # it has no process that could end; should it get one, that is refused
        return Plan(want=want, actions=[EndJob(claim), Release(claim, End.LOST)], due=s.now)
    return Plan(want=want, actions=[EndJob(claim, kill=True)], due=s.now + 1.0)  # EXITED releases it


def _joined(want: Want, claim: Claim, now: float) -> Want:
    joined = change(want, State.JOINED, "", now)
    steady = now - claim.since >= STEADY_AFTER
    return replace(
        joined,
        identity=claim.identity,
        lacking_since=0.0,
        needs_person=want.needs_person or want.source in {Source.POLICY, Source.INVITATION},
        lost=0,
        failures=0 if steady else want.failures,
        trouble_since=0.0 if steady else want.trouble_since,
        dispatched_at=0.0,
    )


def _not_listed(s: Situation, claim: Claim, rules: KeeperSettings) -> Plan:
    """It says that it is in the room, LiveKit does not list it: it may be on its way back (fact 80)."""
    if s.seen.at < claim.since + 1.0:  # the list was read before, or just as, it arrived
        return Plan(want=s.want, due=s.now + LOOK_SOON)
    want = mark(s.want, "LiveKit does not list the agent; it may be coming back", s.now)
    until = want.since + rules.return_timeout
    if s.now < until:
        # One that has just left on purpose is not listed either, and about to tell.
        mark_it = not claim.missing_since and s.now >= want.since + MISSING_AFTER
        missing = [MarkMissing(claim)] if mark_it else []
        return Plan(want=want, actions=missing, due=min(until, s.now + 2 * LOOK_SOON))
    return Plan(want=want, actions=[EndJob(claim, kill=True)], due=s.now + 1.0)


def _spent(s: Situation, claim: Claim) -> Plan:
    """In the room, and its session is closed (fact 82)."""
    if claim.close_reason in CLOSED_ON_PURPOSE and s.want.asked_at < claim.closed_at:
        until = claim.closed_at + FINISH_GRACE
        if s.now >= until:
            return finish(s.want, "the agent ended by itself", s.now)  # I5
        return Plan(want=change(s.want, State.REPLACING, "the agent closed its session", s.now), due=until)
    if s.seen.people or claim.close_reason == "error":
        return _make_leave(s, claim, f"the agent's session closed ({claim.close_reason})")
    return Plan(want=replace(change(s.want, State.REPLACING, NOBODY, s.now), lacking_since=0.0))


def _make_leave(s: Situation, claim: Claim, reason: str) -> Plan:
    """Get a job out of the room, by all means in the end (fact 89)."""
    want = change(s.want, State.REPLACING, reason, s.now)
    if not want.lacking_since:
        want = replace(want, lacking_since=s.now)
    return Plan(want=want, actions=leave(claim, s.now), due=s.now + LEAVE_TIMEOUT)


def leave(claim: Claim, now: float) -> list[Action]:
    """The steps that get a claim's job out of its room."""
    if claim.stage is not Stage.LEAVING:
        gone = [] if claim.stage is Stage.ACCEPTED else [RemoveParticipant(claim.identity, "spent")]
        return [MarkLeaving(claim), EndJob(claim), *gone]
    if now < claim.since + LEAVE_TIMEOUT:
        return []
    return [EndJob(claim, kill=True), RemoveParticipant(claim.identity, "ghost")]


def _and_no_other(s: Situation, claim: Claim, good: Plan) -> Plan:
    """Remove agents of the name that hold no claim (I1)."""
    others = [p for p in _not_retiring(s) if p.identity != claim.identity]
    return replace(good, actions=[*good.actions, *(RemoveParticipant(p.identity, "stray") for p in others)])


def _unclaimed(s: Situation, rules: KeeperSettings) -> Plan:
    """Nobody holds the room: get an agent, if it is time."""
    want = s.want
    if s.retiring and want.state is State.JOINED:
        want = change(want, State.REPLACING, HANDS_OVER, s.now)
        s = replace(s, want=want)
    ghosts = [RemoveParticipant(p.identity, _kind(p, want)) for p in _not_retiring(s)]
    if want.dispatched_at:
        until = want.dispatched_at + rules.claim_timeout
        if s.now < until:
            return Plan(want=want, actions=ghosts, due=until)
        return Plan(want=want, actions=[*ghosts, LoseDispatch()], due=s.now)
    return call(s, rules, ghosts)


def _not_retiring(s: Situation) -> list[Participant]:
    return [p for p in s.seen.agents(s.want.agent) if p.identity not in s.retiring]


def _kind(participant: Participant, want: Want) -> str:
    return "ghost" if participant.identity == want.identity else "stray"
