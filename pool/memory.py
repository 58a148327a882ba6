"""Weighs the processes of the pool: told as metrics, warned of, and, above a limit, ended.

PSS divides what processes share among them: their sum is what the machine has given. Reading it takes the
kernel some milliseconds for each process: in a thread.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import anyio.to_thread
import psutil
import structlog

from pool import compat
from pool.jobs import Jobs
from pool.metrics import PoolMetrics

log = structlog.get_logger(__name__)

LOOK_EVERY = 5.0
"""Seconds between two looks: a process may be above its limit for so long."""
KINDS = ("gateway", "forkserver", "warm", "job")


@dataclass(frozen=True, slots=True)
class Limits:
    """Bytes for one job process; 0 for none."""

    warn: int = 0
    end: int = 0


def pss(pid: int) -> int | None:
    """Bytes; None for a process that is gone. Where the system tells no PSS: what it has for itself (USS)."""
    try:
        memory = psutil.Process(pid).memory_full_info()
    except psutil.Error:
        return None
    return int(getattr(memory, "pss", 0) or getattr(memory, "uss", 0) or memory.rss)


class Scales:
    """Job processes, the server that forks them, and this process itself."""

    def __init__(self, jobs: Jobs, metrics: PoolMetrics, limits: Limits) -> None:
        self._jobs = jobs
        self._metrics = metrics
        self._limits = limits
        self._warned: set[int] = set()
        self._ended: set[int] = set()

    async def run(self) -> None:
        """Weigh them now and again, until cancelled."""
        while True:
            try:
                await self.weigh()
            except Exception:  # this task's root: the next look may do better
                log.exception("processes_not_weighed")
            await anyio.sleep(LOOK_EVERY)

    async def weigh(self) -> None:
        kinds = {os.getpid(): "gateway", **dict.fromkeys(compat.forkserver_pids(), "forkserver")}
        kinds |= {pid: "job" if busy else "warm" for pid, busy in self._jobs.processes().items()}
        weights = await anyio.to_thread.run_sync(_weigh, list(kinds))
        for kind in KINDS:
            of_kind = [weights[pid] for pid in weights if kinds[pid] == kind]
            self._metrics.processes.labels(kind).set(len(of_kind))
            self._metrics.memory.labels(kind).set(sum(of_kind))
        self._judge({pid: weights[pid] for pid in weights if kinds[pid] in {"warm", "job"}})

    def _judge(self, weights: Mapping[int, int]) -> None:
        self._warned &= weights.keys()
        self._ended &= weights.keys()
        for pid, weight in weights.items():
            if self._limits.end and weight > self._limits.end:
                self._metrics.memory_exceeded.inc(pid not in self._ended)
                self._ended.add(pid)
                self._jobs.kill_process(pid, f"it has {_mb(weight)} of memory, above ROOMKEEPER_MEMORY_LIMIT")
            elif self._limits.warn and weight > self._limits.warn and pid not in self._warned:
                self._warned.add(pid)
                log.warning("job_process_is_large", pid=pid, memory=_mb(weight), **self._jobs.whose(pid))


def _weigh(pids: Iterable[int]) -> dict[int, int]:
    return {pid: weight for pid in pids if (weight := pss(pid)) is not None}


def _mb(size: int) -> str:
    return f"{size / 1e6:.0f} MB"
