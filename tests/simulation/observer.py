"""Whether the promises were kept, judged by what happens in the world alone: who is connected to which room,
who asked, who stopped, who ended on purpose, what stood still. Shares no code with the keeper.

- I1: never two agents that live and do not stand still in one room. Where one of them was out of touch before
  (it stood still, or its line or LiveKit was gone), two may meet: for 2 s, or until shortly after the last
  fault.
- I3, I6: no agent that works is taken out of its room without a reason (a stop, a restart, a second agent,
  ...).
- I4: no agent comes into the successor of a room that ended, on the strength of what was asked before.
- I5: after an agent ended on purpose none comes until somebody asks.
- I2 and I7 are judged when all faults are over: see `tests.simulation.verdict`.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field

from gateway.livekit.webhooks import Event
from tests.fakes.livekit import FakeLiveKit
from tests.fakes.livekit_parts import Connection, Link
from tests.fakes.pool_jobs import FakeJob
from tests.simulation.faults import Faults

OVERLAP = 2.0
"""Seconds for which two agents may meet after one of them was out of touch (I1)."""
PEOPLE_RETURN = 10.0
"""Seconds after LiveKit's death in which nobody can be expected to be back."""
RECOVERY = 12.0
"""Seconds after the last fault within which such a meeting is over when more was amiss: a lapsed lease (3 s),
an election, a probe (2 s), the next resync."""

MEMORY_LOSS = ("store-wiped", "store-failover")
LAPSE = 2.0
"""Seconds without the store after which others may take a replica for lapsed, with its heartbeats'
distance."""
AFTER_PAUSE = 6.0
"""Seconds after a pause in which what a job tells is not taken for its own will."""
OUT_OF_STORE = ("replica-frozen", "cut-off-store", "store-unreliable", "store-slow", "store-away")
DEAFENING = (
    *MEMORY_LOSS,
    "replica-killed",
    "replica-ends",
    "replica-frozen",
    "agent-frozen",
    "agent-dies",
    "livekit-restart",
    "cut-off-livekit",
)
"""Faults in which what an agent did of its own will may get lost, or look like something else."""


class Broken(Exception):  # noqa: N818  (what is found out about a history)
    """A promise was not kept."""


@dataclass(eq=False, slots=True)
class Life:
    """An agent's time in a room."""

    connection: Connection
    job: FakeJob | None
    replica: int
    sid: str
    """The room instance that it came into."""
    came_at: float
    outages: int
    """How often LiveKit had died before."""
    silences: int = 0
    """How often its connection had gone silent before."""
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

    @property
    def until(self) -> float:
        """The latest time at which it may have taken effect."""
        return self.sent + 60.0 if self.answered is None or self.refused else self.answered


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
    finish_counts: bool = True
    """It was not about to be replaced then."""
    served_since_cause: bool = False
    """An agent came for the last cause: what it asked for is bound to that instance."""
    last_person_left: float = -1.0
    returned_into: str = ""
    """The instance into which an agent came back by itself that was cut off while its own one ended: from
    outside this is a restart of LiveKit, after which the room is the same."""

    @property
    def returned(self) -> bool:
        return bool(self.sid) and self.returned_into == self.sid


