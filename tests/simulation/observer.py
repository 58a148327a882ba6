"""Whether the promises were kept, judged by what happens in the world alone (see `books`).

- I1: never two agents that live and do not stand still in one room. Where one of them was out of touch
  before (it stood still, or its line or LiveKit was gone), two may meet for 2 s, or until 2 s after the last
  pause or partition, of the replicas that they belong to, that explains why they were not parted. Beside one
  that hands over its successor may be, for 15 s and as long again as after a pause; in calm until 3 s after
  both work.
- I3, I6: no agent that works is taken out of its room without a reason (a stop, a restart, a second agent,
  ...).
- I4: no agent comes into the successor of a room that ended, on the strength of what was asked before.
- I5: after an agent ended on purpose none comes until somebody asks.
- I2 and I7 are judged by what does not happen: see `tests.simulation.verdict` and `tests.simulation.bounds`.

What no history has, so that nothing here speaks for it: clocks that differ or are set (every replica reads
the store's clock without error; the unit tests of `gateway.store.clock` and the clock rows of the processes
tier do that), agents of other people's workers (`gateway.keeper.foreign`: unit tests), more than one agent
name, two LiveKit nodes (contract and processes tiers), a worker that takes a job although the gate refused
it, avatars.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable

from tests.fakes.livekit import FakeLiveKit
from tests.fakes.livekit_parts import Connection, Link
from tests.fakes.pool_jobs import FakeJob
from tests.simulation.books import Books, Life, RoomBook
from tests.simulation.excuses import (
    HANDS_OVER,
    PROLONGS,
    SUCCEEDED,
    TELLS,
    cut_off_from_both,
    end_told_again,
    ended_lately,
    ended_unseen,
    forgotten,
    handing_over,
    knowable,
    parted_lately,
    told_by_one_that_missed_it,
)

HANDING = (HANDS_OVER, "replica-ends")
SEEN_OUT = 3.0
"""Seconds in which, in calm, whoever hands over has left when the successor works."""
OVERLAP = 2.0
"""Seconds for which two agents may meet after one of them was out of touch (I1)."""
PEOPLE_RETURN = 10.0
"""Seconds after LiveKit's death in which nobody can be expected to be back."""


