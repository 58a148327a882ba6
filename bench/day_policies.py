"""What decides about the number of workers: nobody, Kubernetes' HPA, or KEDA with an HPA behind it. By their
documented rules and defaults: a sync each 15 s, a tolerance of 10 %, at most doubled or four more in 15 s,
and down only to the highest wish of the last 5 minutes.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

from gateway.keeper.scaling import wanted_workers

SYNC = 15.0
TOLERANCE = 0.1
STABILIZATION = 300.0
POLLING, COOLDOWN = 30.0, 300.0
"""KEDA's: how often it looks whether to leave zero, and how long nothing must be wanted to go back."""
CPU_TARGET = 0.7
CPU_IDLE = 0.05
"""What a worker without calls takes of the CPU that it requests."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """What was scraped last."""

    now: float
    active: int
    """Calls in workers that do not drain."""
    waiting: int
    slots: int
    """Of one worker."""
    ready: int
    replicas: int
    """Those that start included, those that drain left out."""


class Policy(Protocol):
    name: str
    begins_with: int

    def replicas(self, seen: Seen) -> int:
        """How many workers there shall be; asked every `SYNC` seconds."""
        ...


@dataclass(slots=True)
class Fixed:
    name: str
    begins_with: int

    def replicas(self, seen: Seen) -> int:
        return self.begins_with


Metric = Callable[[Seen], int]
"""How many workers are wanted, as `/metrics` tells it."""


def wanted(buffer: Callable[[Seen], int]) -> Metric:
    """`roomkeeper_wanted_workers`, by Roomkeeper's own formula."""
    return lambda seen: wanted_workers(
        active=seen.active, waiting=seen.waiting, buffer=buffer(seen), slots_per_worker=seen.slots
    )


@dataclass(slots=True, kw_only=True)
class Hpa(ABC):
    name: str
    begins_with: int = 1
    least: int = 1
    _wishes: deque[tuple[float, int]] = field(default_factory=deque)

    def replicas(self, seen: Seen) -> int:
        wish = self._wish(seen)
        self._wishes.append((seen.now, wish))
        while self._wishes[0][0] <= seen.now - STABILIZATION:
            self._wishes.popleft()
        if wish < seen.replicas:
            wish = min(seen.replicas, max(wish for _, wish in self._wishes))
        at_once = max(2 * seen.replicas, seen.replicas + 4)
        return max(self.least, min(wish, at_once))

    @abstractmethod
    def _wish(self, seen: Seen) -> int:
        """What the metric of now asks for."""


@dataclass(slots=True, kw_only=True)
class HpaOnRooms(Hpa):
    """On `roomkeeper_wanted_workers` with an average value of 1."""

    metric: Metric

    def _wish(self, seen: Seen) -> int:
        value = self.metric(seen)
        return seen.replicas if _tolerated(value / seen.replicas) else value


@dataclass(slots=True, kw_only=True)
class HpaOnCpu(Hpa):
    """On CPU utilization, of which the line is no part. A worker that is not ready counts as idle when that
    would add workers."""

    cpu_busy: float = 0.9
    """Of what a worker requests, with all slots taken."""

    def _wish(self, seen: Seen) -> int:
        if not seen.ready:
            return seen.replicas
        usage = seen.ready * CPU_IDLE + (self.cpu_busy - CPU_IDLE) * seen.active / seen.slots
        ratio = usage / seen.ready / CPU_TARGET
        if ratio > 1:
            ratio = max(1.0, usage / seen.replicas / CPU_TARGET)
        return seen.replicas if _tolerated(ratio) else math.ceil(usage / CPU_TARGET)


@dataclass(slots=True)
class Keda:
    """An HPA from 1 up; between 0 and 1 KEDA itself."""

    name: str
    metric: Metric
    begins_with: int = 0
    _hpa: HpaOnRooms = field(init=False)
    _polled: float = -math.inf
    _last_wanted: float = -math.inf

    def __post_init__(self) -> None:
        self._hpa = HpaOnRooms(name=self.name, metric=self.metric)

    def replicas(self, seen: Seen) -> int:
        if seen.now - self._polled >= POLLING:
            self._polled = seen.now
            if self.metric(seen):
                self._last_wanted = seen.now
            elif seen.now - self._last_wanted >= COOLDOWN:
                return 0
            if not seen.replicas:
                return 1 if self._last_wanted == seen.now else 0
        return self._hpa.replicas(seen) if seen.replicas else 0


def _tolerated(ratio: float) -> bool:
    return 1 - TOLERANCE <= ratio <= 1 + TOLERANCE
