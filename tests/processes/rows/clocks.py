"""Clocks that are wrong: a gateway's against LiveKit's, and Redis' against everybody's (libfaketime)."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from pathlib import Path

from tests.processes.outcome import Outcome
from tests.processes.stage import Setup, stage
from tests.processes.table import row

LIBRARIES = ("/usr/lib/*/faketime/libfaketime.so.1", "/usr/local/lib/faketime/libfaketime.so.1")


def wrong_by(seconds: int) -> Mapping[str, str]:
    """The environment in which a process's wall clock is wrong, and its monotonic one is not."""
    found = [path for pattern in LIBRARIES for path in Path("/").glob(pattern[1:])]
    if not found:
        raise RuntimeError("libfaketime is missing: apt-get install faketime")
    return {"LD_PRELOAD": str(found[0]), "FAKETIME": f"{seconds:+d}s", "FAKETIME_DONT_FAKE_MONOTONIC": "1"}


@row(
    "clock-45s", "two gateways' clocks 45 s fast and slow against LiveKit's: nothing happens", n=12, bounded=4
)
async def clock_a_bit_off(outcome: Outcome) -> None:
    """LiveKit's leeway is 60 s (fact 85)."""
    setup = Setup(replicas=2, redis=True, envs={0: wrong_by(45), 1: wrong_by(-45)})
    async with stage(setup, outcome) as here:
        for number in range(outcome.n):
            room = here.name()
            await here.join(room)
            since = time.monotonic()
            await here.ask(room, first=here.replicas[number % 2])
            await here.heal(room, since=since, limit=10)
            await here.calm([room])
            await here.end(room)


@row("clock-10min", "a gateway's clock 10 min fast, another's slow: not ready, others serve", n=12, bounded=2)
async def clock_far_off(outcome: Outcome) -> None:
    """They say why, take part in nothing, and what was asked of them is served by the third."""
    envs = {0: wrong_by(600), 1: wrong_by(-600)}
    setup = Setup(replicas=3, redis=True, envs=envs, unready=frozenset(envs))
    async with stage(setup, outcome) as here:
        for number in range(outcome.n):
            wrong = here.replicas[number % 2]
            answer = await wrong.http.get("/readyz")
            if answer.status_code != 503 or "clock" not in answer.text:
                outcome.violate("I7", f"/readyz of a gateway 10 min off: {answer.status_code} {answer.text}")
            room = here.name()
            await here.join(room)
            since = time.monotonic()
            await here.ask(room, first=wrong)
            await here.heal(room, since=since, limit=15)
            await here.calm([room])
            await here.end(room)


@row(
    "clock-store",
    "Redis' clock 10 min fast, then slow, against the gateways': nothing happens",
    n=12,
    bounded=2,
)
async def clock_of_the_store(outcome: Outcome) -> None:
    """Times in the store are the store's."""
    for seconds in (600, -600):
        setup = Setup(replicas=2, redis=True, redis_env=wrong_by(seconds))
        async with stage(setup, outcome) as here:
            rooms = await here.serve(2)
            before = here.agents_of(rooms)
            for _ in range(outcome.n // 2):
                room = here.name()
                await here.join(room)
                since = time.monotonic()
                await here.ask(room)
                await here.heal(room, since=since, limit=10)
                await here.end(room)
            await asyncio.sleep(5)
            await here.calm(rooms)
            here.must_be_uncut(rooms, before)
