"""kill -9 of the job's process with a person in the room, to the next agent's track at that person.

`stock` never recovers (fact 12): its rooms are waited for a bounded time and counted as lost.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Sequence

from bench.report import Row
from bench.sides import Side, clear, ours, seconds_to_track, stock
from bench.time_to_agent import Tally, row
from tests.live.clients import Person

NAME = "recovery"
N = 20
STOCK_EVERY = 4
"""One stock room for so many of ours: each costs its whole time-out."""
TIMEOUT = 10.0
SLOTS = 4
CALLS = 5


async def run(n: int = N) -> tuple[Sequence[Row], Sequence[str]]:
    theirs = max(1, n // STOCK_EVERY)
    async with contextlib.AsyncExitStack() as stack:
        our_side = await stack.enter_async_context(ours(slots=SLOTS))
        direct_side = await stack.enter_async_context(ours(slots=SLOTS, lane="direct"))
        stock_side = await stack.enter_async_context(stock())
        our_tally, direct_tally, stock_tally = Tally(), Tally(), Tally()
        for turn in range(n):
            await one_room(our_side, our_tally)
            await one_room(direct_side, direct_tally)
            if turn % STOCK_EVERY == 0 and turn // STOCK_EVERY < theirs:
                await one_room(stock_side, stock_tally)
    rows = [
        row("ours", n, our_tally),
        row("direct", n, direct_tally),
        row("stock", theirs, stock_tally),
    ]
    return rows, [f"from the kill to the next agent's track subscribed; lost after {TIMEOUT:g} s"]


async def one_room(side: Side, tally: Tally) -> None:
    room = side.site.room(NAME)
    side.observer.watch(room)
    async with side.site.person(room) as person:
        await an_agent(side, person)
        victim = person.tracks[-1].identity
        (process,) = side.jobs()
        killed_at = time.monotonic()
        process.kill()
        try:
            track = await person.agent_track(other_than=victim, since=killed_at, timeout=TIMEOUT)
            tally.served.append(track.at - killed_at)
        except AssertionError:
            recovered = side.observer.agents(room) - {victim}
            tally.client_missed += bool(recovered)
            tally.lost += not recovered
    tally.doubled += side.observer.ever_two(room)
    await clear(side, room)


async def an_agent(side: Side, person: Person) -> None:
    """Bring an agent to kill; a stock worker may lose that call too (fact 3), which is not counted."""
    for _ in range(CALLS):
        if await seconds_to_track(side, person, timeout=TIMEOUT) is not None:
            return
    raise RuntimeError(f"{side.name}: no agent to kill: {side.observer.describe(person.room_name)}")
