"""Changing a want, in one way: written to the store, told to whoever waits, counted. Decides nothing."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import anyio
import msgspec
import structlog

from gateway.keeper.model import Job, State, Want
from gateway.keeper.ports import Clock, Store
from gateway.metrics import Metrics

log = structlog.get_logger(__name__)

FIRST_BACKOFF = 0.5
LONGEST_BACKOFF = 30.0


def backoff(failures: int) -> float:
    """Seconds to wait before the dispatch after so many failures in a row. The first is free."""
    if failures <= 1:
        return 0.0
    return float(min(LONGEST_BACKOFF, FIRST_BACKOFF * 2 ** min(failures - 2, 10)))


class Wants:
    """The living wants' states, and those who wait for them."""

    def __init__(self, store: Store, metrics: Metrics, clock: Clock) -> None:
        self._store = store
        self._metrics = metrics
        self._clock = clock
        self._states: dict[str, tuple[str, State]] = {}
        """Room and state of each living want: which rooms matter, and the gauge."""
        self._rooms: Counter[str] = Counter()
        self._waiters: dict[str, anyio.Event] = {}

    def concerns(self, room: str) -> bool:
        """Whether the room has a living want."""
        return room in self._rooms

    def rooms(self) -> list[str]:
        return list(self._rooms)

    def unsettled(self) -> set[str]:
        """Rooms with a want that has no working agent."""
        return {room for room, state in self._states.values() if state is not State.JOINED}

    def note(self, want: Want) -> None:
        """Take a want's state into the books and wake those who wait for it."""
        known = self._states.pop(want.id, None)
        if known is not None:
            self._rooms[known[0]] -= 1
            if not self._rooms[known[0]]:
                del self._rooms[known[0]]
        if not want.state.ended:
            self._states[want.id] = (want.room, want.state)
            self._rooms[want.room] += 1
        self._count()
        if (event := self._waiters.pop(want.id, None)) is not None:
            event.set()

    async def write(self, want: Want, *, was: Want) -> bool:
        """Store a changed want. False: somebody else changed it first; look again."""
        if want == was:
            return True
        if not await self._store.update(want, was=was):
            return False
        self.note(want)
        if want.state is not was.state:
            self._tell(want, was)
        return True

    async def wait(self, want_id: str, timeout: float) -> None:
        """Until the want changes, or the time is over."""
        event = self._waiters.setdefault(want_id, anyio.Event())
        with anyio.move_on_after(timeout):
            await event.wait()

    def failed(self, want: Want, *, now: float, reason: str) -> Want:
        """The want after a lost dispatch or a dead agent: another one, a little later each time."""
        failures = want.failures + 1
        state = State.REPLACING if want.identity else State.WAITING
        return replace(
            want,
            state=state,
            reason=reason,
            since=want.since if want.state is state else now,
            lacking_since=want.lacking_since or now,
            failures=failures,
            not_before=now + backoff(failures),
            dispatch_id="",
            dispatched_at=0.0,
        )

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

    def _count(self) -> None:
        states = Counter(state for _, state in self._states.values())
        for state in State:
            if not state.ended:
                self._metrics.rooms.labels(state.value).set(states[state])


def status_message(job: Job) -> bytes:
    """What the room is told (topic `roomkeeper.status`), as JSON."""
    want = job.want
    return msgspec.json.encode(
        {
            "jobId": want.id,
            "roomName": want.room,
            "agentName": want.agent,
            "state": want.state.value,
            "place": job.place,
            "reason": want.reason,
            "agentIdentity": want.identity or None,
        }
    )
