"""What to do about one want. Pure: the same situation gives the same plan; knows no port and no clock.

A plan says three things: how the want stands from now on, what to do about it in which order, and when
to look again (events make the keeper look earlier).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from gateway.keeper.model import Claim, End, Participant, Room, Seen, Source, Stage, State, Want
from gateway.settings import KeeperSettings

LOOK_SOON = 0.25
"""Seconds until the next look where LiveKit's list lags behind what a job told us."""
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

RESTARTED = "LiveKit restarted; waiting for the room to come back"
NOBODY = "waiting for somebody to be in the room"


@dataclass(frozen=True, slots=True)
class RemoveParticipant:
    identity: str
    kind: str
    """ghost, stray, spent, restarted or stopped: a label for metrics."""


@dataclass(frozen=True, slots=True)
class EndJob:
    claim: Claim
    kill: bool = False


@dataclass(frozen=True, slots=True)
class MarkLeaving:
    """The claim's job was told to leave."""

    claim: Claim


@dataclass(frozen=True, slots=True)
class MarkMissing:
    """LiveKit does not list the claim's agent, which says that it is there."""

    claim: Claim


@dataclass(frozen=True, slots=True)
class Release:
    """The claim's job is certainly out of the room."""

    claim: Claim
    end: End


@dataclass(frozen=True, slots=True)
class LoseDispatch:
    """Nobody claimed the dispatch in time."""


@dataclass(frozen=True, slots=True)
class Dispatch:
    """Ask LiveKit for a job, as soon as the waiting line allows; make the room first, if there is none."""


Action = RemoveParticipant | EndJob | MarkLeaving | MarkMissing | Release | LoseDispatch | Dispatch


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    want: Want
    actions: Sequence[Action] = ()
    due: float | None = None
    """When to look again; None: when something happens, or at the next resync."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Situation:
    """Everything that a decision about one want depends on."""

    want: Want
    claim: Claim | None
    """Whoever holds (room, agent), for this want or another."""
    seen: Seen
    now: float
    ours: bool
    """The agent's name is served by our pool: only then are there claims."""
    runs: bool = False
    """A replica has the claim's job; one that lapsed has it while its agent answers."""
    node: str = ""
    """LiveKit's node id of the present worker registrations (see `Fleet.node`), "" while there is none."""
    asked_since_seen: bool = False
    """Somebody asked after the room instance that the want is pinned to was last seen, or, when this process
    has not seen it, after this process started."""
    left_cleanly: Mapping[str, float] = field(default_factory=dict)
    """When foreign agents left on purpose, by identity, as webhooks told."""


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
        return _foreign(s, rules)
    if s.claim is not None:
        return _claimed(s, s.claim, rules)
    return _unclaimed(s, rules)


def change(want: Want, state: State, reason: str, now: float) -> Want:
    """The want in a state, for a reason; `since` moves only when the state does."""
    since = want.since if want.state is state else now
    return replace(want, state=state, reason=reason, since=since)


def _mark(want: Want, reason: str, now: float) -> Want:
    """Being replaced, for this very reason since now: for what is waited for as long as a reason lasts."""
    since = want.since if (want.state, want.reason) == (State.REPLACING, reason) else now
    return replace(want, state=State.REPLACING, reason=reason, since=since)


def finish(want: Want, reason: str, now: float) -> Plan:
    return Plan(want=change(want, State.FINISHED, reason, now))


# ---- which room instance ----------------------------------------------------------------------------


def _other_room(s: Situation, room: Room | None, rules: KeeperSettings) -> Plan:
    """The want's room instance is not the one that exists (I4)."""
    want = s.want
    if not want.sid:
        if room is not None:
            return Plan(want=replace(want, sid=room.sid, node=s.node), due=s.now)
        if want.source is Source.REQUEST:
            # The room is made with the dispatch, not before: while the want waits it would run out (fact 8).
            return _claimed(s, s.claim, rules) if s.claim is not None else _call(s, rules, [])
        return finish(want, "the room has ended", s.now)
    if s.asked_since_seen:  # the ask meant the room as it is now, not the one that ended unseen
        return Plan(want=replace(want, sid="", node=""), due=s.now)
    if not s.node:
        # Without a registration nothing tells a restart of LiveKit from a room's end (I3).
        return _await_return(s)
    if s.node and want.node and s.node != want.node:  # fact 80: LiveKit restarted
        if room is not None:
            return Plan(want=replace(want, sid=room.sid, node=s.node), due=s.now)
        return _await_return(s)
    return finish(want, "the room has ended", s.now)


