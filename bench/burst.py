"""40 rooms, 20 at a time, a person waiting in each: who gets an agent, how soon, and who gets two.

Only the calls are measured: all people are in their rooms before the first one. Agents stay until the end.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager
from functools import partial

import psutil

from bench.report import Row
from bench.sides import Side, clear, ours, stock
from bench.time_to_agent import Tally, row
from tests.live.clients import Person

NAME = "burst"
N = 2
"""Rounds of 40 rooms for each side."""
ROOMS = 40
AT_ONCE = 20
TIMEOUT = 30.0
SLOTS = 44
LOOK_EVERY = 0.25
"""Seconds between two looks of the observer at a room: 40 rooms at its usual pace would be load by itself."""


SIDES: dict[str, Callable[[], AbstractAsyncContextManager[Side]]] = {
    "ours": partial(ours, slots=SLOTS),
    "direct": partial(ours, slots=SLOTS, lane="direct"),
    "stock": stock,
    "stock_uncapped": partial(stock, "stock_uncapped", "tests.live.agents.beeper_uncapped"),
}
CALM_SECONDS = 2.0
CALM_PERCENT = 25.0
CALM_TRIES = 10


async def run(n: int = N) -> tuple[Sequence[Row], Sequence[str]]:
    tallies = {name: Tally() for name in SIDES}
    for turn in range(n):
        for name in SIDES if turn % 2 == 0 else reversed(SIDES):
            async with SIDES[name]() as side:
                await one_burst(side, tallies[name])
    rows = [row(name, n * ROOMS, tally) for name, tally in tallies.items()]
    return rows, [
        f"{ROOMS} rooms, {AT_ONCE} calls at a time; lost: no agent within {TIMEOUT:g} s",
        f"ours, direct: {SLOTS} slots, all warm; stock: livekit-agents' defaults (CPU load, threshold 0.7)",
        "client_missed: LiveKit lists the agent's track, the measuring client never got it (fact 91)",
        "stock_uncapped: stock tuned by hand to take all: load always 0, 44 processes warm",
        "percentiles among the served",
    ]


async def one_burst(side: Side, tally: Tally) -> None:
    rooms = side.site.rooms(NAME, ROOMS)
    side.observer.pace(LOOK_EVERY)
    side.observer.watch(*rooms)
    async with contextlib.AsyncExitStack() as stack:
        people = [await stack.enter_async_context(side.site.person(room)) for room in rooms]
        await calm()
        turn = asyncio.Semaphore(AT_ONCE)
        await asyncio.gather(*(one_room(side, person, turn, tally) for person in people))
        tally.doubled += sum(side.observer.ever_two(room) for room in rooms)
    await clear(side, *rooms)


async def calm() -> None:
    """Return when the machine is quiet: for some seconds after joining the clients are busy themselves.

    Both sides would suffer; stock, which sheds by CPU load, would lose the more.
    """
    for _ in range(CALM_TRIES):
        if await asyncio.to_thread(psutil.cpu_percent, CALM_SECONDS) < CALM_PERCENT:
            return


async def one_room(side: Side, person: Person, turn: asyncio.Semaphore, tally: Tally) -> None:
    async with turn:
        since = time.monotonic()
        await side.call(person.room_name)
        try:
            track = await person.agent_track(since=since, timeout=TIMEOUT)
            tally.served.append(track.at - since)
        except AssertionError:
            missed = bool(side.observer.published(person.room_name))
            tally.client_missed += missed
            tally.lost += not missed
