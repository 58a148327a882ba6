"""A cold start: from the start of the process until `/livez` answers, and until `/readyz` says it can work.

LiveKit runs already, and the files are in the system's cache: the first run is not counted.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Sequence

from bench.report import Row
from tests.live.gateway import Gateway
from tests.live.site import Site

NAME = "cold"
N = 5
MODULE = "tests.live.agents.beeper:server"
TIMEOUT = 30.0
LOOK_EVERY = 0.005


async def run(n: int = N) -> tuple[Sequence[Row], Sequence[str]]:
    site = Site()
    livez: dict[str, list[float]] = {"ours": [], "ours_gateway": []}
    readyz: dict[str, list[float]] = {"ours": [], "ours_gateway": []}
    with site.livekit:
        for turn in range(n + 1):
            for variant in livez:
                role = "gateway" if variant == "ours_gateway" else "all"
                gateway = site.gateway(
                    None if role == "gateway" else MODULE, slots=4, env={"ROOMKEEPER_ROLE": role}
                )
                try:
                    began = time.monotonic()
                    gateway.launch()
                    alive = await _answers(gateway, "/livez", began)
                    ready = await _answers(gateway, "/readyz", began)
                finally:
                    await gateway.close()
                if turn:
                    livez[variant].append(alive)
                    readyz[variant].append(ready)
    return [_row(variant, livez[variant], readyz[variant]) for variant in livez], [
        f"medians of {n} starts",
        "ours: gateway and pool in one process, ready with a warm process; ours_gateway: --role gateway",
    ]


async def _answers(gateway: Gateway, path: str, began: float) -> float:
    """Seconds since `began` until the path answers 200."""
    await gateway.wait_until(path, 200, timeout=TIMEOUT, every=LOOK_EVERY)
    return time.monotonic() - began


def _row(variant: str, livez: Sequence[float], readyz: Sequence[float]) -> Row:
    return {
        "variant": variant,
        "n": len(livez),
        "lost": 0,
        "livez_ms": round(1000 * statistics.median(livez)),
        "ready_ms": round(1000 * statistics.median(readyz)),
        "max_ready_ms": round(1000 * max(readyz)),
    }
