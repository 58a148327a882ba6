"""How many wait at once for what becomes of a job: each holds a connection."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from gateway.errors import TooManyRequests

MOST = 2000
"""In this process."""
MOST_OF_ONE = 20
"""For one job: a page has one, and one more while it reconnects; several people may be in the room."""
COME_BACK_AFTER = 2.0


class Listeners:
    def __init__(self) -> None:
        self._of: Counter[str] = Counter()
        self._all = 0

    @contextmanager
    def one(self, job_id: str) -> Iterator[None]:
        """For as long as somebody waits. Raises TooManyRequests."""
        if self._all >= MOST or self._of[job_id] >= MOST_OF_ONE:
            raise TooManyRequests(
                "Too many wait here at once: ask without waiting, or later.", retry_after=COME_BACK_AFTER
            )
        self._all += 1
        self._of[job_id] += 1
        try:
            yield
        finally:
            self._all -= 1
            self._of[job_id] -= 1
            if not self._of[job_id]:
                del self._of[job_id]
