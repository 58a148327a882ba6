"""The keeper's words as values: wants, claims, what was seen in a room, what to do about it.

Pure data, no behaviour beyond what follows from the fields. Times are seconds since the epoch on the
keeper's clock.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from pool.ports import Capacity

# LiveKit's own limit, which `CreateDispatch` does not check (fact 17).
MAX_ROOM_NAME_BYTES = 256


class State(StrEnum):
    """What clients see of a want."""

    WAITING = "waiting"
    DISPATCHED = "dispatched"
    JOINED = "joined"
    REPLACING = "replacing"
    FINISHED = "finished"
    STOPPED = "stopped"
    GAVE_UP = "gave_up"

    @property
    def ended(self) -> bool:
        return self in _ENDED


_ENDED = frozenset({State.FINISHED, State.STOPPED, State.GAVE_UP})


class Source(StrEnum):
    """Why a room wants an agent."""

    REQUEST = "request"
    """Somebody asked (POST): lives until the room ends, whoever is in it."""
    POLICY = "policy"
    """The room's name matches a pattern: begins with a person, renewed by each person's join."""
    INVITATION = "invitation"
    """A token that we minted names the agent: begins when that person joins."""
    DISPATCH = "dispatch"
    """A dispatch made behind our back: the agent it brought is kept like any other."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Want:
    """A room's wish for an agent. At most one of them is alive for a room and an agent name."""

    id: str
    room: str
    agent: str
    source: Source = Source.REQUEST
    metadata: str = ""
    """Reaches the agent as the job's metadata."""
    traceparent: str = ""
    """What began it, as `gateway.keeper.traces` says; "" while nothing is traced."""
    generation: int = 1
    """Raised by a restart: a dispatch of an older generation is refused at the gate."""
    evict: bool = False
    """A restart was asked for: an agent of a worker that is not ours must be removed first."""
    sid: str = ""
    """The room instance it is pinned to; "" until the room was first seen (I4)."""
    seen_at: float = 0.0
    """When that instance was last seen: as of the last change, and after each ask."""
    node: str = ""
    """LiveKit's node id when it was pinned: tells a server restart from a room's end (fact 80)."""
    state: State = State.WAITING
    reason: str = ""
    """Why it is in this state, in words for an operator."""
    created_at: float
    asked_at: float
    """The last ask: an agent that finished by itself comes back only for a later one (I5)."""
    since: float
    """When the state last changed."""
    lacking_since: float
    """Since when it has been without a working agent; 0 while it has one or needs none."""
    settled_job: str = ""
    """The last job (LiveKit's id) whose end was taken into account: told again, it counts once."""
    trouble_since: float = 0.0
    """Since when dispatches were lost or agents died, with no steady agent in between; 0 for no trouble."""
    dispatched_at: float = 0.0
    """When an agent was called (LiveKit asked, or our own pool) that nobody has claimed yet; 0 for not."""
    identity: str = ""
    """The agent participant's identity, when one was let in."""
    needs_person: bool = False
    """No agent before a person is there: wants that began with a person, and every want whose agent was
    left alone (fact 82)."""
    failures: int = 0
    """Dispatches lost and agents died in a row; back-off grows with it."""
    lost: int = 0
    """Dispatches in a row that nobody claimed."""
    not_before: float = 0.0
    """No dispatch before this time (back-off)."""


class Stage(StrEnum):
    """How far the claim's job has come. Each stage but `OPEN` has a limit."""

    ACCEPTED = "accepted"
    LAUNCHED = "launched"
    ENTERED = "entered"
    CONNECTED = "connected"
    OPEN = "open"
    SPENT = "spent"
    """In the room and deaf: its session closed when its person left (fact 82)."""
    LEAVING = "leaving"
    """Told to end, or about to by itself; holds the room until it has left."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """The right of one job to be the room's agent. At most one holds a room for an agent name."""

    room: str
    agent: str
    want_id: str
    generation: int
    sid: str
    job_id: str
    identity: str
    replica: str = ""
    """The replica whose process is the agent; "" when it has none any more."""
    host: str = ""
    """Where that replica runs: pids mean something there only."""
    stage: Stage = Stage.ACCEPTED
    since: float
    """When the stage was reached."""
    pid: int = 0
    pid_started: float = 0.0
    close_reason: str = ""
    """Why its session closed (LiveKit's CloseReason); "" while it is open."""
    opened_at: float = 0.0
    """When its session opened; 0 before that."""
    closed_at: float = 0.0
    """When the session closed: an ask after that calls for another agent (I5)."""
    missing_since: float = 0.0
    """Since when LiveKit does not list its agent while it says that it is there: what it tells after that is
    not its own will (fact 89). 0 while it is listed."""
    raised: str = ""
    """The type of the exception that the entrypoint raised."""
    retires_since: float = 0.0
    """Since when it hands its room over: it holds the room no longer, and its job stays until a successor
    works (`gateway.keeper.handover`). 0 for a claim that holds."""

    @property
    def seat(self) -> str:
        """What only one claim of a room has: the agent's name, while it holds the room."""
        return f"{self.agent}\n{self.job_id}" if self.retires_since else self.agent


