"""What happens in the world, as anybody outside could see it: who is connected to which room, who asked, who
stopped, who ended on purpose, what stood still. Judges nothing; shares no code with the keeper.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field

from gateway.livekit.webhooks import Event
from tests.fakes.livekit import FakeLiveKit
from tests.fakes.livekit_parts import Connection, Link
from tests.fakes.pool_jobs import FakeJob
from tests.simulation.faults import Faults

WEBHOOK = 0.006
"""Seconds that a webhook takes at most, when nothing is wrong."""
LOSES_THE_LEADER = (
    *("replica-killed", "replica-ends", "replica-frozen"),
    *("cut-off-store", "store-away", "store-unreliable", "store-slow", "store-wiped", "store-failover"),
    *("store-restart", "livekit-restart"),
)
"""Faults in which there may be no leader, and then another one, who heard nothing of earlier joins."""
LOSES_HINTS = ("webhooks", *LOSES_THE_LEADER)
"""Faults in which a join's webhook may not reach the leader in time."""
NOBODY_LEADS = 8.0
"""Seconds after a fault in which there may be no leader to hear of a join."""
CLOCKS = 2.0
"""Seconds by which clocks may differ unnoticed: a join that the leader has not heard of in time, and an end
that is not further apart than that, came in either order."""


@dataclass(eq=False, slots=True)
class Life:
    """An agent's time in a room."""

    connection: Connection
    job: FakeJob | None
    replica: int
    """Its number."""
    sid: str
    """The room instance that it came into."""
    came_at: float
    outages: int
    """How often LiveKit had died before."""
    silences: int = 0
    """How often its connection had gone silent before."""
    came_late: bool = False
    """Its process stood still after it was let in, and before it came."""
    dismissed: bool = False
    """It was told to end, for a reason."""


@dataclass(slots=True)
class Cause:
    """Why a room may have an agent: an ask, a join where joins count, a dispatch behind our back."""

    sent: float
    kind: str
    answered: float | None = None
    """None as long as nobody knows whether it was taken."""
    refused: bool = False
    """The answer was an error: it may have been taken all the same."""
    via: int | None = None
    """The number of the replica that was asked; None where it is not known."""
    who: str = ""
    """Whoever joined, when that is what calls."""
    served_at: float = math.inf
    """When an agent first came after that."""

    @property
    def since(self) -> float:
        """The earliest time at which it may have taken effect."""
        return self.sent

    @property
    def until(self) -> float:
        """The latest time at which it may have taken effect."""
        return self.sent + 60.0 if self.answered is None or self.refused else self.answered


@dataclass(eq=False, slots=True, kw_only=True)
class Join(Cause):
    """A join that calls for an agent: it is heard of as soon as its webhook is there; by a later leader's
    first look, it came when LiveKit's clock says."""

    faults: Faults

    @property
    def since(self) -> float:
        return self.sent if self._heard else self.sent - CLOCKS

    @property
    def until(self) -> float:
        return self.sent + (WEBHOOK if self._heard else CLOCKS)

    @property
    def _heard(self) -> bool:
        lost = self.faults.between(self.sent - NOBODY_LEADS, self.sent, LOSES_HINTS)
        return not lost and not self.faults.between(self.sent, math.inf, LOSES_THE_LEADER)


@dataclass(slots=True)
class RoomBook:
    """What is known of one room's name."""

    sid: str = ""
    """The instance that exists; "" for none."""
    ended_at: float = -1.0
    """When the last instance ended, by `room_finished`."""
    people_since: float | None = None
    """Since when there is a person."""
    causes: list[Cause] = field(default_factory=list)
    stops: list[Cause] = field(default_factory=list)
    finished_at: float = -1.0
    """When an agent last ended on purpose."""
    finishes_from: float = -1.0
    finished_via: int | None = None
    """The number of that agent's replica."""
    finish_counts: bool = True
    """It was not about to be replaced then."""
    served_since_cause: bool = False
    """An agent came for the last cause: what it asked for is bound to that instance."""
    last_person_left: float = -1.0
    returned_into: str = ""
    """The instance into which an agent came by itself that was cut off, or stood still at the door, while its
    own one ended: from outside this is a restart of LiveKit, after which the room is the same. Whether that
    instance then wants an agent is nobody's to say."""

    @property
    def returned(self) -> bool:
        return bool(self.sid) and self.returned_into == self.sid


