"""Whether this worker's jobs get into their rooms. One that takes them, and they never join, keeps others
from it.

After some such jobs in a row the worker is distrusted: it takes none for a while, and then one at a time,
until one joins.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import structlog

from pool.metrics import PoolMetrics

log = structlog.get_logger(__name__)

MOST_FAILURES = 3
FIRST_REST, LONGEST_REST = 15.0, 120.0
"""Seconds without a job; doubled with each further one that fails."""


class Trust:
    def __init__(self, metrics: PoolMetrics, *, changed: Callable[[], None]) -> None:
        """`changed` is called when a rest begins or ends."""
        self._metrics = metrics
        self._changed = changed
        self._failures = 0
        self._rests = False

    @property
    def distrusted(self) -> bool:
        """Whether one job at a time is the most, until one joins."""
        return self._failures >= MOST_FAILURES

    def withholds(self, arriving: int) -> bool:
        """Whether no job should be taken now, while so many are on their way into their rooms."""
        return self.distrusted and (self._rests or arriving > 0)

    def joined(self) -> None:
        """A job got into its room."""
        if self.distrusted:
            log.info("worker_trusted_again", failures=self._failures)
        self._failures = 0
        self._tell()

    def failed(self) -> None:
        """A job had its time, or its process crashed, and it never got into its room."""
        self._failures += 1
        if self.distrusted and not self._rests:
            rest = min(LONGEST_REST, FIRST_REST * 2.0 ** min(self._failures - MOST_FAILURES, 10))
            log.error("worker_distrusted", failures=self._failures, for_s=rest)
            self._rests = True
            asyncio.get_running_loop().call_later(rest, self._rested)
        self._tell()

    def _rested(self) -> None:
        self._rests = False
        self._tell()

    def _tell(self) -> None:
        self._metrics.distrusted.set(self.distrusted)
        self._changed()
