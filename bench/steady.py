"""Requests at a steady rate, whatever the answers take: who must wait is not asked less often."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence

from bench.figures import latencies_ms, percentile
from bench.report import Row

LOST = 0.0
"""What a request took that got no answer, or the wrong one."""


async def at_rate(rate: float, seconds: float, ask: Callable[[int], Awaitable[bool]]) -> list[float]:
    """Seconds that each request took, or `LOST`. `ask` gets its number, and tells whether it was answered."""
    took: list[float] = []

    async def one(number: int) -> None:
        began = time.monotonic()
        took.append(time.monotonic() - began if await ask(number) else LOST)

    async with asyncio.TaskGroup() as tasks:
        began = time.monotonic()
        for number in range(int(rate * seconds)):
            await asyncio.sleep(max(0.0, began + number / rate - time.monotonic()))
            tasks.create_task(one(number))
    return took


def row_of(variant: str, took: Sequence[float]) -> Row:
    answered = [seconds for seconds in took if seconds != LOST]
    return {
        "variant": variant,
        "n": len(took),
        "lost": len(took) - len(answered),
        **latencies_ms(answered),
        "p99_ms": round(1000 * percentile(answered, 0.99), 1) if answered else None,
    }