class Books:
    def __init__(self, livekit: FakeLiveKit, clock: Callable[[], float], replicas: int) -> None:
        self._livekit = livekit
        self._clock = clock
        self.joins_call: Callable[[str], bool] = lambda room: False
        """Whether a person's join calls for an agent in a room of that name."""
        self.job_of: Callable[[str], tuple[FakeJob, int] | None] = lambda identity: None
        """Finds the process behind an agent's identity, and its replica's number."""
        self.arrived: Callable[[str, RoomBook, Life], None] = lambda room, book, life: None
        """Called when an agent came into a room for the first time."""
        self.moved: Callable[[str], None] = lambda room: None
        """Called when somebody came or went, or a room did."""
        self.faults = Faults(clock, replicas)
        self.books: defaultdict[str, RoomBook] = defaultdict(RoomBook)
        self.lives: dict[Connection, Life] = {}
        self.outages = 0
        """How often LiveKit died."""
        self.outage_at = -100.0
        livekit.on_event.append(self._hear)

    # ---- what is told by the scene ------------------------------------------------------------------

    def asked(self, room: str, kind: str, via: int | None = None) -> Cause:
        """Somebody begins to ask, at that replica; the cause is completed by the asker."""
        cause = Cause(self._clock(), kind, via=via)
        book = self.books[room]
        (book.stops if kind == "stop" else book.causes).append(cause)
        if kind != "stop":
            book.served_since_cause = False
        return cause

    def _joined(self, room: str, who: str) -> None:
        now, book = self._clock(), self.books[room]
        book.causes.append(Join(now, "join", answered=now, who=who, faults=self.faults))
        book.served_since_cause = False

    def finished(self, room: str, job: FakeJob, lasts: float = 0.0) -> None:
        """An agent ends on purpose, within so many seconds; unless it may have been about to be replaced,
        that is the last word."""
        life = self.lives.get(job.connection) if job.connection is not None else None
        came_at = life.came_at if life is not None else self._clock()
        book = self.books[room]
        found = self.job_of(job.identity)
        book.finished_via = None if found is None else found[1]
        book.finishes_from, book.finished_at = self._clock(), self._clock() + lasts
        ends = [*book.stops, *(c for c in book.causes if c.kind == "restart")]
        book.finish_counts = not any(c.until > came_at - 1.0 for c in ends)

    def livekit_died(self) -> None:
        self.outages += 1
        self.outage_at = self._clock()
        for book in self.books.values():
            book.sid = ""
            book.served_since_cause = False

    # ---- what is seen -------------------------------------------------------------------------------

    def agents(self, room: str) -> list[Connection]:
        """The room's agents that live and do not stand still."""
        present = self._livekit.present(room)
        return [c for c in present if c.agent and c.link is Link.UP and not c.frozen]

    def working(self, room: str) -> list[Connection]:
        """Those of them that listen."""
        lives = [self.lives.get(c) for c in self.agents(room)]
        return [life.connection for life in lives if life is not None and life.job and life.job.working]

    def absent(self) -> set[str]:
        """Rooms that have neither a working agent nor one that stands still, or is cut off, while LiveKit
        lists it: of such a one nobody has heard anything."""
        return {
            room
            for room in self.books
            if not self.working(room)
            and not any(c.agent and c.out_of_reach for c in self._livekit.present(room))
        }

    def people(self, room: str) -> list[Connection]:
        return [c for c in self._livekit.present(room) if c.person and c.link is Link.UP]

    def _hear(self, event: Event) -> None:
        room, book = event.room.name, self.books[event.room.name]
        match event.event:
            case "room_started":
                book.sid = event.room.sid
            case "room_finished":
                book.sid, book.ended_at = "", self._clock()
            case "participant_joined" | "participant_left":
                who = event.participant
                assert who is not None
                book.sid = event.room.sid or book.sid
                if who.kind != "AGENT":
                    self._person(room, book)
                    if event.event == "participant_joined" and self.joins_call(room):
                        self._joined(room, who.identity)  # also of one who comes back after LiveKit's restart
                elif event.event == "participant_joined":
                    self._agent_came(room, book, who.identity)
        self.moved(room)

    def _person(self, room: str, book: RoomBook) -> None:
        if not self.people(room):
            book.people_since, book.last_person_left = None, self._clock()
        elif book.people_since is None:
            book.people_since = self._clock()

    def _agent_came(self, room: str, book: RoomBook, identity: str) -> None:
        connection = next(c for c in self._livekit.present(room) if c.identity == identity)
        found = self.job_of(identity)
        if found is None:
            return
        job, replica = found
        before = self.lives.get(connection)
        life = Life(connection, job, replica, book.sid, self._clock(), self.outages, connection.silences)
        life.came_late = _stood_still(life)
        self.lives[connection] = life
        if before is None:
            self.arrived(room, book, life)
            if job.offer.sid != book.sid and self.out_of_touch(life):
                book.returned_into = book.sid
        else:
            life.silences, life.came_at = -1, before.came_at  # it was away: see `out_of_touch`
            if book.sid != before.sid:
                book.returned_into = book.sid
        book.served_since_cause = True
        for cause in book.causes:
            cause.served_at = min(cause.served_at, self._clock())

    def out_of_touch(self, life: Life) -> bool:
        """Whether it stood still, or has been away from LiveKit since it came, or came back."""
        return _stood_still(life) or life.connection.silences != life.silences or life.outages != self.outages


def _stood_still(life: Life) -> bool:
    return life.job is not None and life.job.pauses > life.job.pauses_before
