"""The pool by itself: how soon an assigned job begins, a burst on half as many warm processes, jobs a second,
what idling costs. Beside it: webhooks while jobs come and go.

Both sides run the same agent, which joins its room and ends its job. The stock worker is tuned by hand: four
processes warm, and never full, so that it drops nothing.
"""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import Sequence
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass, field

import aiohttp
import psutil
from livekit import api

from bench import clock
from bench.clock import Clock
from bench.events import KEY, PATH, SECRET, participant_joined
from bench.figures import percentile
from bench.report import Row
from bench.sides import Ours, Side, ours, settle, stock
from tests.live.agents.clocked import WARM

NAME = "pool"
N = 80
"""Jobs of each kind for each side."""
ROUNDS = 4
"""In so many turns the sides are measured for jobs a second: the machine is not equally busy all the time."""
MODULE = "tests.live.agents.clocked"
SLOTS = 8
BURST = 8
AT_ONCE = 4
"""Jobs under way, for jobs a second."""
TIMEOUT = 15.0
"""Seconds after which a job is lost."""
REST = 0.3
"""Seconds between two jobs, in which the next process gets warm."""
IDLE_FOR = 20.0
WEBHOOKS_A_SECOND, JOBS_A_SECOND, WEBHOOKS_FOR = 200, 5, 10.0
_rooms = itertools.count(1)


@dataclass
class Tally:
    starts: list[float] = field(default_factory=list)
    """Seconds from the assignment to the entrypoint, one job after the other."""
    bursts: list[float] = field(default_factory=list)
    """Seconds from the calls to the last entrypoint."""
    burst_lost: int = 0
    served: int = 0
    served_in: float = 0.0
    """Seconds."""
    idle: float = 0.0
    lost: int = 0


async def run(n: int = N) -> tuple[Sequence[Row], Sequence[str]]:
    async with clock.running() as watch:
        rows = await _both(n, watch)
        env = {"LIVEKIT_KEYS": f"{KEY}: {SECRET}"}
        async with ours(slots=SLOTS, module=MODULE, warm=WARM, env=env) as side:
            await asyncio.sleep(5)
            rows.append(await _webhooks(side, watch))
    return rows, [
        f"warm_start: from LiveKit's assignment to the entrypoint, one job after the other, {WARM} warm",
        f"burst: {BURST} calls at once on {WARM} warm, until the last entrypoint; median, one that never came"
        f" counts as {TIMEOUT:g} s",
        f"jobs_per_s: {AT_ONCE} under way at any time, each until its agent has left its room; lost after"
        f" {TIMEOUT:g} s",
        f"idle: both sides at the same time, {IDLE_FOR:g} s, of one core; ours with its gateway and keeper",
        f"ours_webhooks: alone, {WEBHOOKS_A_SECOND} webhooks a second with {JOBS_A_SECOND} jobs a second, as"
        " their sender sees it",
    ]


