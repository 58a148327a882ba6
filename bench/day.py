"""A day's traffic against ways to scale the workers: who waits for an agent, and what it costs. A simulation
in virtual time (`bench.day_fleet`): Tuesday, and a Monday with a mail to all customers at 9:00.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence

from bench.day_fleet import COLD_START, GIVE_UP_AFTER, SLOTS, WARM_START, Fleet, Played
from bench.day_policies import Fixed, HpaOnCpu, HpaOnRooms, Keda, Policy, wanted
from bench.day_traffic import DAY, DAYS, Call, Day, calls
from bench.figures import percentile
from bench.report import Row

NAME = "day"
N = 2
"""Days of each kind, each with a seed of its own; figures are of all together."""
LATE = 2.0
"""Seconds in line after which an agent is late."""

Make = Callable[[], Policy]


async def run(n: int = N) -> tuple[Sequence[Row], Sequence[str]]:
    rows: list[Row] = []
    for day in DAYS:
        days = [calls(day, seed) for seed in range(n)]
        rows += [row(day, make, days) for make in policies(days)]
    return rows, [
        f"virtual time; {SLOTS} slots a worker, ready after {WARM_START:g} s, or {COLD_START:g} s where a"
        " machine must be booted first; calls of 270 s on average",
        f"late_pct: rooms that waited for a slot for more than {LATE:g} s, or were given up (lost) after"
        f" {GIVE_UP_AFTER:g} s",
        "worker_h: workers times hours of one day, those that start or drain included; no policy cuts a call",
    ]


def policies(days: Sequence[Sequence[Call]]) -> Iterator[Make]:
    """The fixed ones know the need in hindsight."""
    most, mean = need(days)
    yield lambda: Fixed("fixed, peak", most)
    yield lambda: Fixed("fixed, mean", mean)
    yield lambda: HpaOnCpu(name="HPA, CPU 70 %")
    yield lambda: HpaOnCpu(name="HPA, CPU, calls a third lighter", cpu_busy=0.6)
    yield lambda: HpaOnRooms(name="HPA, buffer 0", metric=wanted(lambda seen: 0))
    yield lambda: HpaOnRooms(name="HPA, buffer 1", metric=wanted(lambda seen: 1))
    yield lambda: HpaOnRooms(name=f"HPA, buffer {SLOTS}", metric=wanted(lambda seen: SLOTS))
    yield lambda: HpaOnRooms(
        name="HPA, buffer 10 %", metric=wanted(lambda seen: max(1, math.ceil(0.1 * seen.active)))
    )
    yield lambda: HpaOnRooms(
        name="HPA, buffer 25 %", metric=wanted(lambda seen: max(1, math.ceil(0.25 * seen.active)))
    )
    yield lambda: Keda("KEDA, to zero", wanted(lambda seen: 0))


def need(days: Sequence[Sequence[Call]]) -> tuple[int, int]:
    """Workers for as many calls as ever ran at once, and for as many as ran on average."""
    most = running = 0
    for those in days:
        steps = sorted((at, step) for c in those for at, step in ((c.at, 1), (c.at + c.lasts, -1)))
        for _, step in steps:
            running += step
            most = max(most, running)
    seconds = sum(call.lasts for those in days for call in those)
    return math.ceil(most / SLOTS), math.ceil(seconds / DAY / len(days) / SLOTS)


def play(make: Make, those: Sequence[Call]) -> Played:
    return Fleet(make()).play(those)


def row(day: Day, make: Make, days: Sequence[Sequence[Call]]) -> Row:
    played = [play(make, those) for those in days]
    waits = [wait for one in played for wait in waited(one)]
    return {
        "variant": f"{day.name}: {make().name}",
        "n": len(waits),
        "lost": sum(room.gave_up for one in played for room in one.rooms),
        "late_pct": round(100 * sum(wait > LATE for wait in waits) / len(waits), 2),
        "wait_p99_s": round(percentile(waits, 0.99), 1),
        "wait_max_s": round(max(waits), 1),
        "worker_h": round(sum(one.worker_seconds for one in played) / 3600 / len(played), 1),
        "most_workers": max(one.most_workers for one in played),
    }


def waited(played: Played) -> Iterator[float]:
    """Seconds in line of each room."""
    for room in played.rooms:
        yield GIVE_UP_AFTER if room.began is None else room.began - room.call.at
