"""Those who wait for a job, or follow it. Asks the store, changes nothing."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable

import anyio

from gateway.keeper.model import Job, State
from gateway.keeper.ports import Clock, StoreUnavailable
from gateway.keeper.wants import Wants

FOLLOWERS_POLL = 0.25
"""Seconds between looks at a want for which somebody waits at a replica that does not lead."""
POLL = 1.0
"""Seconds between looks at a job that somebody follows, while its place in line may change or another replica
leads; and before the next try when the store was away."""
SELDOM = 30.0
"""The same when each change of it is heard of here."""


class Following:
    def __init__(
        self,
        wants: Wants,
        clock: Clock,
        *,
        job: Callable[[str], Awaitable[Job | None]],
        leads: Callable[[], bool],
    ) -> None:
        """`job`: reads one by its id."""
        self._wants = wants
        self._clock = clock
        self._job = job
        self._leads = leads
        self._closing = False

    def close(self) -> None:
        """Answer whoever waits: this process is about to end."""
        self._closing = True
        self._wants.wake_watchers()

    async def wait(self, job_id: str, timeout: float) -> Job | None:
        """The job once it is joined or has ended, else as it is after `timeout` seconds."""
        until = self._clock() + timeout
        while True:
            async with self._wants.watching(job_id) as changed:
                job = await self._job(job_id)
                settled = job is None or job.want.state is State.JOINED or job.want.state.ended
                left = until - self._clock()
                if settled or self._closing or left <= 0:
                    return job
                with anyio.move_on_after(left if self._leads() else min(left, FOLLOWERS_POLL)):
                    await changed.wait()

    async def follow(self, job_id: str) -> AsyncIterator[Job]:
        """The job as it is, and again at each change of what is told of it, until it has ended, or this
        process is about to. While the store is away it is as it was."""
        told: tuple[object, ...] | None = None
        while not self._closing:
            async with self._wants.watching(job_id) as changed:
                try:
                    job = await self._job(job_id)
                except StoreUnavailable:
                    await anyio.sleep(POLL)
                    continue
                if job is None:
                    return  # it is forgotten
                if _told(job) == told:
                    heard_of = self._leads() and job.want.state is not State.WAITING
                    with anyio.move_on_after(SELDOM if heard_of else POLL):
                        await changed.wait()
                    continue
            told = _told(job)
            yield job
            if job.want.state.ended:
                return


def _told(job: Job) -> tuple[object, ...]:
    want = job.want
    return want.state, want.since, want.reason, want.identity, job.place
