"""From the call to the agent's audio track at a person who waits in the room, one room after the other.

`ours`: a POST; `direct`: the same by the direct lane; `stock`: a bare `CreateDispatch` to the same agent in a
stock worker. The sides take turns.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Sequence
from dataclasses import dataclass, field

import psutil

from bench.figures import latencies_ms, percentile
from bench.report import Row
from bench.sides import Side, clear, ours, seconds_to_track, stock

NAME = "time_to_agent"
N = 20
TIMEOUT = 10.0
SLOTS = 4
REST = 0.5
"""Seconds between two rooms: both sides have their next process warm again by then."""


@dataclass
class Tally:
    served: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)
    """Seconds of CPU that each job's process took, from the call until it rests."""
    lost: int = 0
    client_missed: int = 0
    doubled: int = 0


async def run(n: int = N) -> tuple[Sequence[Row], Sequence[str]]:
    async with contextlib.AsyncExitStack() as stack:
        sides: list[Side] = [
            await stack.enter_async_context(ours(slots=SLOTS)),
            await stack.enter_async_context(ours(slots=SLOTS, lane="direct")),
            await stack.enter_async_context(stock()),
        ]
        tallies = {side.name: Tally() for side in sides}
        for side in sides:
            await one_room(side, Tally())  # the first call of each side is not counted
        for turn in range(n):
            for side in sides if turn % 2 else reversed(sides):
                await one_room(side, tallies[side.name])
    rows = [{**row(name, n, tally), "cpu_ms": _median_ms(tally.cpu)} for name, tally in tallies.items()]
    return rows, [
        "cpu_ms: what the job's process took to join, publish and beep (median; the system counts by 10 ms)",
        f"from the call to the agent's track subscribed, a person in the room; lost after {TIMEOUT:g} s",
        f"ours, direct: {SLOTS} slots; stock: livekit-agents' defaults",
    ]


async def one_room(side: Side, tally: Tally) -> None:
    room = side.site.room(NAME)
    side.observer.watch(room)
    async with side.site.person(room) as person:
        before = {process.pid: _cpu(process) for process in side.processes()}
        seconds = await seconds_to_track(side, person, timeout=TIMEOUT)
        if seconds is not None:
            tally.served.append(seconds)
        elif side.observer.published(room):
            tally.client_missed += 1  # fact 91: the measuring client's own fault
        else:
            tally.lost += 1
        await asyncio.sleep(REST)
        tally.cpu += [_cpu(process) - before.get(process.pid, 0.0) for process in side.jobs()]
    tally.doubled += side.observer.ever_two(room)
    await clear(side, room)


def _cpu(process: psutil.Process) -> float:
    with contextlib.suppress(psutil.NoSuchProcess):
        times = process.cpu_times()
        return float(times.user + times.system)
    return 0.0


def _median_ms(seconds: Sequence[float]) -> int | None:
    return round(1000 * percentile(seconds, 0.5)) if seconds else None


def row(name: str, n: int, tally: Tally) -> Row:
    return {
        "variant": name,
        "n": n,
        "lost": tally.lost,
        "doubled": tally.doubled,
        "client_missed": tally.client_missed,
        **latencies_ms(tally.served),
    }