async def _both(n: int, watch: Clock) -> list[Row]:
    async with AsyncExitStack() as stack:
        sides: list[Side] = [
            await stack.enter_async_context(ours(slots=SLOTS, module=MODULE, warm=WARM)),
            await stack.enter_async_context(stock(module=MODULE)),
        ]
        await asyncio.gather(*(side.warm(WARM) for side in sides))
        tallies = {side.name: Tally() for side in sides}
        await _idle(sides, tallies)
        for turn in range(n):
            for side in sides if turn % 2 else reversed(sides):
                await _one(side, watch, tallies[side.name])
        for turn in range(max(1, n // BURST)):
            for side in sides if turn % 2 else reversed(sides):
                await _burst(side, watch, tallies[side.name])
        for turn in range(ROUNDS):
            for side in sides if turn % 2 else reversed(sides):
                await _many(side, watch, tallies[side.name], max(AT_ONCE, n // ROUNDS))
        return [_row(name, n, tally) for name, tally in tallies.items()]


async def _idle(sides: Sequence[Side], tallies: dict[str, Tally]) -> None:
    await asyncio.sleep(5)
    before = {side.name: _cpu(side) for side in sides}
    await asyncio.sleep(IDLE_FOR)
    for side in sides:
        tallies[side.name].idle = (_cpu(side) - before[side.name]) / IDLE_FOR


def _cpu(side: Side) -> float:
    total = 0.0
    for process in side.processes():
        with suppress(psutil.NoSuchProcess):
            times = process.cpu_times()
            total += times.user + times.system
    return total


async def _one(side: Side, watch: Clock, tally: Tally) -> None:
    async with side.site.api() as livekit:
        room = await _room(livekit)
        await side.call(room)
        start = await watch.start(room, timeout=TIMEOUT)
        if start is None or not await watch.left(room, timeout=TIMEOUT):
            tally.lost += 1
        else:
            tally.starts.append(start.entered - start.assigned)
        await _end(side, livekit, room)


async def _burst(side: Side, watch: Clock, tally: Tally) -> None:
    await asyncio.sleep(3)  # as many are warm again as should be
    async with side.site.api() as livekit:
        rooms = [await _room(livekit) for _ in range(BURST)]
        began = time.time()
        await asyncio.gather(*(side.call(room) for room in rooms))
        starts = await asyncio.gather(*(watch.start(room, timeout=TIMEOUT) for room in rooms))
        tally.burst_lost += starts.count(None)
        tally.bursts.append(max(s.entered - began if s is not None else TIMEOUT for s in starts))
        await asyncio.gather(*(watch.left(room, timeout=TIMEOUT) for room in rooms))
        await _end(side, livekit, *rooms)


async def _many(side: Side, watch: Clock, tally: Tally, n: int) -> None:
    await asyncio.sleep(3)
    turns = iter(range(n))
    served = 0
    began = time.monotonic()

    async def hand() -> None:
        nonlocal served
        async with side.site.api() as livekit:
            for _ in turns:
                room = await _room(livekit)
                await side.call(room)
                left = await watch.left(room, timeout=TIMEOUT)
                served += left  # not in one with the await: hands work side by side
                await livekit.room.delete_room(api.DeleteRoomRequest(room=room))

    await asyncio.gather(*(hand() for _ in range(AT_ONCE)))
    await settle(side)
    tally.served += served
    tally.served_in += time.monotonic() - began
    tally.lost += n - served


async def _webhooks(side: Ours, watch: Clock) -> Row:
    """What webhooks wait while jobs come and go."""
    count = int(WEBHOOKS_A_SECOND * WEBHOOKS_FOR)
    events = [participant_joined(f"nobody-wants-{number}") for number in range(count)]
    took: list[float] = []
    lost = 0
    async with aiohttp.ClientSession(side.url, timeout=aiohttp.ClientTimeout(TIMEOUT)) as client:
        began = time.monotonic()

        async def send(number: int) -> None:
            nonlocal lost
            await asyncio.sleep(began + number / WEBHOOKS_A_SECOND - time.monotonic())
            authorization, body = events[number]
            sent = time.monotonic()
            async with client.post(PATH, data=body, headers={"authorization": authorization}) as answer:
                took.append(time.monotonic() - sent)
                lost += answer.status != 200

        async def job(number: int) -> None:
            nonlocal lost
            await asyncio.sleep(began + number / JOBS_A_SECOND - time.monotonic())
            room = f"pool-webhooks-{next(_rooms)}"
            await side.call(room)
            started = await watch.start(room, timeout=TIMEOUT)
            lost += started is None

        jobs = int(JOBS_A_SECOND * WEBHOOKS_FOR)
        await asyncio.gather(*map(send, range(count)), *map(job, range(jobs)))
    return {
        "variant": "ours_webhooks",
        "n": count + jobs,
        "lost": lost,
        "webhook_p50_ms": round(1000 * percentile(took, 0.5), 1),
        "webhook_p99_ms": round(1000 * percentile(took, 0.99), 1),
    }


async def _room(livekit: api.LiveKitAPI) -> str:
    room = f"pool-{next(_rooms)}"
    await livekit.room.create_room(api.CreateRoomRequest(name=room))
    return room


async def _end(side: Side, livekit: api.LiveKitAPI, *rooms: str) -> None:
    for room in rooms:
        with suppress(api.TwirpError):
            await livekit.room.delete_room(api.DeleteRoomRequest(room=room))
    await settle(side)
    await asyncio.sleep(REST)


def _row(name: str, n: int, tally: Tally) -> Row:
    return {
        "variant": name,
        "n": n,
        "lost": tally.lost + tally.burst_lost,
        "warm_start_p50_ms": round(1000 * percentile(tally.starts, 0.5), 1),
        "warm_start_p90_ms": round(1000 * percentile(tally.starts, 0.9), 1),
        "burst_p50_ms": round(1000 * percentile(tally.bursts, 0.5)),
        "burst_lost": tally.burst_lost,
        "jobs_per_s": round(tally.served / tally.served_in, 2),
        "idle_cpu_pct": round(100 * tally.idle, 1),
    }
