"""How many wait at once for what becomes of a job: each holds a connection."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from gateway.errors import TooManyRequests

MOST = 2000
"""In this process."""
MOST_IN_ONE = 20
"""For one room: a page has one, and one more while it reconnects; several people may be there."""
COME_BACK_AFTER = 2.0


class Listeners:
    def __init__(self) -> None:
        self._of: Counter[str] = Counter()
        self._all = 0

    @contextmanager
    def one(self, room: str, *, if_any: bool = True) -> Iterator[None]:
        """For as long as somebody waits; not `if_any`: nobody does. Raises TooManyRequests."""
        if not if_any:
            yield
            return
        if self._all >= MOST or self._of[room] >= MOST_IN_ONE:
            raise TooManyRequests(
                "Too many wait here at once: ask without waiting, or later.", retry_after=COME_BACK_AFTER
            )
        self._all += 1
        self._of[room] += 1
        try:
            yield
        finally:
            self._all -= 1
            self._of[room] -= 1
            if not self._of[room]:
                del self._of[room]
