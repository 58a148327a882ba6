"""A pool without processes: takes jobs from the fake LiveKit through a gate, and has them play their life.

Behaves as `pool.supervisor.Pool` does towards a keeper: the same calls on the gate, the same events in the
same order. A test moves the jobs: `die`, `finish`, `close_session`, ...
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial

import anyio
from anyio.abc import TaskGroup

from pool.ports import Capacity, Gate, JobEventKind, Launch, Listener, Offer, Verdict
from tests.fakes.livekit import FakeLiveKit
from tests.fakes.livekit_parts import Accepted, Answer, Link, Refused, Registration
from tests.fakes.pool_jobs import FakeJob
from tests.fakes.pool_life import Life


class FakePool(Life):
    """Implements `pool.ports.Workers`, and is a worker of the fake LiveKit."""

    def __init__(self, livekit: FakeLiveKit, agent: str = "a", *, slots: int = 4) -> None:
        super().__init__(livekit, agent, slots)
        self._slots = slots
        self._node_id = ""
        self._draining = False
        self._paused = False
        self.registration: Registration | None = None
        self._launches, self._launching = anyio.create_memory_object_stream[Offer](math.inf)
        self.on_end: Callable[[FakeJob, bool], None] = lambda job, kill: None
        """Hears of every job that the keeper ends, before it ends."""
        self.declines = False
        """The user's on_request refuses."""

    def attach(self, gate: Gate, listener: Listener) -> None:
        self._gate, self._listener = gate, listener

    def start(self) -> None:
        """Register with LiveKit."""
        self.registration = self._livekit.register(self)

    async def run(self) -> None:
        """Answer what is launched here, and ask the gate for its confirmation of each job that entered, until
        cancelled."""
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._answer_launches, tasks)
            async for job, what in self._entering:
                tasks.start_soon(self._confirm, job, what)

    async def _answer_launches(self, tasks: TaskGroup) -> None:
        async for offer in self._launching:
            tasks.start_soon(self._answer_launch, offer)

    async def _answer_launch(self, offer: Offer) -> None:
        if isinstance(await self.offered(offer), Accepted):
            await self._awake()
            self._assigned(offer)

    def crash(self) -> None:
        """kill -9 of the whole worker: its jobs die with it, nobody is told."""
        self._dead = True
        if self.registration is not None:
            self.registration.close()
        for job in self.jobs.values():
            job.exited = True
            if job.connection is not None:
                self._livekit.crash(job.connection)
        self.jobs.clear()
        self._of_room.clear()
        self._launched = 0
        self._livekit.on_event.remove(self._hear)

    def close(self) -> None:
        """The worker ends: its jobs are told to, and nobody listens any more to what they tell."""
        self.drain()
        for job in self.jobs.values():
            job.cancelled = True
            if not job.stubborn:
                self._process(job, 0.01, partial(self._leave, job, "CLIENT_INITIATED"))

    def sever(self) -> None:
        """The way from here to LiveKit is cut: for the worker and for all agents."""
        self._severed = True
        if self.registration is not None:
            self.registration.cut_off()
        for job in self.jobs.values():
            if job.connection is not None:
                self._livekit.sever(job.connection)

    def mend(self) -> None:
        """The way is there again."""
        self._severed = False
        if self._dead:
            return
        if self.registration is not None:
            self._livekit.reconnect(self.registration)
        for job in self.jobs.values():
            if job.connection is not None and job.connection.severed:
                self._livekit.mend(job.connection)

    def drain(self) -> None:
        """Take nothing more; what runs goes on."""
        self._draining = True
        self._changed()

    def resize(self, slots: int) -> None:
        """Serve so many calls at once from now on; those that run stay."""
        self._slots = slots
        self._changed()

    # ---- pool.ports.Workers -------------------------------------------------------------------------

    @property
    def agent(self) -> str:
        return self._agent

    def capacity(self) -> Capacity:
        running = self._launched
        return Capacity(
            slots=self._slots,
            running=running,
            starting=len(self.jobs) - running,
            warm=self._warm,
            node_id=self._node_id,
            draining=self._draining,
            paused=self._paused,
        )

    def runs(self, job_id: str) -> bool:
        return job_id in self.jobs

    def inside(self) -> list[str]:
        return [
            job_id
            for job_id, job in self.jobs.items()
            if job.launched and (job.connection is None or job.connection.link is not Link.LEFT)
        ]

    def launch(self, launch: Launch) -> bool:
        if not self.capacity().free:
            return False
        offer = Offer(
            job_id=self._livekit.new_job_id(),
            dispatch_id="",
            room=launch.room,
            sid=launch.sid,
            agent=self._agent,
            attributes=launch.attributes,
            metadata=launch.metadata,
            looked_at=launch.looked_at,
        )
        self._take(offer)
        self._launches.send_nowait(offer)
        return True

    def end(self, job_id: str, *, kill: bool = False) -> None:
        self._supervise(partial(self._end_job, job_id, kill))

    def pause(self, paused: bool) -> None:
        if paused is not self._paused:
            self._paused = paused
            self._changed()

    def _end_job(self, job_id: str, kill: bool) -> None:
        job = self.jobs.get(job_id)
        if job is None:
            return
        self.on_end(job, kill)
        job.cancelled = True
        if kill:
            self._livekit.after(0.001, partial(self.die, job))
        elif job.launched and not job.stubborn:
            self._process(job, 0.01, partial(self._leave, job, "CLIENT_INITIATED"))

    def _changed(self) -> None:
        capacity = self.capacity()
        if self.registration is not None:
            used = capacity.running + capacity.starting
            full = used >= self._slots or capacity.warm <= 0 or self._draining or self._paused
            self.registration.load = 1.0 if full else used / self._slots * 0.35
        self._listener.on_capacity(capacity)

    # ---- the fake LiveKit's worker ------------------------------------------------------------------

    async def offered(self, offer: Offer) -> Answer:
        await self._awake()
        if self._draining:
            self._drop(offer.job_id)
            return Refused(terminate=False)
        job = self.jobs.get(offer.job_id) or self._take(offer)
        verdict = await self._gate.claim(offer)
        if verdict is Verdict.GRANTED:
            if self.timing.answer:
                await anyio.sleep(self.timing.answer)
                await self._awake()
            if self.declines:
                self._end(job, JobEventKind.DECLINED)
                return Refused(terminate=True)
            if await self._gate.identify(offer.job_id, job.identity):
                return Accepted()
        self._drop(offer.job_id)
        self._changed()
        return Refused(terminate=verdict is not Verdict.UNKNOWN)

    def assigned(self, offer: Offer, identity: str) -> None:
        self._supervise(partial(self._assigned, offer))

    def _assigned(self, offer: Offer) -> None:
        job = self.jobs.get(offer.job_id)
        if job is not None:
            self._livekit.after(self.timing.launch, partial(self._supervise, partial(self._launch, job)))

    def unassigned(self, offer: Offer) -> None:
        self._supervise(partial(self._unassigned, offer))

    def _unassigned(self, offer: Offer) -> None:
        job = self.jobs.get(offer.job_id)
        if job is not None and not job.launched:
            self._end(job, JobEventKind.UNASSIGNED)

    def terminated(self, job_id: str) -> None:
        self._supervise(partial(self._end_job, job_id, False))

    def registered(self, node_id: str) -> None:
        self._supervise(partial(self._registered, node_id))

    def _registered(self, node_id: str) -> None:
        self._node_id = node_id
        self._changed()
