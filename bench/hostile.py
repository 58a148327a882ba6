"""A million requests that must never be accepted, through the whole front door: forged and altered webhooks,
tokens that are wrong or for another room, bodies that are not what they should be, logins of somebody else.

`ours`: how many were tried, let in (2xx) and answered 5xx, and by how much a process grew. Each has a seed of
its own. The keeper behind the door is a fake: it must hear of none.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
import os
import resource
import sys
import time
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor

import structlog

from bench.report import Row
from gateway.environment import read
from tests import hostile
from tests.door import PRODUCTION, door_of
from tests.fakes.livekit import FakeLiveKit
from tests.hostile import status_of

NAME = "hostile"
N = 1_000_000
WARM_UP = 2000
"""Attempts before the process's size is taken."""
KIB = 1024


async def run(n: int = N) -> tuple[Sequence[Row], Sequence[str]]:
    workers = max(1, min(os.cpu_count() or 1, n // WARM_UP))
    loop = asyncio.get_running_loop()
    began = time.monotonic()
    with ProcessPoolExecutor(workers) as pool:
        shares = [loop.run_in_executor(pool, _play, seed, n // workers) for seed in range(workers)]
        found = await asyncio.gather(*shares)
    statuses, let_in = Counter[int](), Counter[str]()
    for statuses_of_one, let_in_by_one, _ in found:
        statuses += statuses_of_one
        let_in += let_in_by_one
    tried = statuses.total()
    row = {
        "variant": "ours",
        "tried": tried,
        "accepted": sum(count for status, count in statuses.items() if status < 400),
        "status_5xx": sum(count for status, count in statuses.items() if status >= 500),
        "peak_mb": max(grown for *_, grown in found),
        "per_s": round(tried / (time.monotonic() - began)),
    }
    notes = [f"answers by status: {dict(sorted(statuses.items()))}"]
    notes += [f"{what}: {count}" for what, count in let_in.most_common(20)]
    return [row], notes


def _play(seed: int, n: int) -> tuple[Counter[int], Counter[str], float]:
    """The statuses, what was not refused with a 4xx, and by how many MB the process grew at most."""
    logging.disable(logging.CRITICAL)
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    return asyncio.run(_attack(seed, n))


async def _attack(seed: int, n: int) -> tuple[Counter[int], Counter[str], float]:
    statuses, let_in = Counter[int](), Counter[str]()
    async with FakeLiveKit(clock=time.time) as world:
        settings = read(
            {**PRODUCTION, "ROOMKEEPER_SITE_SECRET": hostile.SITE, **hostile.UNCOUNTED}, dev=False
        )
        door = door_of(settings, world)
        for number, attempt in enumerate(itertools.islice(hostile.attempts(seed), n)):
            status = await status_of(door.app, attempt)
            await asyncio.sleep(0)  # what was left behind is cleared away by the loop
            statuses[status] += 1
            if not 400 <= status < 500:
                let_in[f"{attempt.what}: {status}"] += 1
            if number == WARM_UP:
                before = _peak_mb()
        let_in.update(f"heard: {heard}" for heard in (*door.keeper.asks, *door.keeper.hints))
        await door.http.aclose()
    return statuses, let_in, round(_peak_mb() - before, 1) if n > WARM_UP else 0.0


def _peak_mb() -> float:
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss  # KiB; bytes on macOS
    return peak / KIB if sys.platform != "darwin" else peak / KIB / KIB
