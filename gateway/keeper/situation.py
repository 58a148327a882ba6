"""What a decision about one want depends on, and what it can say: values, and how a want changes. Pure.

A plan says three things: how the want stands from now on, what to do about it in which order, and when
to look again (events make the keeper look earlier).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from gateway.keeper.model import Claim, End, Seen, State, Want

LOOK_SOON = 0.25
"""Seconds until the next look where LiveKit's list lags behind what a job told us."""


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
    """LiveKit does not list the claim's agent, which says that it is there; or lists it again."""

    claim: Claim
    missing: bool = True


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
    untold: bool = False
    """The claim's replica is cut off from the store, or was only just now: its job may have come further than
    is known."""
    node: str = ""
    """LiveKit's node id of the present worker registrations (see `Fleet.node`), "" while there is none."""
    asked_since_seen: bool = False
    """Somebody asked after the room instance that the want is pinned to was last seen."""
    retiring: frozenset[str] = frozenset()
    """The identities of agents that hand the room over to a successor."""
    relaunched_at: float = 0.0
    """When LiveKit said that it launches the agent's job again by itself; 0 for never."""
    left_cleanly: Mapping[str, float] = field(default_factory=dict)
    """When foreign agents left on purpose, by identity, as webhooks told."""


def change(want: Want, state: State, reason: str, now: float) -> Want:
    """The want in a state, for a reason; `since` moves only when the state does."""
    since = want.since if want.state is state else now
    return replace(want, state=state, reason=reason, since=since)


def mark(want: Want, reason: str, now: float) -> Want:
    """Being replaced, for this very reason since now: for what is waited for as long as a reason lasts."""
    since = want.since if (want.state, want.reason) == (State.REPLACING, reason) else now
    return replace(want, state=State.REPLACING, reason=reason, since=since)


def finish(want: Want, reason: str, now: float) -> Plan:
    return Plan(want=change(want, State.FINISHED, reason, now))
