"""What it means for a job's claim and its want that the job came a stage further, or ended. Pure."""

from __future__ import annotations

from dataclasses import replace

from gateway.keeper.model import Claim, End, Stage, State, Want
from gateway.keeper.plan import CLOSED_ON_PURPOSE, IN_ROOM, STEADY_AFTER
from gateway.keeper.wants import failed
from pool.ports import JobEvent, JobEventKind

ROOM_END_PAUSE = 1.0
"""After an agent was put out because its room ended, its room may still be listed for some milliseconds
(fact 15); a dispatch in that time would bring the room back (fact 8)."""

# DisconnectReasons that are the end of the room, not of the agent.
_ROOM_ENDED = frozenset({"ROOM_DELETED", "ROOM_CLOSED"})
# DisconnectReasons that somebody meant.
_MEANT = frozenset({"CLIENT_INITIATED", "PARTICIPANT_REMOVED"})

_STAGES = {
    JobEventKind.LAUNCHED: Stage.LAUNCHED,
    JobEventKind.ENTERED: Stage.ENTERED,
    JobEventKind.CONNECTED: Stage.CONNECTED,
    JobEventKind.OPEN: Stage.OPEN,
}


def advanced(claim: Claim, event: JobEvent, told_at: float) -> Claim:
    """The claim after its job has come one stage further: when it said so, not when the store could hear."""
    reached_at = max(claim.since, told_at)
    leaving = claim.stage is Stage.LEAVING
    again = claim.stage is _STAGES[event.kind]  # told once more when it is back in its room
    opened = event.kind is JobEventKind.OPEN
    return replace(
        claim,
        missing_since=0.0,
        stage=claim.stage if leaving else _STAGES[event.kind],
        since=claim.since if leaving or again else reached_at,
        pid=event.pid or claim.pid,
        pid_started=event.pid_started or claim.pid_started,
        opened_at=claim.opened_at or (reached_at if opened else 0.0),
        close_reason="" if opened else claim.close_reason,
        closed_at=0.0 if opened else claim.closed_at,
    )


def closed(claim: Claim, reason: str, now: float, closed_at: float) -> Claim:
    """The claim after its job's session has closed."""
    after = replace(claim, close_reason=reason, closed_at=closed_at)
    if claim.stage is not Stage.LEAVING:
        after = replace(after, stage=Stage.SPENT, since=now)  # deaf from now on (fact 82)
    return after


def how_it_ended(claim: Claim, event: JobEvent, told_at: float, *, after_pause: bool = False) -> End:
    """What became of a job that left its room, or whose process is gone. Status and exit code cannot
    tell (facts 49, 75); what the child reported can."""
    if event.kind is JobEventKind.DECLINED:
        return End.DECLINED
    if event.kind in {JobEventKind.UNASSIGNED, JobEventKind.UNCONFIRMED}:
        return End.LOST
    if claim.close_reason == "participant_disconnected":
        return End.SPENT
    if claim.stage is Stage.LEAVING and claim.close_reason != "error":
        return End.ENDED
    if claim.raised:
        return End.RAISED
    if left_with_its_room(event):
        return End.ROOM_ENDED
    if claim.close_reason == "error":
        return End.DIED
    if (claim.missing_since and told_at >= claim.missing_since) or after_pause:
        return End.DIED  # LiveKit had let go of it, and upstream ended the job for that
    if claim.close_reason in CLOSED_ON_PURPOSE:
        return End.FINISHED  # however its process ended after that
    if event.kind is JobEventKind.LEFT:
        return End.FINISHED if event.detail in _MEANT else End.DIED
    if event.detail != "0":
        return End.DIED
    # A process that ended well without having been in the room: it decided not to come. One that was there
    # and ended well reported that it left, unless the report was lost with the socket: judge by the session.
    if claim.stage in {Stage.ACCEPTED, Stage.LAUNCHED}:
        return End.LOST
    return End.FINISHED if claim.stage is Stage.ENTERED else End.DIED


def left_with_its_room(event: JobEvent) -> bool:
    """Whether the job was in its room until that ended."""
    return event.kind is JobEventKind.LEFT and event.detail in _ROOM_ENDED


def settled(want: Want, claim: Claim, end: End, now: float) -> Want:
    """The want after its agent's end (I5)."""
    if claim.opened_at and (claim.closed_at or now) - claim.opened_at >= STEADY_AFTER:
        want = replace(want, failures=0, trouble_since=0.0)  # it worked: no crash loop
    if claim.stage in IN_ROOM:
        want = replace(want, identity=claim.identity)  # whether a look has come in between or not
    match end:
        case End.SPENT:
            alone = replace(want, needs_person=True, state=State.REPLACING, since=now, dispatched_at=0.0)
            return replace(alone, reason="the agent's session closed when its person left")
        case End.FINISHED if want.asked_at < (ended := claim.closed_at or now):
            # Since then: who joined after it, and before the store could be told, calls for another one.
            return replace(want, state=State.FINISHED, reason="the agent ended by itself", since=ended)
        case End.FINISHED:  # somebody asked while it was leaving
            return replace(
                want,
                state=State.REPLACING,
                reason="asked for again while the agent was leaving",
                since=now,
                lacking_since=now,
            )
        case End.ENDED:
            return replace(want, dispatched_at=0.0, lacking_since=want.lacking_since or now)
        case End.ROOM_ENDED:
            gone = failed(want, now=now, reason="the agent was put out: its room ended")
            return replace(gone, failures=want.failures, not_before=now + ROOM_END_PAUSE)
        case End.DECLINED:
            held = failed(want, now=now, reason="the agent's own on_request refused the job")
            return replace(held, not_before=max(held.not_before, now + 1.0))
        case End.DIED | End.RAISED | End.LOST:
            why = {
                End.DIED: "the agent died",
                End.RAISED: f"the agent's entrypoint raised {claim.raised}",
                End.LOST: "the job did not start",
            }
            return failed(want, now=now, reason=why[end])