class End(StrEnum):
    """How a claim's job came to its end."""

    DIED = "died"
    RAISED = "raised"
    SPENT = "spent"
    FINISHED = "finished"
    ENDED = "ended"
    """We ended it: a stop, a restart, a duplicate."""
    LOST = "lost"
    """It never got as far as the room."""
    ROOM_ENDED = "room_ended"
    DECLINED = "declined"
    """The user's own on_request refused the job."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Replica:
    """One gateway process among those that share a store, as of its last heartbeat."""

    id: str
    """New at each start of the process."""
    host: str = ""
    agent: str = ""
    """The agent name that its pool serves."""
    capacity: Capacity = field(default_factory=Capacity)
    sees_livekit: bool = True
    """Whether LiveKit answers it: one that it does not answer is no good as the leader."""
    may_lead: bool = True
    """False for one that is there for its workers only."""
    beat_at: float = 0.0
    """When it last told that it lives, on the store's clock."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pulse:
    """What a heartbeat brings back."""

    now: float
    """The store's clock."""
    generation: str
    """Another one when the store may have lost what it had: wiped, restarted or failed over."""
    leader: str
    """The replica that keeps the rooms; "" while there is none."""
    epoch: int
    """The leader's fencing epoch: higher with every change of the leader."""
    replicas: Sequence[Replica] = ()
    """All that told of themselves lately, lapsed ones included."""
    settled: bool = True
    """False for as long as one heartbeat lapse after a generation began: not everybody has put back yet what
    the store lost."""
    age: float = math.inf
    """Seconds since the generation began; infinite where the store loses nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Room:
    """A room that exists, as LiveKit lists it."""

    name: str
    sid: str
    people: int = 0
    """Participants that are not agents (fact 76)."""
    created_at: float = 0.0
    metadata: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Participant:
    """Somebody in a room, as LiveKit lists them."""

    identity: str
    sid: str = ""
    agent: str | None = None
    """The agent name (`lk.agent_name`) of an agent participant, "" for an unnamed one; None for a person.
    An avatar (`lk.publish_on_behalf`) is neither a person nor the agent: see `avatar`."""
    avatar: bool = False
    active: bool = True
    """Joined or active, not merely joining or disconnected."""
    joined_at: float = 0.0
    metadata: str = ""
    attributes: dict[str, str] = field(default_factory=dict)

    @property
    def person(self) -> bool:
        return self.agent is None and not self.avatar


@dataclass(frozen=True, slots=True, kw_only=True)
class Dispatch:
    """An agent dispatch, as LiveKit lists it."""

    id: str
    room: str
    agent: str
    jobs: int = 0
    """Listed jobs. Their status proves nothing (fact 75)."""


@dataclass(frozen=True, slots=True)
class Unknown:
    """LiveKit (or the store) could not tell. Never means "absent"; the call may have had its effect (I3)."""

    why: str
    nodeless: bool = False
    """LiveKit itself answered that it cannot reach the room's node (503): it may be on one that died."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """What was read of one room in one pass. LiveKit is read first, claims after it: an agent whose claim
    was granted in between is then known, never mistaken for a stray."""

    room: Room | None
    """None: LiveKit definitely answered that no such room exists."""
    participants: Sequence[Participant] = ()
    at: float

    @property
    def people(self) -> list[Participant]:
        return [p for p in self.participants if p.person]

    def agents(self, name: str) -> list[Participant]:
        return [p for p in self.participants if p.agent == name and not p.avatar]


@dataclass(frozen=True, slots=True, kw_only=True)
class Ask:
    """A request for an agent."""

    room: str
    agent: str
    source: Source = Source.REQUEST
    metadata: str = ""
    sid: str = ""
    """Pins the want at once, when the asker knows the room instance."""
    at: float = 0.0
    """When what calls for the agent happened; 0: now."""
    traceparent: str = ""
    """The request's span; "" for none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """A want as clients see it: the `result` of a job request."""

    want: Want
    place: int | None = None
    """Place in the waiting line, 1 is next; None when not in line."""
    deduplicated: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Invitation:
    """A token that we minted asks for an agent once its owner joins."""

    room: str
    identity: str
    agent: str
    metadata: str = ""
    expires_at: float
