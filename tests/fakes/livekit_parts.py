"""What the fake LiveKit is made of: connections, rooms, dispatches, workers, injected faults. Holds state;
the rules are in `tests.fakes.livekit`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Literal, Protocol

import anyio

from gateway.keeper.model import Participant
from pool.ports import Offer


class Link(Enum):
    """What ties a client to the server."""

    UP = "up"
    GHOST = "ghost"
    """Its process is dead or frozen; LiveKit lists it for 20 s more (fact 12)."""
    RETURNING = "returning"
    """Alive, the server is not, or has let go of it; it tries to get back (facts 80, 89)."""
    LEFT = "left"


@dataclass(eq=False, kw_only=True)
class Connection:
    """A client in a room: a person's page, or an agent's process. Made by `FakeLiveKit.join`."""

    room: str
    identity: str
    sid: str
    agent: str | None = None
    avatar: bool = False
    metadata: str = ""
    attributes: Mapping[str, str] = field(default_factory=dict)
    joined_at: float = 0.0
    link: Link = Link.UP
    frozen: bool = False
    severed: bool = False
    """It runs, and its way to LiveKit is cut."""
    silences: int = 0
    """How often it went silent: tells a time-out from one that was overtaken by a thaw."""
    reason: str = ""
    """LiveKit's DisconnectReason, once it has left."""
    on_change: Callable[[Connection], None] = lambda connection: None
    """Called when `link` has changed, as the client itself would notice: not while frozen or dead."""
    left: anyio.Event = field(default_factory=anyio.Event)

    @property
    def alive(self) -> bool:
        """Its process runs, be it frozen, and it has not left."""
        return self.link in (Link.UP, Link.RETURNING) or self.frozen

    @property
    def person(self) -> bool:
        return self.agent is None and not self.avatar

    @property
    def out_of_reach(self) -> bool:
        """It runs, and cannot come back before something outside it changes."""
        return self.frozen or self.severed

    def participant(self) -> Participant:
        return Participant(
            identity=self.identity,
            sid=self.sid,
            agent=self.agent or "" if not self.person else None,  # an avatar is of kind AGENT too
            avatar=self.avatar,
            joined_at=self.joined_at,
            metadata=self.metadata,
            attributes=dict(self.attributes),
        )


@dataclass(eq=False, kw_only=True)
class RoomState:
    name: str
    sid: str
    created_at: float
    empty_timeout: float
    departure_timeout: float
    members: dict[str, Connection] = field(default_factory=dict)
    node_lost_at: float | None = None
    """Its node is dead, and no other has taken it over yet (fact 20)."""
    relics: dict[str, Participant] = field(default_factory=dict)
    """Listed for ever, and in no node's memory: whoever was there when the node died (S12)."""
    dispatches: dict[str, DispatchState] = field(default_factory=dict)
    person_came: bool = False
    counted: int = 0
    """People as ListRooms counts them: up to 5 s old."""
    counted_at: float = 0.0
    left_at: float | None = None
    """When anybody last left, agents included: that is what LiveKit's departure timer counts from."""

    @property
    def has_node(self) -> bool:
        return self.node_lost_at is None

    @property
    def people(self) -> int:
        return sum(1 for c in self.members.values() if c.person)

    @property
    def ends_at(self) -> float:
        """When the room ends, if nobody comes."""
        if self.person_came and self.left_at is not None:
            return self.left_at + self.departure_timeout
        return self.created_at + self.empty_timeout


@dataclass(eq=False, kw_only=True)
class DispatchState:
    id: str
    agent: str
    metadata: str = ""
    attributes: Mapping[str, str] = field(default_factory=dict)
    jobs: list[JobState] = field(default_factory=list)
    launched: anyio.Event = field(default_factory=anyio.Event)
    """Set when the launch has come to an end, in a job or in nothing."""


@dataclass(eq=False, kw_only=True)
class JobState:
    id: str
    identity: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Accepted:
    """A worker takes the job; its agent will join as `identity`, by default `agent-<job id>` (fact 21)."""

    identity: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Refused:
    """`terminate`: nobody else is asked either (fact 34)."""

    terminate: bool


Answer = Accepted | Refused


class Worker(Protocol):
    """A worker as the server knows it. All but `offered` are quick and return at once."""

    @property
    def agent(self) -> str: ...

    async def offered(self, offer: Offer) -> Answer:
        """Take the job or not. Later than 3 s is too late (fact 4); never returning is a frozen worker."""

    def assigned(self, offer: Offer, identity: str) -> None:
        """The job is this worker's: bring its agent into the room."""

    def unassigned(self, offer: Offer) -> None:
        """Accepted, but too late, or the worker had lost its connection (fact 33)."""

    def terminated(self, job_id: str) -> None:
        """Somebody deleted the dispatch; 3 s later the server removes the participant itself (fact 9)."""

    def registered(self, node_id: str) -> None:
        """Registered with the server of that node id; "" when the connection is lost."""


@dataclass(eq=False, kw_only=True)
class Registration:
    """A worker's place at the server."""

    worker: Worker
    load: float = 0.0
    """What it reported last: at 0.7 nothing is offered to it (fact 50)."""
    up: bool = True
    connected: bool = True
    """False while it is cut off, and from a server's death until it has found the new one (fact 80)."""
    mute: anyio.Event | None = None
    """Until this is set it is offered jobs and hears nothing: frozen, or its connection is half open."""
    jobs: dict[str, JobState] = field(default_factory=dict)

    def close(self) -> None:
        """The worker is gone; its jobs' processes are its own affair."""
        self.up = False
        self.jobs.clear()

    def cut(self) -> None:
        """The connection breaks and is back at once: the server has forgotten the jobs (fact 11)."""
        self.jobs.clear()

    def cut_off(self) -> None:
        """The connection breaks, both sides see it: no offers, and the jobs live on (fact 11)."""
        self.jobs.clear()
        if self.connected and self.up and self.mute is None:
            self.worker.registered("")
        self.connected = False

    def freeze(self) -> None:
        """SIGSTOP of the worker, or a cut without a word: the server never notices (fact 74)."""
        self.mute = self.mute or anyio.Event()

    def thaw(self) -> None:
        """It hears, late, what it was offered meanwhile."""
        if self.mute is not None:
            self.mute.set()
        self.mute = None
        if not self.connected:
            self.worker.registered("")


@dataclass(frozen=True, slots=True)
class Call:
    """One call of the port, as a fault hook sees it."""

    method: str
    """LiveKit's name: CreateDispatch, ListParticipants, ..."""
    room: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """What to do to a call."""

    delay: float = 0.0
    """Seconds before it takes effect."""
    reply_delay: float = 0.0
    """Seconds after it took effect."""
    lost: Literal["", "call", "reply"] = ""
    """Answer `Unknown`: with "call" it had no effect, with "reply" it had."""
    late: float = 0.0
    """Answer `Unknown`, and the effect comes this many seconds later all the same."""
    twice: bool = False
    """It takes effect two times: LiveKit's own RPC repeats itself (fact 7)."""
    why: str = "injected fault"
