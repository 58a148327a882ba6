"""The pool's vocabulary: what it is asked, what it tells.

Pure values and protocols. Imports neither livekit nor asyncio, so that whoever decides about jobs (the
keeper) can be driven under a virtual clock.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from enum import Enum, StrEnum
from typing import Literal, Protocol

WarmPolicy = Literal["all", "rate"] | int
"""Processes that are kept warm: one for each free slot; as many as were needed lately; so many."""
SOON_WARM = 4
"""Jobs that may be taken beyond the warm processes, where those start quickly: livekit-agents starts four at
once at most."""
AGENT_NAME = "lk.agent_name"
"""The attribute that livekit-server sets on agent participants (fact 21)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Offer:
    """A job that LiveKit offers to this worker (an `AvailabilityRequest`)."""

    job_id: str
    dispatch_id: str
    """"" for one that LiveKit did not offer (`Launch`)."""
    looked_at: float = 0.0
    """As the `Launch` said."""
    room: str
    sid: str
    agent: str
    attributes: Mapping[str, str] = field(default_factory=dict)
    """The dispatch's attributes (fact 47): want id, generation and SID when the dispatch is ours."""
    metadata: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Launch:
    """A job for this pool that LiveKit is not asked for."""

    room: str
    sid: str
    attributes: Mapping[str, str]
    """As a dispatch of ours carries them."""
    metadata: str = ""
    room_metadata: str = ""
    looked_at: float = 0.0
    """When the room was seen with that SID, on the keeper's clock."""


class Verdict(Enum):
    """What the gate says to an offer."""

    GRANTED = "granted"
    """This job, and no other, may enter the room."""
    REFUSED = "refused"
    """Never: `reject(terminate=True)` (fact 34)."""
    UNKNOWN = "unknown"
    """The gate cannot tell now: `reject(terminate=False)`; nothing is concluded (I3)."""


class Gate(Protocol):
    """Decides which offered job is the one. The wall behind I1.

    None of the calls raises; a fault is `UNKNOWN` or `False`.
    """

    async def claim(self, offer: Offer) -> Verdict:
        """Claim the room for this job, atomically."""

    async def identify(self, job_id: str, identity: str) -> bool:
        """Record under which identity the job will join, before LiveKit hears of the acceptance.

        Returns False when the claim is gone: then the job must be refused.
        """

    async def confirm(self, job_id: str) -> bool:
        """Whether the claim still holds, asked by the job process before it connects."""


class JobEventKind(StrEnum):
    """The stages of a job, in the order in which they normally come."""

    DECLINED = "declined"
    """The user's own `on_request` rejected the job after the gate had granted it."""
    UNASSIGNED = "unassigned"
    """Accepted, but LiveKit never assigned it (fact 33), or no process could be started for it."""
    UNCONFIRMED = "unconfirmed"
    """The gate did not confirm the claim: the child ends without having run the user's entrypoint."""
    LAUNCHED = "launched"
    """A process has the job; `pid` and `pid_started` are set."""
    ENTERED = "entered"
    """The child runs: it is about to call the user's entrypoint."""
    CONNECTED = "connected"
    """The child is in the room."""
    OPEN = "open"
    """The child listens: its session is open, or it has none and does without."""
    SESSION_CLOSED = "session_closed"
    """The session closed; `detail` is LiveKit's CloseReason ("participant_disconnected", "error", ...)."""
    RAISED = "raised"
    """The user's entrypoint raised; `detail` is the exception's type."""
    RECONNECTING = "reconnecting"
    """The child lost the server and tries to get back (fact 80)."""
    LEFT = "left"
    """The child left the room for good; `detail` is LiveKit's DisconnectReason ("CLIENT_INITIATED", ...)."""
    EXITED = "exited"
    """The process is gone; `detail` is the exit code as text. Always the last event of a launched job."""


@dataclass(frozen=True, slots=True, kw_only=True)
class JobEvent:
    job_id: str
    kind: JobEventKind
    detail: str = ""
    pid: int = 0
    pid_started: float = 0.0
    """The process's start time in seconds since the epoch (psutil): a pid alone is reused."""
    age: float = 0.0
    """Seconds ago that it happened, where the job process says so: this one may have stood still since."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Capacity:
    """What the pool can take now."""

    slots: int = 0
    """Calls that this pool serves at once."""
    running: int = 0
    """Processes with a job, those that left their room and are still finishing included."""
    starting: int = 0
    """Jobs accepted and not launched yet."""
    warm: int = 0
    """Processes that are ready for a job."""
    quick: bool = False
    """Processes get warm within a second: a job may wait for one."""
    node_id: str = ""
    """LiveKit's node id of the present registration; "" while not registered. New at every start of the
    server (fact 84)."""
    draining: bool = False
    paused: bool = False
    """Nobody could answer for what is offered (`Workers.pause`)."""
    distrusted: bool = False
    """Jobs that it took did not get into their rooms: it takes one at a time at most, until one joins."""
    withheld: bool = False
    """It is distrusted, and takes none just now."""

    @property
    def taken(self) -> float:
        """The share of its slots that have a job, or are about to."""
        return (self.running + self.starting) / self.slots if self.slots else 1.0

    @property
    def registered(self) -> bool:
        return bool(self.node_id)

    @property
    def takes_jobs(self) -> bool:
        """Whether it would take one, had it a free slot."""
        return not (self.draining or self.paused or self.withheld)

    @property
    def free(self) -> int:
        """Jobs that can be accepted right now: 0 while unregistered, cold (fact 63), or when it takes
        none."""
        if not self.registered or not self.takes_jobs:
            return 0
        ready = min(self.slots - self.running, self.warm + (SOON_WARM if self.quick else 0)) - self.starting
        return max(0, min(ready, 1) if self.distrusted else ready)


class Listener(Protocol):
    """Hears what happens in the pool. Calls are synchronous, quick, and in the event loop."""

    def on_job(self, event: JobEvent) -> None: ...

    def on_capacity(self, capacity: Capacity) -> None:
        """Called when a figure changed: a worker registered or was lost, a slot freed, a process got warm."""


class Workers(Protocol):
    """What the keeper may ask of the pool."""

    @property
    def agent(self) -> str:
        """The agent name under which the pool's worker registers; "" for an unnamed one."""

    def capacity(self) -> Capacity: ...

    def runs(self, job_id: str) -> bool:
        """Whether a process of this pool has the job (accepted and not launched yet counts)."""

    def inside(self) -> Collection[str]:
        """Ids of the jobs that have a process and may be in their room, or get there: those that left it for
        good are not among them."""

    def launch(self, launch: Launch) -> bool:
        """Have the job answered and launched as if LiveKit had offered it: `Gate.claim` decides, the user's
        own `on_request` is asked, the events are the same.

        Returns at once. True: a slot is taken for it. False: there is none, and nothing happens.
        """

    def end(self, job_id: str, *, kill: bool = False) -> None:
        """End a job. Returns at once; `EXITED` tells when it is done.

        Gracefully (LiveKit's own shutdown: callbacks run) or, with `kill`, by SIGKILL. A job that is
        accepted and not launched yet is ended as soon as it is launched (fact 53). Unknown ids are ignored.
        """

    def pause(self, paused: bool) -> None:
        """Report full to LiveKit for as long as the gate cannot answer: it asks other workers at once then,
        and not first this one. What runs goes on. Repeatable."""
