"""A clock that job processes, the pool and the gateway of one machine share."""

from __future__ import annotations

import time


def uptime() -> float:
    """Seconds since some start. Counts the time that the machine slept, where the system can tell."""
    return time.clock_gettime(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))