class Observer(Books):
    def __init__(self, livekit: FakeLiveKit, clock: Callable[[], float], replicas: int) -> None:
        super().__init__(livekit, clock, replicas)
        self.arrived = self._judge_arrival
        self.moved = self._count_agents
        self.overlaps: dict[str, float] = {}
        """Rooms with two agents now, since when."""
        self._work: dict[str, float] = {}
        """When the two were last seen not to work both."""
        self.counts: Counter[str] = Counter()
        """Things that are allowed and counted."""
        self.longest_overlap = 0.0
        self.broken: list[str] = []

    def look(self) -> None:
        """Judge the moment: to be called after whatever may bring an agent back."""
        for room in list(self.books):
            self._count_agents(room)

    def fail(self, what: str) -> None:
        self.broken.append(f"{what} (at {self._clock():.3f})")

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
        self.overlaps[room] = self._work[room] = now
        lives = [self.lives[c] for c in agents if c in self.lives]
        if handing_over(self.faults, {life.replica for life in lives}) > -math.inf:
            self.counts["handed over"] += 1
            self._livekit.after(OVERLAP + 0.01, lambda: self._must_be_over(room, now))
        elif any(self.out_of_touch(life) for life in lives):
            self.counts["overlaps after a pause"] += 1
            self._livekit.after(OVERLAP + 0.01, lambda: self._must_be_over(room, now))
        else:
            self.fail(f"I1: {len(agents)} agents in {room}: {[c.identity for c in agents]}")

    def _must_be_over(self, room: str, began: float) -> None:
        self._count_agents(room)  # LiveKit tells nobody that a process was killed
        if self.overlaps.get(room) != began:
            return
        now = self._clock()
        theirs = {self.lives[c].replica for c in self.agents(room) if c in self.lives}
        over_by = max(began + OVERLAP, self.faults.over_by(PROLONGS, theirs))
        hands_over_until = handing_over(self.faults, theirs) + OVERLAP
        if len(self.working(room)) < 2:
            over_by, self._work = max(over_by, hands_over_until), {**self._work, room: now}
        elif self.faults.calm_but_for(HANDING, self._work.get(room, began)):
            over_by = max(over_by, min(self._work.get(room, began) + SEEN_OUT, hands_over_until))
        else:
            over_by = max(over_by, hands_over_until)
        if now < over_by:
            self._livekit.after(min(0.5, over_by - now + 0.01), lambda: self._must_be_over(room, began))
        else:
            self.fail(f"I1: two agents in {room} for {now - began:.1f} s after a pause, or handing over")

    def _judge_arrival(self, room: str, book: RoomBook, life: Life) -> None:
        now = self._clock()
        listed = [c for c in self._livekit.present(room) if c.agent and c is not life.connection]
        strange = any(c.kind == "dispatch" for c in book.causes)  # nobody of ours looked before it
        ghosts = [c for c in listed if c.link is Link.GHOST and not self._may_be_met(c)]
        if ghosts and not self.out_of_touch(life) and not strange:
            self.fail(
                f"I1: {life.connection.identity} came into {room} while {listed[0].identity} was listed"
            )
        last = max((c.until for c in book.causes), default=-1.0)
        quiet = self.outage_at < book.ended_at
        if book.finishes_from > last and self.out_of_touch(life):
            self.counts["came after a pause, unasked"] += 1  # and is ended, as the verdict sees
        elif book.finishes_from > last and knowable(self.faults, book):
            self.fail(
                f"I5: {life.connection.identity} came into {room}, unasked, after its agent had finished"
            )
        offered = life.job.offer.sid if life.job else life.sid
        quiet = quiet and not self.out_of_touch(life)
        if offered != life.sid and quiet and 0 < book.ended_at < now - 1.0:
            self.fail(f"I4: {life.connection.identity} came into {life.sid}, and was for {offered}")
        meant = life.job.offer.attributes.get("roomkeeper.sid", life.sid) if life.job else life.sid
        if meant != life.sid and quiet and book.ended_at > 0:
            who = life.connection.identity
            self.fail(f"I4: {who} came into {life.sid}, and was dispatched for {meant}")
        quiet = quiet and not told_by_one_that_missed_it(self.faults, book)
        quiet = quiet and not ended_unseen(self.faults, book)
        if last < book.ended_at and book.served_since_cause and quiet and not book.returned:
            self.fail(f"I4: {life.connection.identity} came into {room} anew, and nobody had asked there")

    def _may_be_met(self, ghost: Connection) -> bool:
        """It died while its successor was on its way: of a handover, or when it came itself after a pause."""
        life = self.lives.get(ghost)
        return life is not None and (life.came_late or handing_over(self.faults, {life.replica}) > -math.inf)

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
        now = self._clock()
        own = life.connection.silences > max(0, life.silences) or life.job is None or life.job.pauses
        if life.connection.frozen or (own and parted_lately(self.faults, life.replica, now)):
            return "it was out of touch"
        if cut_off_from_both(self.faults, life, self.outage_at, now):
            return "LiveKit and the store were gone at once"
        if len([c for c in self._livekit.present(room) if c.agent]) > 1:
            return "there were two"
        hands_over_until = handing_over(self.faults, {life.replica})
        began = hands_over_until - SUCCEEDED
        no_successor = -math.inf < hands_over_until <= now + TELLS
        if hands_over_until > -math.inf and any(
            other.job is not None and other.job.offer.room == room and other.came_at > began
            for other in self.lives.values()
        ):
            return "its successor had come"
        if no_successor:
            return "no successor came"
        if book.finished_at > max((c.until for c in book.causes), default=-1.0):
            return "it had come unasked, after an agent finished that nobody could tell of"
        if ended_lately(self.faults, book, life, now):
            return "a stop, a restart, or the end of an agent before it"
        if book.ended_at > life.came_at - 10.0 and life.sid != book.sid:
            return "its room ended"
        if not self.people(room) and self.outage_at < now - PEOPLE_RETURN:
            return "nobody was there"
        if forgotten(self.faults, life, now):
            return "the store forgot it while its gateway could not tell again"
        if end_told_again(self.faults, book, now):
            return "a stop or a restart that the store had forgotten was told again"
        return None
