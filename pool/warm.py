"""How many processes should be warm: for every free slot, a fixed number, or as many as were needed lately.

A job starts in a warm process within milliseconds, in a new one after some 100. Each costs memory.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from pool.ports import WarmPolicy

WINDOW = 2.0
"""Seconds in which what was taken is warm again, with time to spare."""
REMEMBERED = 600.0
"""Seconds for which the largest burst counts."""


class Warm:
    """`policy`: `all`, `rate`, or a number. `clock` tells seconds, going up."""

    def __init__(self, policy: WarmPolicy, clock: Callable[[], float]) -> None:
        self._policy = policy
        self._clock = clock
        self._launches: deque[float] = deque()
        """Those within the window."""
        self._bursts: deque[tuple[float, int]] = deque()
        """Bursts by time, each smaller than those before it: what came before a larger one counts no more."""

    def launched(self) -> None:
        """A process got a job."""
        now = self._clock()
        self._launches.append(now)
        while self._launches[0] < now - WINDOW:
            self._launches.popleft()
        while self._bursts and self._bursts[-1][1] <= len(self._launches):
            self._bursts.pop()
        self._bursts.append((now, len(self._launches)))

    def wanted(self) -> int:
        """Whatever there are slots for."""
        if self._policy == "all":
            return 1_000_000
        if self._policy != "rate":
            return self._policy
        while self._bursts and self._bursts[0][0] < self._clock() - REMEMBERED:
            self._bursts.popleft()
        return 1 + (self._bursts[0][1] if self._bursts else 0)
