"""Who calls on a day, and for how long: the same calls for every policy."""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from dataclasses import dataclass

DAY = 86_400.0
HOUR = 3600.0
MEDIAN_CALL, SPREAD = 180.0, 0.9
"""Lognormal, mean 270 s. Seconds."""
LONGEST_CALL = 3000.0
"""Below the drain's time-out: no policy cuts a call, all differ in who waits and what it costs."""


@dataclass(frozen=True, slots=True)
class Call:
    at: float
    """Seconds from midnight."""
    lasts: float


@dataclass(frozen=True, slots=True)
class Day:
    name: str
    rate: Callable[[float], float]
    """Calls a second at a time of the day."""
    most: float
    """That the rate never exceeds."""


def tuesday(t: float) -> float:
    """Three calls an hour at night; a hump before noon and one after."""
    return 3 / HOUR + 0.45 * _hump(t, 10.5, 1.5) + 0.40 * _hump(t, 15.0, 1.8) + 0.06 * _hump(t, 19.5, 1.2)


def monday(t: float) -> float:
    """Everybody calls after the weekend, and at 9:00 a mail goes out to all customers."""
    since = t - 9 * HOUR
    mail = 1.5 * math.exp(-since / 600) * (1 - math.exp(-since / 60)) if since > 0 else 0.0
    return 3 / HOUR + 1.3 * (tuesday(t) - 3 / HOUR) + mail


DAYS = (Day("tuesday", tuesday, 0.6), Day("monday", monday, 2.2))


def calls(day: Day, seed: int) -> list[Call]:
    """A Poisson process of that rate, by thinning. Same seed, same calls."""
    chance = random.Random(f"{day.name} {seed}")
    found: list[Call] = []
    t = chance.expovariate(day.most)
    while t < DAY:
        if chance.random() * day.most < day.rate(t):
            length = chance.lognormvariate(math.log(MEDIAN_CALL), SPREAD)
            found.append(Call(t, min(length, LONGEST_CALL)))
        t += chance.expovariate(day.most)
    return found


def _hump(t: float, hour: float, width: float) -> float:
    return math.exp(-0.5 * ((t / HOUR - hour) / width) ** 2)
