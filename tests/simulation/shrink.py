"""Makes a failing history shorter, as long as it breaks the same promise."""

from __future__ import annotations

import time
from collections.abc import Iterator

from msgspec.structs import replace

from tests.simulation.history import History
from tests.simulation.play import play


def shrink(history: History, broken: list[str], within: float = 60.0) -> History:
    """A history with fewer steps that still breaks what the first one broke. `within`: seconds of real
    time."""
    promise = _promise(broken)
    deadline = time.monotonic() + within
    while (shorter := _one_shorter(history, promise, deadline)) is not None:
        history = shorter
    return history


def _one_shorter(history: History, promise: str, deadline: float) -> History | None:
    for candidate in _candidates(history):
        if time.monotonic() > deadline:
            return None
        outcome = play(candidate)
        if outcome.broken and _promise(outcome.broken) == promise:
            return candidate
    return None


def _candidates(history: History) -> Iterator[History]:
    """Simpler ones: without one half of the steps, without one step, with fewer replicas, with shorter
    faults."""
    steps = list(history.steps)
    if len(steps) > 3:
        middle = len(steps) // 2
        yield replace(history, steps=steps[:middle])
        yield replace(history, steps=steps[middle:])
    for left_out in range(len(steps) - 1, -1, -1):
        yield replace(history, steps=steps[:left_out] + steps[left_out + 1 :])
    if history.linger:
        yield replace(history, linger=0.0)
    if history.direct:
        yield replace(history, direct=False)
    if history.replicas > 1:
        yield replace(history, replicas=history.replicas - 1)
    for number, step in enumerate(steps):
        if step.lasts > 1.0:
            shorter = replace(step, lasts=round(step.lasts / 2, 3))
            yield replace(history, steps=[*steps[:number], shorter, *steps[number + 1 :]])


def _promise(broken: list[str]) -> str:
    """Which promise it was: the first word of the first complaint."""
    return broken[0].split()[0]
