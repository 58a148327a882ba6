"""Who does what in the fake pool, and whether that one stands still: the gateway, which then neither hears
nor tells anything, or a job's process. What they would have done they do when they go on.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import anyio

from tests.fakes.livekit import FakeLiveKit
from tests.fakes.pool_jobs import FakeJob, Frozen


class Steps:
    """A gateway's process and those of its jobs."""

    def __init__(self, livekit: FakeLiveKit) -> None:
        self._livekit = livekit
        self._dead = False
        self._held: list[Callable[[], None]] = []
        self._thawed = anyio.Event()
        self.frozen = Frozen.NOTHING
        self.jobs: dict[str, FakeJob] = {}

    def freeze(self, how_much: Frozen) -> None:
        """SIGSTOP of the gateway, or of all its processes."""
        self.frozen = how_much
        self._thawed = anyio.Event()
        if how_much is Frozen.WHOLE:
            for job in self.jobs.values():
                self._stop(job)

    def thaw(self) -> None:
        """SIGCONT: everything happens that had to wait."""
        self.frozen = Frozen.NOTHING
        self._thawed.set()
        held, self._held = self._held, []
        for action in held:
            self._supervise(action)
        for job in list(self.jobs.values()):
            if not job.frozen:
                self._go_on(job)

    def freeze_job(self, job: FakeJob) -> None:
        """SIGSTOP of one job's process."""
        job.frozen = True
        self._stop(job)

    def thaw_job(self, job: FakeJob) -> None:
        """SIGCONT."""
        job.frozen = False
        if self.frozen is not Frozen.WHOLE:
            self._go_on(job)

    def _stop(self, job: FakeJob) -> None:
        job.pauses += 1
        if job.connection is not None:
            self._livekit.freeze(job.connection)

    def _go_on(self, job: FakeJob) -> None:
        if job.exited:
            return
        if job.connection is not None and job.connection.frozen:
            self._livekit.thaw(job.connection)
        held, job.held = job.held, []
        for action in held:
            self._step(job, action)

    def _process(self, job: FakeJob, delay: float, action: Callable[[], None]) -> None:
        """The job's process does something, so many seconds from now."""
        self._livekit.after(delay, partial(self._step, job, action))

    def _step(self, job: FakeJob, action: Callable[[], None]) -> None:
        if self._dead or job.exited:
            return
        if job.frozen or self.frozen is Frozen.WHOLE:
            job.held.append(action)
        else:
            action()

    def _supervise(self, action: Callable[[], None]) -> None:
        """The gateway's own process does something."""
        if self._dead:
            return
        if self.frozen is not Frozen.NOTHING:
            self._held.append(action)
        else:
            action()

    async def _awake(self) -> None:
        while self.frozen is not Frozen.NOTHING:
            await self._thawed.wait()
