"""A fleet of workers through one day, in virtual time: rooms wait in line for a slot, workers start late and
drain before they end. A simulation of the numbers only: no keeper, no LiveKit.
"""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import count

from bench.day_policies import SYNC, Policy, Seen
from bench.day_traffic import DAY, Call

SLOTS = 8
WARM_START, COLD_START = 30.0, 120.0
"""Seconds until a worker takes calls: on a machine with room for it, and on one that must be booted."""
WORKERS_PER_MACHINE = 4
MACHINE_KEPT = 600.0
"""Seconds that an empty machine stays."""
GIVE_UP_AFTER = 300.0
NEVER = 2 * DAY
"""A day that is not over by then has lost its books."""


@dataclass(slots=True)
class Machine:
    workers: int = 0
    empty_since: float = 0.0


@dataclass(slots=True, eq=False)
class Worker:
    asked: float
    ready: float
    machine: Machine
    calls: int = 0
    draining: bool = False
    ended: float | None = None


@dataclass(slots=True)
class Room:
    call: Call
    began: float | None = None
    gave_up: bool = False
    worker: Worker | None = None

    @property
    def ended(self) -> float:
        assert self.began is not None
        return self.began + self.call.lasts


@dataclass(slots=True)
class Played:
    """What came of a day; the simulation goes on until the last call has ended."""

    rooms: list[Room]
    workers: list[Worker]
    over: float
    """When the last thing happened, seconds."""
    fleet: list[tuple[float, int, int]] = field(default_factory=list)
    """Each time that the policy was asked: when, slots that are ready, rooms that want one."""

    @property
    def worker_seconds(self) -> float:
        return sum((self.over if w.ended is None else w.ended) - w.asked for w in self.workers)

    @property
    def most_workers(self) -> int:
        steps = [(w.asked, 1) for w in self.workers]
        steps += [(w.ended, -1) for w in self.workers if w.ended is not None]
        most = now = 0
        for _, step in sorted(steps):
            now += step
            most = max(most, now)
        return most


class Fleet:
    """Events by their time; ties by the order in which they were made."""

    def __init__(self, policy: Policy) -> None:
        self._policy = policy
        self._machines: list[Machine] = []
        self._line: deque[Room] = deque()
        self._events: list[tuple[float, int, Callable[[float], None]]] = []
        self._order = count()
        self._living: list[Worker] = []
        self._unheard = 0
        self._waiting = 0
        self._running = 0
        self._played = Played([], [], 0.0)

    def play(self, calls: Sequence[Call]) -> Played:
        for _ in range(self._policy.begins_with):
            self._start(-COLD_START)
        self._played.rooms = [Room(call) for call in calls]
        for room in self._played.rooms:
            self._later(room.call.at, partial(self._arrive, room))
        self._later(0.0, self._decide)
        self._unheard = len(calls)
        while self._events:
            self._played.over, _, happen = heapq.heappop(self._events)
            assert self._played.over < NEVER
            happen(self._played.over)
        return self._played

    def _later(self, at: float, happen: Callable[[float], None]) -> None:
        heapq.heappush(self._events, (at, next(self._order), happen))

    # ---- rooms ----------------------------------------------------------------------------------------

    def _arrive(self, room: Room, now: float) -> None:
        self._unheard -= 1
        self._waiting += 1
        self._line.append(room)
        self._serve(now)
        if room.began is None:
            self._later(now + GIVE_UP_AFTER, partial(self._give_up, room))

    def _serve(self, now: float) -> None:
        """Whoever stands first goes to the worker with most free slots, as LiveKit chooses by load."""
        while self._line:
            if self._line[0].gave_up:
                self._line.popleft()
                continue
            able = [w for w in self._living if not w.draining and w.ready <= now and w.calls < SLOTS]
            if not able:
                return
            room, worker = self._line.popleft(), min(able, key=lambda w: w.calls)
            room.began, room.worker = now, worker
            worker.calls += 1
            self._waiting -= 1
            self._running += 1
            self._later(room.ended, partial(self._hang_up, worker))

    def _hang_up(self, worker: Worker, now: float) -> None:
        worker.calls -= 1
        self._running -= 1
        if worker.draining and not worker.calls:
            self._end(now, worker)
        self._serve(now)

    def _give_up(self, room: Room, now: float) -> None:
        if room.began is None:
            room.gave_up = True
            self._waiting -= 1

    # ---- workers --------------------------------------------------------------------------------------

    def _decide(self, now: float) -> None:
        staying = [w for w in self._living if not w.draining]
        ready = [w for w in staying if w.ready <= now]
        self._played.fleet.append((now, SLOTS * len(ready), self._waiting + self._running))
        seen = Seen(
            now=now,
            active=sum(w.calls for w in staying),
            waiting=self._waiting,
            slots=SLOTS,
            ready=len(ready),
            replicas=len(staying),
        )
        wish = self._policy.replicas(seen)
        if self._unheard or self._waiting or self._running:
            self._later(now + SYNC, self._decide)
        for _ in range(wish - len(staying)):
            self._start(now)
        # Kubernetes ends what is not ready first, and then what came last.
        for worker in sorted(staying, key=lambda w: (w.ready <= now, -w.ready))[
            : max(0, len(staying) - wish)
        ]:
            worker.draining = True
            if not worker.calls:
                self._end(now, worker)

    def _start(self, now: float) -> None:
        self._machines = [m for m in self._machines if m.workers or now - m.empty_since < MACHINE_KEPT]
        with_room = [m for m in self._machines if m.workers < WORKERS_PER_MACHINE]
        machine = max(with_room, key=lambda m: m.workers) if with_room else Machine()
        takes = WARM_START if with_room else COLD_START
        if not with_room:
            self._machines.append(machine)
        machine.workers += 1
        worker = Worker(asked=now, ready=now + takes, machine=machine)
        self._living.append(worker)
        self._played.workers.append(worker)
        self._later(worker.ready, self._serve)

    def _end(self, now: float, worker: Worker) -> None:
        worker.ended = now
        worker.machine.workers -= 1
        worker.machine.empty_since = now
        self._living.remove(worker)
