"""Memory of the whole tree with four processes warm and no call: Roomkeeper, its gateway included, and stock.

PSS: what processes share is divided among them, so that their sum is what the machine has given.
"""

from __future__ import annotations

import asyncio
import statistics
from collections.abc import Sequence
from contextlib import AsyncExitStack

from bench.report import Row
from bench.sides import Side, ours, stock
from pool.memory import pss

NAME = "memory"
N = 3
"""Times that each side is started."""
WARM = 4
SETTLE = 10.0
"""Seconds after the last process got warm: allocators give back, imports in threads end."""
AGENTS = {
    "": "tests.live.agents.clocked",
    "_vad": "tests.live.agents.clocked_vad",
    "_shared_vad": "tests.live.agents.clocked_vad",
}
"""By what the variant's name ends in: the agent."""


async def run(n: int = N) -> tuple[Sequence[Row], Sequence[str]]:
    rows = []
    for suffix, module in AGENTS.items():
        sizes: dict[str, list[float]] = {"ours": [], "stock": []}
        for _ in range(n):
            async with AsyncExitStack() as stack:
                env = {"ROOMKEEPER_SHARED_VAD": "1" if suffix == "_shared_vad" else "0"}
                sides: list[Side] = [
                    await stack.enter_async_context(ours(slots=WARM, module=module, env=env)),
                    await stack.enter_async_context(stock(module=module)),
                ]
                await asyncio.gather(*(side.warm(WARM) for side in sides))
                await asyncio.sleep(SETTLE)
                for side in sides:
                    sizes[side.name].append(megabytes(side))
        rows += [_row(name + suffix, of_side, sizes["stock"]) for name, of_side in sizes.items()]
    return rows, [
        f"{WARM} processes warm, no call; LiveKit's server is not counted; medians of {n}",
        "_vad: the agent's setup loads a Silero VAD, as the examples of livekit-agents do",
        "_shared_vad: the same with ROOMKEEPER_SHARED_VAD=1; stock's is the same as before, measured again",
        "stock: livekit-agents' defaults but for the number of warm processes",
    ]


def megabytes(side: Side) -> float:
    return sum(pss(process.pid) or 0 for process in side.processes()) / 1e6


def _row(name: str, sizes: Sequence[float], stock: Sequence[float]) -> Row:
    middle = statistics.median(sizes)
    return {
        "variant": name,
        "n": len(sizes),
        "lost": 0,
        "mb": round(middle),
        "of_stock": round(middle / statistics.median(stock), 2),
    }
