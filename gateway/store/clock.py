"""Clocks: this process's own, and another one's as seen from here. Neither ever goes backwards."""

from __future__ import annotations

import time
from collections import deque

from gateway.keeper.ports import Clock
from pool.clock import uptime

SAMPLES = 16
"""Looks at the other clock among which the quickest one counts: 8 s of heartbeats."""
DRIFT = 0.0005
"""Seconds per second by which two sound clocks may part."""
STEP = 20.0
"""Seconds by which a clock must be off for it to have been set: more than any look can be wrong."""
BELIEVED_AFTER = 5.0


def steady_clock() -> Clock:
    """Seconds since the epoch as this process saw them at its start, never set back afterwards."""
    offset = time.time() - uptime()
    return lambda: offset + uptime()


class FollowedClock:
    """Another machine's clock, reckoned from looks at it, the first of which makes it.

    A look's error is at most half its round trip, so of the last ones the quickest counts. A clock that was
    set by a lot is believed after a while only: mostly it is set right again (`RedisStore.beat`). When the
    other clock was set back, this one goes at half its pace until the other has caught up: no time comes
    twice.
    """

    def __init__(self, began: float, ended: float, other: float, source: Clock = uptime) -> None:
        self._source = source
        self._looks: deque[tuple[float, float, float]] = deque(maxlen=SAMPLES)
        self._offset = other - (began + ended) / 2
        self._set_at: float | None = None
        """Since when the other clock has been off by more than a step."""
        self._turned_at = source()
        self._turned_from = self._turned_at + self._offset
        self.looked(began, ended, other)

    def __call__(self) -> float:
        now = self._source()
        return max(now + self._offset, self._turned_from + (now - self._turned_at) / 2)

    def looked(self, began: float, ended: float, other: float) -> None:
        """The other clock showed `other` at some time between `began` and `ended`, both on our `source`."""
        offset, error = other - (began + ended) / 2, (ended - began) / 2
        if abs(offset - self._offset) < STEP:
            self._set_at = None
        elif self._set_at is None or ended - self._set_at < BELIEVED_AFTER:
            self._set_at = ended if self._set_at is None else self._set_at
            return

        def wrong_by(look: tuple[float, float, float]) -> float:
            return look[2] + DRIFT * (ended - look[0])

        # One that cannot be true beside the newest was before the clock was set, or on another machine.
        agreeing = [look for look in self._looks if abs(look[1] - offset) <= error + wrong_by(look)]
        self._looks.clear()
        self._looks.extend([*agreeing, (ended, offset, error)])
        self._turned_from, self._turned_at = self(), self._source()
        self._offset = min(self._looks, key=wrong_by)[1]
