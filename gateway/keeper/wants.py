"""Changing a want, in one way: written to the store, told to whoever waits, counted. Decides nothing."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace

import anyio
import structlog

from gateway.keeper.model import State, Want
from gateway.keeper.ports import Clock, Store
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
        self, store: Store, announce: Callable[[Want], None], metrics: Metrics, clock: Clock
    ) -> None:
        self._store = store
        self._announce = announce
        self._metrics = metrics
        self._clock = clock
        self._living: dict[str, tuple[Want, float]] = {}
        """Each living want as last heard of, and when. The leader knows all of them; another replica what it
        had to do with lately."""
        self._ended: dict[str, tuple[Want, float]] = {}
        """Wants that ended lately: should the store lose that, they stay ended."""
        self._rooms: Counter[str] = Counter()
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

    def unsettled(self) -> set[str]:
        """Rooms with a want that has no working agent."""
        return {want.room for want, _ in self._living.values() if want.state is not State.JOINED}

    def known(self) -> list[Want]:
        """The living wants as last heard of, and those that ended lately."""
        return [want for books in (self._ended, self._living) for want, _ in books.values()]

    def ended(self, want_id: str) -> bool:
        """Whether the want is known to have ended lately: what was read of it before is out of date."""
        return want_id in self._ended

    def note(self, want: Want) -> None:
        """Take a want's state into the books and wake those who wait for it."""
        self._forget(want.id)
        if want.id in self._ended:  # an end is for good; this was read before it
            want = self._ended[want.id][0]
        if want.state.ended:
            self._ended[want.id] = want, self._clock()
        else:
            self._living[want.id] = want, self._clock()
            self._metrics.rooms.labels(want.state.value).inc()
            self._rooms[want.room] += 1
        for event in self._watchers.get(want.id, ()):
            event.set()

    def keep_lately(self, now: float) -> None:
        """Forget the living wants that were last heard of some time ago: another replica keeps them."""
        for want_id in [i for i, (_, at) in self._living.items() if at < now - LATELY]:
            self._forget(want_id)
        self._invited.clear()

    def forget_ended(self, now: float) -> None:
        for want_id in [i for i, (_, at) in self._ended.items() if at < now - ENDED_LATELY]:
            del self._ended[want_id]

    def _forget(self, want_id: str) -> None:
        if (known := self._living.pop(want_id, None)) is None:
            return
        want = known[0]
        self._metrics.rooms.labels(want.state.value).dec()
        self._rooms[want.room] -= 1
        if not self._rooms[want.room]:
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
            room=want.room,
            agent=want.agent,
            job=want.id,
            was=was.state.value,
            reason=want.reason or None,
            took_s=round(self._clock() - was.lacking_since, 3) if was.lacking_since else None,
        )
        if want.state is State.JOINED and was.lacking_since:
            self._metrics.time_to_agent.labels("joined").observe(self._clock() - was.lacking_since)
        if want.state is State.GAVE_UP:
            self._metrics.gave_up.inc()
