"""Timers for a fake world: one task and a heap, however many are set. A hundred thousand rooms have some.

Timers of one moment go off in the order in which they were set, so that a seeded run repeats itself.
"""

from __future__ import annotations

import heapq
import itertools
import math
from collections.abc import Callable

import anyio


class Timers:
    """`run` must be running for a timer to go off; what an action raises ends it."""

    def __init__(self) -> None:
        self._heap: list[tuple[float, int, Callable[[], None]]] = []
        self._ids = itertools.count()
        self._sooner = anyio.Event()
        self._waits_until = math.inf

    def __len__(self) -> int:
        return len(self._heap)

    def after(self, delay: float, action: Callable[[], None]) -> None:
        """Call `action` in `delay` seconds."""
        due = anyio.current_time() + delay
        heapq.heappush(self._heap, (due, next(self._ids), action))
        if due < self._waits_until:
            self._sooner.set()

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            self._fire()
            self._sooner = anyio.Event()
            self._waits_until = self._heap[0][0] if self._heap else math.inf
            with anyio.CancelScope(deadline=self._waits_until):
                await self._sooner.wait()

    def _fire(self) -> None:
        while self._heap and self._heap[0][0] <= anyio.current_time():
            action = heapq.heappop(self._heap)[2]
            action()