def _await_return(s: Situation) -> Plan:
    """The room may come back with its people and its agent. One that never had an agent has nothing to wait
    for: it is asked for anew."""
    if s.node and s.want.source is Source.REQUEST and s.claim is None and not s.want.identity:
        return Plan(want=replace(s.want, sid="", node="", dispatched_at=0.0), due=s.now)
    waiting = _mark(s.want, RESTARTED, s.now)
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
            actions=[RemoveParticipant(claim.identity, "ghost"), Release(claim, End.DIED)],
            due=s.now,
        )
    if claim.want_id != want.id or claim.generation != want.generation:
        return _make_leave(s, claim, "the agent before this one is leaving")
    listed = any(p.identity == claim.identity for p in s.seen.participants)
    match claim.stage:
        case Stage.ACCEPTED | Stage.LAUNCHED | Stage.ENTERED | Stage.CONNECTED:
            return _and_no_other(s, claim, _on_its_way(s, claim, rules))
        case Stage.OPEN if listed:
            return _and_no_other(s, claim, Plan(want=_joined(want, claim, s.now)))
        case Stage.OPEN:
            return _not_listed(s, claim, rules)
        case Stage.SPENT:
            return _spent(s, claim)
        case Stage.LEAVING:
            return _make_leave(s, claim, "the agent before this one is leaving")


def _on_its_way(s: Situation, claim: Claim, rules: KeeperSettings) -> Plan:
    """Each stage before `open` has its limit: corpses, frozen processes, sessions that never open
    (facts 63, 74)."""
    words, limit = {
        Stage.ACCEPTED: ("the agent is on its way", rules.accept_timeout),
        Stage.CONNECTED: ("the agent is in the room and getting ready", rules.open_timeout),
    }.get(claim.stage, ("the agent is on its way", rules.connect_timeout))
    want = change(s.want, State.DISPATCHED, words, s.now)
    if claim.stage is Stage.CONNECTED:
        want = replace(want, identity=claim.identity)
    if s.now >= _deadline(want, rules):
        why = f"no working agent within {rules.give_up_after:g} s"
        return Plan(want=change(want, State.GAVE_UP, why, s.now))
    until = claim.since + limit
    if s.now < until:
        return Plan(want=want, due=until)
    if claim.stage is Stage.ACCEPTED:  # it has no process that could end; should it get one, that is refused
        return Plan(want=want, actions=[EndJob(claim), Release(claim, End.LOST)], due=s.now)
    return Plan(want=want, actions=[EndJob(claim, kill=True)], due=s.now + 1.0)  # EXITED releases it


def _deadline(want: Want, rules: KeeperSettings) -> float:
    """When a want without a working agent is given up."""
    return (want.trouble_since or want.lacking_since or want.asked_at) + rules.give_up_after


def _joined(want: Want, claim: Claim, now: float) -> Want:
    joined = change(want, State.JOINED, "", now)
    steady = now - claim.since >= STEADY_AFTER
    return replace(
        joined,
        identity=claim.identity,
        lacking_since=0.0,
        needs_person=want.needs_person or want.source in {Source.POLICY, Source.INVITATION},
        failures=0 if steady else want.failures,
        trouble_since=0.0 if steady else want.trouble_since,
        dispatched_at=0.0,
    )


