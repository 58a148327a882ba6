"""Figures from samples: percentiles in whole numbers of what was measured, nothing interpolated."""

from __future__ import annotations

import math
from collections.abc import Sequence


def percentile(samples: Sequence[float], share: float) -> float:
    """The nearest-rank percentile: a value that was really seen; raises ValueError without samples."""
    if not samples:
        raise ValueError("no samples")
    ordered = sorted(samples)
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]


def latencies_ms(seconds: Sequence[float]) -> dict[str, int | None]:
    """p50, p90 and max in milliseconds; None where nothing was served."""
    if not seconds:
        return {"p50_ms": None, "p90_ms": None, "max_ms": None}
    return {
        "p50_ms": round(1000 * percentile(seconds, 0.5)),
        "p90_ms": round(1000 * percentile(seconds, 0.9)),
        "max_ms": round(1000 * max(seconds)),
    }
