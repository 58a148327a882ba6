"""Virtual time, and the same course of things for the same seed. Knows nothing of what is simulated."""

from __future__ import annotations

import heapq
import itertools
import logging
import math
import random
import sys
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any, TypeVar
from unittest.mock import patch

import structlog
import trio
import trio.abc
from structlog.types import EventDict

T = TypeVar("T")

EPOCH = 1_800_000_000.0
"""Far from 0, which means "never" in wants."""


class JumpClock(trio.abc.Clock):
    """As trio's autojump clock, in half the turns of the loop: it jumps as soon as it is asked how long to
    wait. Its `sleep` stands in for anyio's, at a third of the cost: most of what a history does is to wait.

    Only for programs without threads and sockets.
    """

    def __init__(self) -> None:
        self._now = 0.0
        self._sleepers: list[tuple[float, int, _Sleeper]] = []
        self._ids = itertools.count()

    def start_clock(self) -> None:
        pass

    def current_time(self) -> float:
        return self._now

    def deadline_to_sleep_time(self, deadline: float) -> float:
        sleepers = self._sleepers
        while sleepers and sleepers[0][2].task is None:
            heapq.heappop(sleepers)
        first = min(deadline, sleepers[0][0]) if sleepers else deadline
        if first == math.inf:
            return 0.001  # nobody sleeps: something outside time must come, as at the end of a run
        self._now = max(self._now, first)
        while sleepers and sleepers[0][0] <= self._now:
            if (task := heapq.heappop(sleepers)[2].task) is not None:
                trio.lowlevel.reschedule(task)
        return 0.0

    async def sleep(self, delay: float) -> None:
        if delay <= 0.0:
            await trio.lowlevel.checkpoint()
            return
        sleeper = _Sleeper(trio.lowlevel.current_task())
        heapq.heappush(self._sleepers, (self._now + delay, next(self._ids), sleeper))
        await trio.lowlevel.wait_task_rescheduled(sleeper.cancelled)


class _Sleeper:
    """A task that sleeps; none any more once it was cancelled."""

    __slots__ = ("task",)

    def __init__(self, task: trio.lowlevel.Task | None) -> None:
        self.task = task

    def cancelled(self, raise_cancel: object) -> trio.lowlevel.Abort:
        self.task = None
        return trio.lowlevel.Abort.SUCCEEDED


def wall_clock() -> float:
    """The virtual clock, as seconds since the epoch."""
    return EPOCH + trio.current_time()


def run(seed: int, main: Callable[[], Awaitable[T]]) -> T:
    """Run under virtual time; whatever is drawn by chance follows from the seed."""

    async def entry() -> T:
        return await main()

    clock = JumpClock()
    with _deterministic(seed), patch("anyio.sleep", clock.sleep):
        return trio.run(entry, clock=clock)


@contextmanager
def _deterministic(seed: int) -> Iterator[None]:
    """Chance comes in by three doors: the ids that the keeper makes, the jitter of its retries, and the order
    in which trio runs tasks that are ready together (pytest-trio takes the same two private names)."""
    chance = random.Random(seed)
    numbers = itertools.count(1)
    engine = trio._core._run
    with (
        patch("secrets.token_hex", lambda nbytes=None: f"{next(numbers):04x}"),
        patch("gateway.keeper.workqueue.random", SimpleNamespace(Random=lambda: random.Random(seed))),
        patch.object(engine, "_ALLOW_DETERMINISTIC_SCHEDULING", True),
        patch.object(engine, "_r", chance),
    ):
        yield


swallowed: list[str] = []
"""Exceptions that the gateway has logged and lived on with: each is a defect."""


def quiet() -> None:
    """No log: writing it would take most of the time. What was swallowed is remembered."""
    structlog.configure(
        processors=[remember_swallowed, _drop],
        wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR),
        cache_logger_on_first_use=True,
    )


def remember_swallowed(logger: Any, method: str, event: EventDict) -> EventDict:
    if event.get("exc_info"):
        swallowed.append(f"{event['event']}: {sys.exc_info()[1]!r}")
    return event


def _drop(logger: Any, method: str, event: EventDict) -> EventDict:
    raise structlog.DropEvent
