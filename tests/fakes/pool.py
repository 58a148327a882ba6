"""A pool without processes: takes jobs from the fake LiveKit through a gate, and plays their life.

Behaves as `pool.supervisor.Pool` does towards a keeper: the same calls on the gate, the same events in the
same order. A test moves the jobs: `die`, `finish`, `close_session`, ... Two can stand still: the gateway,
which then neither hears nor tells anything, and a job's process; what they would have done they do when they
go on.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from functools import partial

import anyio
from anyio.abc import TaskGroup

from gateway.livekit.webhooks import Event
from pool.ports import Capacity, Gate, JobEvent, JobEventKind, Launch, Listener, Offer, Verdict
from tests.fakes.livekit import FakeLiveKit
from tests.fakes.livekit_parts import Accepted, Answer, Connection, Link, Refused, Registration
from tests.fakes.pool_jobs import FakeJob, Frozen, Timing

SESSION_NOTICES_AFTER = 3.0  # fact 82
_TOLD_BY_THE_JOB = frozenset(
    {
        *(JobEventKind.ENTERED, JobEventKind.CONNECTED, JobEventKind.OPEN, JobEventKind.SESSION_CLOSED),
        *(JobEventKind.RAISED, JobEventKind.RECONNECTING, JobEventKind.LEFT),
    }
)
"""Its process says when they happened; all else the pool itself tells, as it notices it."""


class FakePool:
    """Implements `pool.ports.Workers`, and is a worker of the fake LiveKit."""

    def __init__(self, livekit: FakeLiveKit, agent: str = "a", *, slots: int = 4) -> None:
        self._livekit = livekit
        self._agent = agent
        self._slots = slots
        self._warm = slots
        self._node_id = ""
        self._draining = False
        self._paused = False
        self._dead = False
        self._severed = False
        self._gate: Gate
        self._listener: Listener
        self.registration: Registration | None = None
        self._held: list[Callable[[], None]] = []
        self._thawed = anyio.Event()
        self._launches, self._launching = anyio.create_memory_object_stream[Offer](math.inf)
        self._entered, self._entering = anyio.create_memory_object_stream[tuple[FakeJob, str]](math.inf)
        self.timing = Timing()
        self.frozen = Frozen.NOTHING
        self.jobs: dict[str, FakeJob] = {}
        self._of_room: dict[str, dict[str, FakeJob]] = {}
        """The same by room: an event costs the same whatever the number of jobs."""
        self._launched = 0
        self.on_enter: Callable[[FakeJob], str] = lambda job: ""
        """What the entrypoint does: "" serves, "raise", "finish" or "freeze" at once; "hang": its session
        never opens; "stubborn": it serves, and does not end when told."""
        self.on_finish: Callable[[FakeJob], None] = lambda job: None
        """Hears of a job whose entrypoint ends on purpose at once, as it begins to."""
        self.on_end: Callable[[FakeJob, bool], None] = lambda job, kill: None
        """Hears of every job that the keeper ends, before it ends."""
        self.declines = False
        """The user's on_request refuses."""
        livekit.on_event.append(self._hear)

    def attach(self, gate: Gate, listener: Listener) -> None:
        self._gate, self._listener = gate, listener

    def start(self) -> None:
        """Register with LiveKit."""
        self.registration = self._livekit.register(self)

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

    # ---- pool.ports.Workers ------------------------------------------------------------------------

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

    # ---- the fake LiveKit's worker -----------------------------------------------------------------

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

    def _take(self, offer: Offer) -> FakeJob:
        job = self.jobs[offer.job_id] = FakeJob(offer=offer, identity=f"agent-{offer.job_id}")
        self._of_room.setdefault(offer.room, {})[offer.job_id] = job
        self._changed()
        return job

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

    # ---- what a test makes the jobs do -------------------------------------------------------------

    def of(self, room: str) -> FakeJob:
        """The room's job that is in the room or on its way."""
        return next(j for j in self.jobs.values() if j.offer.room == room and not j.exited)

    def die(self, job: FakeJob) -> None:
        """kill -9 of the job's process: a ghost stays in the room."""
        if job.exited:
            return
        if job.connection is not None:
            self._livekit.crash(job.connection)
        self._exit(job, "-9")

    def finish(self, job: FakeJob) -> None:
        """The agent ends on purpose (ctx.shutdown())."""
        self._leave(job, "CLIENT_INITIATED")

    def finish_late(self, job: FakeJob) -> None:
        """It thaws, after LiveKit let go of it: upstream ends it, as if by its own will."""
        assert job.connection is not None
        job.connection.frozen = False
        job.connection.link = Link.LEFT
        self._tell(job, JobEventKind.SESSION_CLOSED, "user_initiated")
        self._tell(job, JobEventKind.LEFT, "CLIENT_INITIATED")
        self._process(job, self.timing.exit, partial(self._exit, job, "0"))

    def raise_(self, job: FakeJob) -> None:
        """The entrypoint raises: the SDK leaves as if on purpose (fact 12)."""
        self._tell(job, JobEventKind.RAISED, "ValueError")
        self._leave(job, "CLIENT_INITIATED")

    def close_session(self, job: FakeJob, reason: str) -> None:
        job.deaf = True
        self._tell(job, JobEventKind.SESSION_CLOSED, reason)

    def open_session(self, job: FakeJob) -> None:
        job.deaf = False
        self._tell(job, JobEventKind.OPEN)

    def freeze_job(self, job: FakeJob) -> None:
        """SIGSTOP of one job's process."""
        job.frozen = True
        self._stop(job)

    def _stop(self, job: FakeJob) -> None:
        job.pauses += 1
        if job.connection is not None:
            self._livekit.freeze(job.connection)

    def thaw_job(self, job: FakeJob) -> None:
        """SIGCONT."""
        job.frozen = False
        if self.frozen is not Frozen.WHOLE:
            self._go_on(job)

    def _go_on(self, job: FakeJob) -> None:
        if job.exited:
            return
        if job.connection is not None and job.connection.frozen:
            self._livekit.thaw(job.connection)
        held, job.held = job.held, []
        for action in held:
            self._step(job, action)

    # ---- a job's life ------------------------------------------------------------------------------

    def _launch(self, job: FakeJob) -> None:
        if job.exited or self.jobs.get(job.offer.job_id) is not job:
            return
        job.launched = True
        self._launched += 1
        self._warm -= 1
        self._changed()
        self._tell(job, JobEventKind.LAUNCHED)
        if job.cancelled:
            self._exit(job, "0")
            return
        self._process(job, 0.003, partial(self._enter, job))

    def _enter(self, job: FakeJob) -> None:
        what = self.on_enter(job)
        if what == "freeze":
            self.freeze_job(job)
            job.held.append(partial(self._enter_room, job, ""))
            return
        self._enter_room(job, what)

    def _enter_room(self, job: FakeJob, what: str) -> None:
        self._tell(job, JobEventKind.ENTERED)
        self._entered.send_nowait((job, what))

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

    async def _confirm(self, job: FakeJob, what: str) -> None:
        await self._awake()
        confirmed = await self._gate.confirm(job.offer.job_id)
        await self._awake()
        if confirmed and not job.cancelled:
            job.pauses_before = job.pauses - job.frozen  # it hears the answer when it goes on
            self._step(job, partial(self._work, job, what))
        else:
            self._step(job, partial(self._refused, job))

    def _refused(self, job: FakeJob) -> None:
        self._tell(job, JobEventKind.UNCONFIRMED)
        self._process(job, 0.01, partial(self._exit, job, "0"))

    def _work(self, job: FakeJob, what: str) -> None:
        if what == "raise":
            self._tell(job, JobEventKind.RAISED, "ValueError")
            self._process(job, 0.01, partial(self._exit, job, "0"))
        elif what == "finish":
            self.on_finish(job)
            self._process(job, 0.01, partial(self._exit, job, "0"))
        else:
            job.stubborn = what == "stubborn"
            self._process(job, self.timing.connect, partial(self._connect, job, opens=what != "hang"))

    def _connect(self, job: FakeJob, *, opens: bool) -> None:
        if job.cancelled and not job.stubborn:
            self._exit(job, "0")
            return
        try:
            if self._severed:
                raise ConnectionError("LiveKit is not reachable")
            job.connection = self._livekit.join(
                job.offer.room, job.identity, agent=self._agent, on_change=lambda c: self._moved(job, c)
            )
        except ConnectionError:
            self._tell(job, JobEventKind.RAISED, "ConnectError")
            self._exit(job, "0")
            return
        people = [c for c in self._livekit.present(job.offer.room) if c.person]
        job.linked = people[0].identity if people else ""
        self._tell(job, JobEventKind.CONNECTED)
        if opens:
            self._process(job, self.timing.open, partial(self._open, job))

    def _open(self, job: FakeJob) -> None:
        if job.connection is not None and job.connection.link is not Link.LEFT:
            job.open = True
            self._tell(job, JobEventKind.OPEN)

    def _moved(self, job: FakeJob, connection: Connection) -> None:
        if connection.link is Link.RETURNING or connection.severed:
            job.away = True
            self._tell(job, JobEventKind.RECONNECTING)
        elif connection.link is Link.UP and job.away and not job.deaf:
            job.away = False
            self._tell(job, JobEventKind.CONNECTED)
            if job.open:
                self._tell(job, JobEventKind.OPEN)
        elif connection.link is Link.LEFT and not job.exited:
            self._tell(job, JobEventKind.LEFT, connection.reason)
            self._process(job, self.timing.exit, partial(self._exit, job, "0"))

    def _leave(self, job: FakeJob, reason: str) -> None:
        if job.connection is not None and job.connection.link in {Link.UP, Link.RETURNING}:
            self._livekit.leave(job.connection)

    def _exit(self, job: FakeJob, code: str) -> None:
        if job.exited:
            return
        job.exited = True
        self._end(job, JobEventKind.EXITED, code)
        self._livekit.after(self.timing.warm, partial(self._supervise, self._warmed))

    def _warmed(self) -> None:
        self._warm += 1
        self._changed()

    def _end(self, job: FakeJob, kind: JobEventKind, detail: str = "") -> None:
        self._tell(job, kind, detail)
        self._supervise(partial(self._forget, job))

    def _forget(self, job: FakeJob) -> None:
        self._drop(job.offer.job_id)
        self._changed()

    def _drop(self, job_id: str) -> None:
        job = self.jobs.pop(job_id, None)
        if job is None:
            return
        self._launched -= job.launched
        jobs = self._of_room[job.offer.room]
        del jobs[job_id]
        if not jobs:
            del self._of_room[job.offer.room]

    def _hear(self, event: Event) -> None:
        """Sessions follow the people of their rooms."""
        who = event.participant
        if who is None or who.kind == "AGENT":
            return
        for job in self._of_room.get(event.room.name, {}).values():
            if job.connection is None:
                continue
            if event.event == "participant_joined" and not job.linked:
                job.linked = who.identity
            elif event.event == "participant_left" and job.linked == who.identity:
                self._process(job, SESSION_NOTICES_AFTER, partial(self._notice, job))

    def _notice(self, job: FakeJob) -> None:
        here = {c.identity for c in self._livekit.present(job.offer.room)}
        if not job.deaf and job.linked not in here:
            self.close_session(job, "participant_disconnected")

    # ---- who does it, and whether that one stands still ----------------------------------------------

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

    def _tell(self, job: FakeJob, kind: JobEventKind, detail: str = "") -> None:
        event = JobEvent(job_id=job.offer.job_id, kind=kind, detail=detail, pid=4242, pid_started=1.0)
        happened = anyio.current_time()

        def tell() -> None:
            age = anyio.current_time() - happened if kind in _TOLD_BY_THE_JOB else 0.0
            self._listener.on_job(replace(event, age=age))

        self._supervise(tell)

    def _changed(self) -> None:
        capacity = self.capacity()
        if self.registration is not None:
            used = capacity.running + capacity.starting
            full = used >= self._slots or capacity.warm <= 0 or self._draining or self._paused
            self.registration.load = 1.0 if full else used / self._slots * 0.35
        self._listener.on_capacity(capacity)
