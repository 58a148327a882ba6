"""Asks the processes with a job, every now and then, whether their event loop still turns.

One that does not answer is deaf, and nobody else notices: LiveKit's connection lives in native threads. It is
ended, and its room gets another agent.
"""

from __future__ import annotations

import math

import anyio
import structlog

from pool.jobs import Jobs
from pool.metrics import PoolMetrics

log = structlog.get_logger(__name__)

ASK_EVERY = 2.5
"""Seconds, as livekit-agents itself."""


class RollCall:
    """Counts questions, not time: while this process stands still it asks none, and blames nobody."""

    def __init__(self, jobs: Jobs, metrics: PoolMetrics, *, patience: float) -> None:
        """`patience`: seconds without an answer after which a process is ended."""
        self._jobs = jobs
        self._metrics = metrics
        self._most = max(1, math.ceil(patience / ASK_EVERY))
        self._unanswered: dict[str, int] = {}

    async def run(self) -> None:
        """Ask until cancelled."""
        while True:
            await anyio.sleep(ASK_EVERY)
            self.call()

    def call(self) -> None:
        """Judge the last question's answers, and ask again."""
        silent = self._jobs.silent()
        self._unanswered = {job_id: self._unanswered.get(job_id, 0) + 1 for job_id in silent}
        for job_id, times in self._unanswered.items():
            if times >= self._most:
                self._metrics.unresponsive.inc(times == self._most)  # should it not end at once
                self._jobs.kill_silent(job_id, f"it has not answered for {times * ASK_EVERY:g} s")
        self._jobs.ask_all()
