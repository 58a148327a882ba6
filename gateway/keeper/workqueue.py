"""The queue of rooms to look at. Knows when and who, not what for.

The contract:

- It holds keys, never events: adding a key that waits already changes nothing, so a storm of webhooks
  about one room is one look.
- A key is in one pair of hands: `get` never returns a key that was not `done` yet. One that is added
  meanwhile comes again right after `done`.
- Every key has a due time; of two due times the earlier one stays.
- `fail` puts a key off, longer each time, with jitter; `succeed` forgets that.
- One reader at a time.
"""

from __future__ import annotations

import heapq
import math
import random
from collections.abc import Callable

import anyio

_FIRST_DELAY = 0.1
_LONGEST_DELAY = 5.0
_OUTDATED = 1000
"""So many entries the heap may hold beside one for each key, before they are thrown out."""


class WorkQueue:
    def __init__(self, clock: Callable[[], float], jitter: random.Random | None = None) -> None:
        self._clock = clock
        self._jitter = jitter or random.Random()  # noqa: S311  (spreads retries, guards nothing)
        self._due: dict[str, float] = {}
        """Waiting keys with their due time. The heap may hold outdated entries; this decides."""
        self._heap: list[tuple[float, str]] = []
        self._in_hand: set[str] = set()
        self._again: dict[str, float] = {}
        """Due times given to keys while they were in hand."""
        self._failures: dict[str, int] = {}
        self._changed = anyio.Event()

    def __len__(self) -> int:
        return len(self._due) + len(self._again)

    @property
    def remembered(self) -> int:
        """Entries that are kept, outdated ones included."""
        return len(self._heap)

    def expects(self, key: str) -> bool:
        """Whether a look at the key is under way, or waits and is due."""
        return key in self._in_hand or self._due.get(key, math.inf) <= self._clock()

    def add(self, key: str, at: float | None = None) -> None:
        """Look at `key` at the time `at` (seconds on the queue's clock), or now."""
        when = self._clock() if at is None else at
        waiting = self._again if key in self._in_hand else self._due
        if waiting.get(key, math.inf) <= when:
            return
        waiting[key] = when
        if waiting is self._due:
            heapq.heappush(self._heap, (when, key))
            if len(self._heap) > 2 * len(self._due) + _OUTDATED:
                self._heap = [(due, waiting_key) for waiting_key, due in self._due.items()]
                heapq.heapify(self._heap)
            self._changed.set()

    async def get(self) -> str:
        """The next key that is due; waits for one. The caller must call `done` with it."""
        while True:
            while self._heap and self._due.get(self._heap[0][1]) != self._heap[0][0]:
                heapq.heappop(self._heap)  # outdated: done meanwhile, or due earlier
            wait = self._heap[0][0] - self._clock() if self._heap else math.inf
            if wait <= 0:
                _, key = heapq.heappop(self._heap)
                del self._due[key]
                self._in_hand.add(key)
                return key
            self._changed = anyio.Event()
            with anyio.move_on_after(wait):
                await self._changed.wait()

    def done(self, key: str) -> None:
        """The key is out of hand; it waits again if it was added meanwhile."""
        self._in_hand.discard(key)
        if (when := self._again.pop(key, None)) is not None:
            self.add(key, when)

    def clear(self) -> None:
        """Forget every key. Those in hand come back only when they are added again."""
        self._due.clear()
        self._again.clear()
        self._heap.clear()
        self._failures.clear()

    def fail(self, key: str) -> float:
        """Put the key off after a look that told nothing. Returns the delay in seconds."""
        failures = self._failures[key] = self._failures.get(key, 0) + 1
        delay = min(_LONGEST_DELAY, _FIRST_DELAY * 2.0 ** min(failures - 1, 10))
        delay *= self._jitter.uniform(0.75, 1.25)
        self.add(key, self._clock() + delay)
        return delay

    def succeed(self, key: str) -> None:
        self._failures.pop(key, None)