def _not_listed(s: Situation, claim: Claim, rules: KeeperSettings) -> Plan:
    """It says that it is in the room, LiveKit does not list it: it may be on its way back (fact 80)."""
    if s.seen.at < claim.since + 1.0:  # the list was read before, or just as, it arrived
        return Plan(want=s.want, due=s.now + LOOK_SOON)
    want = _mark(s.want, "LiveKit does not list the agent; it may be coming back", s.now)
    until = want.since + rules.return_timeout
    if s.now < until:
        mark = [] if claim.missing else [MarkMissing(claim)]
        return Plan(want=want, actions=mark, due=min(until, s.now + 2 * LOOK_SOON))
    return Plan(want=want, actions=[EndJob(claim, kill=True)], due=s.now + 1.0)


def _spent(s: Situation, claim: Claim) -> Plan:
    """In the room, and its session is closed (fact 82)."""
    if claim.close_reason in CLOSED_ON_PURPOSE and s.want.asked_at <= claim.closed_at:
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
    others = [p for p in s.seen.agents(s.want.agent) if p.identity != claim.identity]
    return replace(good, actions=[*good.actions, *(RemoveParticipant(p.identity, "stray") for p in others)])


def _unclaimed(s: Situation, rules: KeeperSettings) -> Plan:
    """Nobody holds the room: get an agent, if it is time."""
    want = s.want
    ghosts = [RemoveParticipant(p.identity, _kind(p, want)) for p in s.seen.agents(want.agent)]
    if want.dispatched_at:
        until = want.dispatched_at + rules.claim_timeout
        if s.now < until:
            return Plan(want=want, actions=ghosts, due=until)
        return Plan(want=want, actions=[*ghosts, LoseDispatch()], due=s.now)
    return _call(s, rules, ghosts)


def _kind(participant: Participant, want: Want) -> str:
    return "ghost" if participant.identity == want.identity else "stray"


def _call(s: Situation, rules: KeeperSettings, first: Sequence[Action]) -> Plan:
    """Dispatch, unless there is a reason to wait or to give up."""
    want = s.want
    if want.needs_person and not s.seen.people:
        idle = replace(change(want, State.REPLACING if want.identity else State.WAITING, NOBODY, s.now))
        return Plan(want=replace(idle, lacking_since=0.0), actions=first)
    if not want.lacking_since:
        want = replace(want, lacking_since=s.now)
    deadline = _deadline(want, rules)
    if s.now >= deadline:
        why = f"no agent within {rules.give_up_after:g} s: {want.reason or 'none came'}"
        return Plan(want=change(want, State.GAVE_UP, why, s.now), actions=first)
    if s.now < want.not_before:
        return Plan(want=want, actions=first, due=min(want.not_before, deadline))
    return Plan(want=want, actions=[*first, Dispatch()], due=deadline)


# ---- other people's agents --------------------------------------------------------------------------


def _foreign(s: Situation, rules: KeeperSettings) -> Plan:
    """An agent of a worker that is not ours: all that is known is who is in the room."""
    want = s.want
    agents = sorted(s.seen.agents(want.agent), key=lambda p: (p.joined_at, p.identity))
    if want.evict:
        removals = [RemoveParticipant(p.identity, "restarted") for p in agents]
        return Plan(want=replace(want, evict=False), actions=removals, due=s.now)
    if agents:  # of two, the one longest present stays
        first, *others = agents
        joined = replace(
            change(want, State.JOINED, "", s.now),
            identity=first.identity,
            lacking_since=0.0,
            dispatched_at=0.0,
            failures=0,
            trouble_since=0.0,
        )
        return Plan(want=joined, actions=[RemoveParticipant(p.identity, "stray") for p in others])
    if want.state is State.JOINED:
        if want.asked_at <= s.left_cleanly.get(want.identity, 0.0):  # I5
            return finish(want, "the agent left by itself", s.now)
        gone = change(want, State.REPLACING, "the agent is gone", s.now)
        return _call(replace(s, want=gone), rules, [])
    if want.dispatched_at:
        until = want.dispatched_at + rules.foreign_timeout
        if s.now < until:
            return Plan(want=want, due=min(until, s.now + 2 * LOOK_SOON))
        return Plan(want=want, actions=[LoseDispatch()], due=s.now)
    return _call(s, rules, [])