class Observer:
    def __init__(self, livekit: FakeLiveKit, clock: Callable[[], float]) -> None:
        self._livekit = livekit
        self._clock = clock
        self.joins_call: Callable[[str], bool] = lambda room: False
        """Whether a person's join calls for an agent in a room of that name."""
        self.job_of: Callable[[str], tuple[FakeJob, int] | None] = lambda identity: None
        """Finds the process behind an agent's identity, and its replica's number."""
        self.faults = Faults(clock)
        self.books: defaultdict[str, RoomBook] = defaultdict(RoomBook)
        self.lives: dict[Connection, Life] = {}
        self.overlaps: dict[str, float] = {}
        """Rooms with two agents now, since when."""
        self.counts: Counter[str] = Counter()
        """Things that are allowed and counted."""
        self.longest_overlap = 0.0
        self.broken: list[str] = []
        self.outages = 0
        """How often LiveKit died."""
        self.outage_at = -100.0
        livekit.on_event.append(self._hear)

    # ---- what is told by the scene ------------------------------------------------------------------

    def asked(self, room: str, kind: str) -> Cause:
        """Somebody begins to ask; the cause is completed by the asker."""
        cause = Cause(self._clock(), kind)
        book = self.books[room]
        (book.stops if kind == "stop" else book.causes).append(cause)
        if kind != "stop":
            book.served_since_cause = False
        return cause

    def called_for(self, room: str, kind: str) -> None:
        """Something that calls for an agent has happened at once: a join, a dispatch behind our back."""
        self.asked(room, kind).answered = self._clock()

    def finished(self, room: str, job: FakeJob, lasts: float = 0.0) -> None:
        """An agent ends on purpose, within so many seconds; unless it may have been about to be replaced,
        that is the last word."""
        life = self.lives.get(job.connection) if job.connection is not None else None
        came_at = life.came_at if life is not None else self._clock()
        book = self.books[room]
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

    def people(self, room: str) -> list[Connection]:
        return [c for c in self._livekit.present(room) if c.person and c.link is Link.UP]

    def look(self) -> None:
        """Judge the moment: to be called after whatever may bring an agent back."""
        for room in list(self.books):
            self._count_agents(room)

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
                        self.called_for(room, "join")  # also of one who comes back after LiveKit's restart
                elif event.event == "participant_joined":
                    self._agent_came(room, book, who.identity)
        self._count_agents(room)

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
        self.lives[connection] = life
        if before is None:
            self._judge_arrival(room, book, life)
        else:
            life.silences, life.came_at = -1, before.came_at  # it was away: see `_out_of_touch`
            if book.sid != before.sid:
                book.returned_into = book.sid
        book.served_since_cause = True

    # ---- judgements ---------------------------------------------------------------------------------

    def fail(self, what: str) -> None:
        self.broken.append(f"{what} (at {self._clock():.3f})")

    def _out_of_touch(self, life: Life) -> bool:
        """Whether it stood still, or has been away from LiveKit since it came, or came back."""
        stood_still = life.job is not None and life.job.pauses > life.job.pauses_before
        return stood_still or life.connection.silences != life.silences or life.outages != self.outages

    def _count_agents(self, room: str) -> None:
        agents = self.agents(room)
        now = self._clock()
        if len(agents) < 2:
            began = self.overlaps.pop(room, None)
            if began is not None:
                self.longest_overlap = max(self.longest_overlap, now - began)
            return
        if room in self.overlaps:
            return
        self.overlaps[room] = now
        lives = [self.lives[c] for c in agents if c in self.lives]
        if any(self._out_of_touch(life) for life in lives):
            self.counts["overlaps after a pause"] += 1
            self._livekit.after(OVERLAP + 0.01, lambda: self._must_be_over(room, now))
        else:
            self.fail(f"I1: {len(agents)} agents in {room}: {[c.identity for c in agents]}")

    def _must_be_over(self, room: str, began: float) -> None:
        if self.overlaps.get(room) != began:
            return
        calm = self.faults.calm_since
        if calm is None or self._clock() < max(calm, began) + (RECOVERY if calm > began - RECOVERY else 0.0):
            self._livekit.after(0.5, lambda: self._must_be_over(room, began))
        else:
            self.fail(f"I1: two agents in {room} for {self._clock() - began:.1f} s after a pause")

    def _forgotten(self, life: Life) -> bool:
        """The store lost its memory, and just then the gateway of that agent was out of touch with the
        store."""
        return any(
            self.faults.between(loss.began - 2.0, loss.began + 8.0, OUT_OF_STORE)
            for loss in self.faults.of(MEMORY_LOSS)
            if loss.began > life.came_at - 60.0
        )

    def knowable(self, book: RoomBook) -> bool:
        """Whether the keeper got to know that the agent ended on purpose: nothing was in the way of its
        telling, and that was the last word."""
        at = book.finished_at
        if self.faults.lasting(at, LAPSE, OUT_OF_STORE):
            return False  # its gateway lapsed, and nobody else can tell an end from a death (fact 12)
        if self.faults.between(at - AFTER_PAUSE, at, ("replica-frozen",)):
            return False
        return book.finish_counts and not self.faults.between(at - 1.0, at + 2.0, DEAFENING)

    def _judge_arrival(self, room: str, book: RoomBook, life: Life) -> None:
        now = self._clock()
        listed = [c for c in self._livekit.present(room) if c.agent and c is not life.connection]
        strange = any(c.kind == "dispatch" for c in book.causes)  # nobody of ours looked before it
        if any(c.link is Link.GHOST for c in listed) and not self._out_of_touch(life) and not strange:
            self.fail(
                f"I1: {life.connection.identity} came into {room} while {listed[0].identity} was listed"
            )
        last = max((c.until for c in book.causes), default=-1.0)
        quiet = self.outage_at < book.ended_at
        if book.finishes_from > last and self.knowable(book):
            self.fail(
                f"I5: {life.connection.identity} came into {room}, unasked, after its agent had finished"
            )
        offered = life.job.offer.sid if life.job else life.sid
        quiet = quiet and not self._out_of_touch(life)
        if offered != life.sid and quiet and 0 < book.ended_at < now - 1.0:
            self.fail(f"I4: {life.connection.identity} came into {life.sid}, and was for {offered}")
        meant = life.job.offer.attributes.get("roomkeeper.sid", life.sid) if life.job else life.sid
        if meant != life.sid and quiet and book.ended_at > 0:
            who = life.connection.identity
            self.fail(f"I4: {who} came into {life.sid}, and was dispatched for {meant}")
        if last < book.ended_at and book.served_since_cause and quiet and not book.returned:
            self.fail(f"I4: {life.connection.identity} came into {room} anew, and nobody had asked there")

    def ends(self, job: FakeJob, how: str) -> None:
        """The keeper ends a job, or has its participant removed: is there a reason?"""
        life = self.lives.get(job.connection) if job.connection is not None else None
        if life is None or life.dismissed or job.frozen or not (job.working or self._on_its_way_back(job)):
            return
        life.dismissed = True
        room = job.offer.room
        if (reason := self._reason(room, self.books[room], life)) is None:
            self.fail(f"I3: {life.connection.identity} worked in {room} and was ended ({how}) for no reason")
        else:
            self.counts[f"calls cut: {reason}"] += 1

    @staticmethod
    def _on_its_way_back(job: FakeJob) -> bool:
        """LiveKit has died under it, and it will return by itself (fact 80)."""
        away = job.connection is not None and job.connection.link is Link.RETURNING
        return away and job.open and not job.deaf and not job.exited

    def _reason(self, room: str, book: RoomBook, life: Life) -> str | None:
        born = life.came_at - 10.0
        own = life.connection.silences > max(0, life.silences) or life.job is None or life.job.pauses
        if own or life.connection.frozen:
            return "it was out of touch"
        if self.outage_at > life.came_at and self.faults.between(self.outage_at, self._clock(), OUT_OF_STORE):
            return "LiveKit and the store were gone at once"
        if len([c for c in self._livekit.present(room) if c.agent]) > 1:
            return "there were two"
        if any(c.until > born for c in [*book.stops, *(c for c in book.causes if c.kind == "restart")]):
            return "a stop or a restart"
        if book.finished_at > born or (book.ended_at > born and life.sid != book.sid):
            return "the room, or an agent before, ended"
        if not self.people(room) and self.outage_at < self._clock() - PEOPLE_RETURN:
            return "nobody was there"
        if self._forgotten(life):
            return "the store forgot it while its gateway could not tell again"
        return None
