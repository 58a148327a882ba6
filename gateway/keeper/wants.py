"""Changing a want, in one way: written to the store, told to whoever waits, counted. Decides nothing."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Container, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace

import anyio
import structlog

from gateway.keeper.model import State, Want
from gateway.keeper.ports import Clock, Store
from gateway.keeper.traces import about
from gateway.metrics import Metrics

log = structlog.get_logger(__name__)

FIRST_BACKOFF = 0.5
LONGEST_BACKOFF = 30.0
LATELY = 5.0
"""Seconds for which a replica that does not lead remembers a want: by then the leader knows it."""
ENDED_LATELY = 60.0


def backoff(failures: int) -> float:
    """Seconds to wait before the dispatch after so many failures in a row. The first is free."""
    if failures <= 1:
        return 0.0
    return float(min(LONGEST_BACKOFF, FIRST_BACKOFF * 2 ** min(failures - 2, 10)))


def failed(want: Want, *, now: float, reason: str) -> Want:
    """The want after a lost dispatch or a dead agent: another one, a little later each time."""
    failures = want.failures + 1
    state = State.REPLACING if want.identity else State.WAITING
    return replace(
        want,
        state=state,
        reason=reason,
        since=want.since if want.state is state else now,
        lacking_since=want.lacking_since or now,
        trouble_since=want.trouble_since or now,
        failures=failures,
        not_before=now + backoff(failures),
        dispatched_at=0.0,
    )


class Wants:
    """The living wants' states, and those who wait for them."""

    def __init__(
        self,
        store: Store,
        announce: Callable[[Want], None],
        metrics: Metrics,
        clock: Clock,
        changed: Callable[[Want, Want], None] = lambda want, was: None,
    ) -> None:
        """`announce(want)` after each change of a state, `changed(want, was)` after any change: both by this
        replica."""
        self._store = store
        self._announce = announce
        self._changed = changed
        self._metrics = metrics
        self._clock = clock
        self._living: dict[str, tuple[Want, float]] = {}
        """Each living want as last heard of, and when. The leader knows all of them; another replica what it
        had to do with lately."""
        self._ended: dict[str, tuple[Want, float]] = {}
        """Wants that ended lately: should the store lose that, they stay ended."""
        self._rooms: dict[str, tuple[str, ...]] = {}
        """By room: the ids of its living wants. Mostly there is one."""
        self._unsettled: dict[str, None] = {}
        """The living wants that have no working agent."""
        self._watchers: dict[str, set[anyio.Event]] = {}
        self._invited: dict[str, float] = {}
        """Rooms to which somebody was invited who may bring a want, until when."""
        for state in State:
            if not state.ended:
                metrics.rooms.labels(state.value).set(0)

    def concerns(self, room: str) -> bool:
        """Whether the room has a living want."""
        return room in self._rooms

    def invite(self, room: str, until: float) -> None:
        self._invited[room] = max(until, self._invited.get(room, 0.0))

    def invited(self, room: str) -> bool:
        """Whether a person's join may start a want in the room."""
        until = self._invited.get(room)
        if until is not None and until <= self._clock():
            del self._invited[room]
            return False
        return until is not None

    def rooms(self) -> list[str]:
        return list(self._rooms)

    def of_room(self, room: str) -> list[Want]:
        """The room's living wants, as last heard of."""
        return [self._living[want_id][0] for want_id in self._rooms.get(room, ())]

    def unsettled(self) -> list[Want]:
        """Living wants that have no working agent."""
        return [self._living[want_id][0] for want_id in self._unsettled]

    def lives(self) -> Container[str]:
        """The ids of the living wants."""
        return self._living.keys()

    def known(self) -> list[Want]:
        """The living wants as last heard of, and those that ended lately."""
        return [want for books in (self._ended, self._living) for want, _ in books.values()]

    def ended(self, want_id: str) -> bool:
        """Whether the want is known to have ended lately: what was read of it before is out of date. An end
        is for good, unless the store lost it and somebody asked again."""
        return want_id in self._ended

    def note(self, want: Want) -> None:
        """Take a want's state into the books and wake those who wait for it.

        It may be out of date already, when it was read and not written: whoever wrote the later one has the
        room looked at, and the pass notes it again.
        """
        ended = self._ended.pop(want.id, None)
        if ended is not None and ended[0].asked_at >= want.asked_at:
            want = ended[0]  # this was read before it ended
        if want.state.ended:
            self._forget(want.id)
            self._ended[want.id] = want, self._clock()
        else:
            self._enter(want)
        for event in self._watchers.get(want.id, ()):
            event.set()

    def _enter(self, want: Want) -> None:
        before = self._living.get(want.id)
        self._living[want.id] = want, self._clock()
        if before is None:
            self._rooms[want.room] = (*self._rooms.get(want.room, ()), want.id)
        elif before[0].state is want.state:
            return
        else:
            self._metrics.rooms.labels(before[0].state.value).dec()
        self._metrics.rooms.labels(want.state.value).inc()
        if want.state is State.JOINED:
            self._unsettled.pop(want.id, None)
        else:
            self._unsettled[want.id] = None

    def compare(self, stored: Sequence[Want], began: float) -> list[str]:
        """Take living wants of the store into the books; they were read since `began`. Returns the rooms of
        those that are not as they were known: nobody has told of them, or not yet."""
        rooms = []
        for want in stored:
            known, at = self._living.get(want.id, (None, 0.0))
            if known != want and at < began:
                self.note(want)
                rooms.append(want.room)
        return rooms

    def keep_only(self, living: Container[str], began: float) -> list[str]:
        """Forget wants that the store, read since `began`, does not know as living. Returns their rooms."""
        gone = [want for want_id, (want, at) in self._living.items() if want_id not in living and at < began]
        for want in gone:
            self._forget(want.id)
        return [want.room for want in gone]

    def forget_guests(self, now: float) -> None:
        """Drop invitations that have run out."""
        for room in [room for room, until in self._invited.items() if until <= now]:
            del self._invited[room]

    def keep_lately(self, now: float) -> None:
        """Forget the living wants that were last heard of some time ago: another replica keeps them."""
        for want_id in [i for i, (_, at) in self._living.items() if at < now - LATELY]:
            self._forget(want_id)
        self._invited.clear()

    def forget_ended(self, now: float) -> None:
        while self._ended:  # the oldest come first
            want_id, (_, at) = next(iter(self._ended.items()))
            if at >= now - ENDED_LATELY:
                return
            del self._ended[want_id]

    def _forget(self, want_id: str) -> None:
        if (known := self._living.pop(want_id, None)) is None:
            return
        want = known[0]
        self._metrics.rooms.labels(want.state.value).dec()
        self._unsettled.pop(want_id, None)
        others = tuple(other for other in self._rooms[want.room] if other != want_id)
        if others:
            self._rooms[want.room] = others
        else:
            del self._rooms[want.room]

    async def write(self, want: Want, *, was: Want, epoch: int | None = None) -> bool:
        """Store a changed want. False: somebody else changed it first; look again. `epoch`: as the store
        takes it, for what follows from an observation."""
        if want == was:
            return True
        if not await self._store.update(want, was=was, epoch=epoch):
            return False
        self.note(want)
        if want.state is not was.state:
            self._tell(want, was)
            self._announce(want)
        self._changed(want, was)
        return True

    def wake_watchers(self) -> None:
        for events in self._watchers.values():
            for event in events:
                event.set()

    @asynccontextmanager
    async def watching(self, want_id: str) -> AsyncIterator[anyio.Event]:
        """An event that is set when the want changes. Read the want inside, then wait: nothing is missed."""
        watchers = self._watchers.setdefault(want_id, set())
        watchers.add(event := anyio.Event())
        try:
            yield event
        finally:
            watchers.discard(event)
            if not watchers and self._watchers.get(want_id) is watchers:
                del self._watchers[want_id]

    def _tell(self, want: Want, was: Want) -> None:
        log.info(
            f"agent_{want.state.value}",
            **about(want),
            was=was.state.value,
            reason=want.reason or None,
            took_s=round(self._clock() - was.lacking_since, 3) if was.lacking_since else None,
        )
        if want.state is State.JOINED and was.lacking_since:
            self._metrics.time_to_agent.labels("joined").observe(self._clock() - was.lacking_since)
        if want.state is State.GAVE_UP:
            self._metrics.gave_up.inc()
