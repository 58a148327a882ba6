"""This replica's own jobs against the store's books: after it was stopped or cut off, after the store lost
its memory, and once in a while. Ends jobs whose room was given to another; tells the store what it lost.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace

import anyio
import structlog

from gateway.keeper.fleet import Fleet
from gateway.keeper.jobs import Jobs
from gateway.keeper.ports import Clock, RowUnreadable, Store, StoreUnavailable
from gateway.keeper.wants import Wants
from gateway.metrics import Metrics
from pool.ports import JobEvent, JobEventKind, Workers

log = structlog.get_logger(__name__)

INTERVAL = 10.0
OFTEN = 1.0
"""Seconds between two rounds of what is small and must not wait."""
AT_ONCE = 100
"""Jobs that are looked up in each interval, in turn: more than most machines have. In doubt: all."""
STORE_RETRY = 0.5


class Audit:
    def __init__(
        self,
        store: Store,
        fleet: Fleet,
        workers: Workers,
        jobs: Jobs,
        wants: Wants,
        show: Callable[[str], None],
        metrics: Metrics,
        clock: Clock,
    ) -> None:
        """`show(room)`: the leader should look at it."""
        self._show = show
        self._store = store
        self._fleet = fleet
        self._workers = workers
        self._jobs = jobs
        self._wants = wants
        self._metrics = metrics
        self._clock = clock
        self._doubt = anyio.Event()
        self._next = 0
        """Whose turn it is."""
        self._rolled_back = False
        """The store may have brought back claims that were released."""
        self._jobless: set[str] = set()
        """Jobs that we were told to end, and do not have."""
        self._away: set[str] = set()
        """Jobs that have lost LiveKit and are not back."""
        self._tell_lost, self._lost = anyio.create_memory_object_stream[str](math.inf)

    def hurry(self) -> None:
        """This replica may have been given up: look at once."""
        self._doubt.set()

    def told_to_end(self, job_id: str) -> None:
        """The leader believes that we have the job."""
        if not self._alive(job_id):
            self._jobless.add(job_id)
            self.hurry()

    async def run(self) -> None:
        """Audit until cancelled."""
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._cut_unsure, name="keeper-audit-unsure")
            tasks.start_soon(self._look_often, name="keeper-audit-often")
            tasks.start_soon(self._audit, name="keeper-audit")

    async def _look_often(self) -> None:
        while True:
            await anyio.sleep(OFTEN)
            if self._fleet.follows:
                # The leader knows better: old copies, put back into a store that lost its own, would be told
                # for a moment. Not where nobody leads: nobody else might know them.
                self._wants.keep_lately(self._clock())
            if self._fleet.cut_off:
                self._doubt_away()

    async def _audit(self) -> None:
        while True:
            with anyio.move_on_after(INTERVAL):
                await self._doubt.wait()
            doubted, self._doubt = self._doubt.is_set(), anyio.Event()
            self._wants.forget_ended(self._clock())
            try:
                await self._end_unclaimed(list(self._workers.inside()) if doubted else self._in_turn())
                await self._give_up_jobless()
            except StoreUnavailable:
                await anyio.sleep(STORE_RETRY)
                self._doubt.set()

    async def restore(self) -> None:
        """The store began a new generation: put back what this replica knows.

        Raises StoreUnavailable.
        """
        held = [(c, w) for c, w in self._jobs.held.values() if self._alive(c.job_id)]
        wants = {want.id: want for _, want in held} | {want.id: want for want in self._wants.known()}
        claims = [claim for claim, _ in held]
        if wants or claims:
            await self._store.restore(list(wants.values()), claims)
            log.warning("store_restored", wants=len(wants), claims=len(claims))
        self._jobs.restored_at = self._clock()
        self._rolled_back = True
        self.hurry()  # somebody else's claim may have been there first

    def cut_if_unsure(self, event: JobEvent) -> None:
        """A job that has lost LiveKit while the store is out of reach, whichever came first: it may come back
        into a room that was given to another meanwhile, and nobody here could tell."""
        match event.kind:
            case JobEventKind.RECONNECTING:
                self._away.add(event.job_id)
                if self._fleet.cut_off:
                    self._doubt_away()
            case JobEventKind.SESSION_CLOSED | JobEventKind.RAISED:
                pass  # it may be away all the same
            case _:
                self._away.discard(event.job_id)

    def _doubt_away(self) -> None:
        for job_id in self._away:
            self._tell_lost.send_nowait(job_id)
        self._away.clear()

    async def _cut_unsure(self) -> None:
        """Ask the store once more: after a pause it is there, and only our heartbeat is old."""
        async for job_id in self._lost:
            try:
                with suppress(RowUnreadable):  # the store answered
                    await self._store.claim_of(job_id)
                self.hurry()
            except StoreUnavailable:
                why = "neither the store nor LiveKit is reachable"
                log.warning("job_cut", livekit_job=job_id, why=why)
                self._metrics.jobs_cut.labels("unsure").inc()
                self._workers.end(job_id, kill=True)

    def _in_turn(self) -> list[str]:
        jobs = list(self._workers.inside())
        begin = self._next % max(1, len(jobs))
        self._next = begin + AT_ONCE
        return [*jobs[begin:], *jobs[:begin]][:AT_ONCE]

    async def _end_unclaimed(self, jobs: list[str]) -> None:
        suspects = [job_id for job_id in jobs if await self._unclaimed(job_id)]
        if not suspects:
            return
        await self._fleet.next_beat()  # should the store have lost the claims, they are back by then
        for job_id in suspects:
            if await self._unclaimed(job_id):
                log.warning("job_cut", livekit_job=job_id, why="its claim is gone")
                self._metrics.jobs_cut.labels("unclaimed").inc()
                self._workers.end(job_id, kill=True)
                if job_id in self._jobs.held:  # what is left of it in the room is a ghost for 20 s (fact 12)
                    self._show(self._jobs.held[job_id][0].room)

    async def _unclaimed(self, job_id: str) -> bool:
        try:
            return await self._store.claim_of(job_id) is None and job_id in self._workers.inside()
        except RowUnreadable:
            return False

    async def _give_up_jobless(self) -> None:
        """A claim of ours without a job: the leader clears up after it."""
        rolled_back, self._rolled_back = self._rolled_back, False
        jobless, self._jobless = self._jobless, set()
        try:
            await self._give_up({*self._jobs.held, *jobless}, rolled_back=rolled_back)
        except BaseException:
            self._rolled_back |= rolled_back
            self._jobless |= jobless
            raise

    async def _give_up(self, ours: set[str], *, rolled_back: bool) -> None:
        if rolled_back:
            ours |= {c.job_id for c in await self._store.all_claims() if c.replica == self._fleet.id}
        for job_id in ours:
            if self._alive(job_id):
                continue
            try:
                claim = await self._store.claim_of(job_id)
            except RowUnreadable:
                continue
            if self._alive(job_id):
                continue
            others = claim is not None and claim.replica != self._fleet.id
            if claim is None or others or await self._store.advance(replace(claim, replica=""), was=claim):
                self._jobs.held.pop(job_id, None)

    def _alive(self, job_id: str) -> bool:
        """It runs, or has told something that is not in the books yet."""
        return self._workers.runs(job_id) or self._jobs.pending(job_id)
