"""A pool without processes: takes jobs from the fake LiveKit through a gate, and plays their life.

Behaves as `pool.supervisor.Pool` does towards a keeper: the same calls on the gate, the same events in the
same order. A test moves the jobs: `die`, `finish`, `close_session`, ...
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import anyio

from gateway.livekit.webhooks import Event
from pool.ports import Capacity, Gate, JobEvent, JobEventKind, Listener, Offer, Verdict
from tests.fakes.livekit import FakeLiveKit
from tests.fakes.livekit_parts import Accepted, Answer, Connection, Link, Refused, Registration

SESSION_NOTICES_AFTER = 3.0  # fact 82


@dataclass(eq=False, kw_only=True)
class FakeJob:
    offer: Offer
    identity: str = ""
    launched: bool = False
    cancelled: bool = False
    exited: bool = False
    frozen: bool = False
    connection: Connection | None = None
    linked: str = ""
    """The person that its session listens to."""
    deaf: bool = False


@dataclass(kw_only=True)
class Timing:
    """Seconds between the stages of a job."""

    launch: float = 0.005
    connect: float = 0.08
    open: float = 0.01
    exit: float = 0.1
    """From leaving the room to the end of the process: saving transcripts may take minutes."""
    warm: float = 0.1
    """Until a freed slot has a warm process again."""


class FakePool:
    """Implements `pool.ports.Workers`, and is a worker of the fake LiveKit."""

    def __init__(self, livekit: FakeLiveKit, agent: str = "a", *, slots: int = 4) -> None:
        self._livekit = livekit
        self._agent = agent
        self._slots = slots
        self._warm = slots
        self._node_id = ""
        self._gate: Gate
        self._listener: Listener
        self._registration: Registration | None = None
        self.timing = Timing()
        self.jobs: dict[str, FakeJob] = {}
        self.on_enter: Callable[[FakeJob], str] = lambda job: ""
        """What the entrypoint does: "" serves, "raise", "finish" or "freeze" at once; "hang": its session
        never opens."""
        self.hanging: set[str] = set()
        """Ids of jobs whose session never opens."""
        self._entered, self._entering = anyio.create_memory_object_stream[tuple[FakeJob, str]](math.inf)
        self.declines = False
        """The user's on_request refuses."""
        livekit.on_event.append(self._hear)

    def attach(self, gate: Gate, listener: Listener) -> None:
        self._gate, self._listener = gate, listener

    def start(self) -> None:
        """Register with LiveKit."""
        self._registration = self._livekit.register(self)

    def crash(self) -> None:
        """kill -9 of the whole worker: its jobs die with it, nobody is told."""
        if self._registration is not None:
            self._registration.close()
        for job in self.jobs.values():
            job.exited = True
            if job.connection is not None:
                self._livekit.crash(job.connection)
        self.jobs.clear()
        self._livekit.on_event.remove(self._hear)

    # ---- pool.ports.Workers ------------------------------------------------------------------------

    @property
    def agent(self) -> str:
        return self._agent

    def capacity(self) -> Capacity:
        running = sum(1 for job in self.jobs.values() if job.launched)
        return Capacity(
            slots=self._slots,
            running=running,
            starting=len(self.jobs) - running,
            warm=self._warm,
            node_id=self._node_id,
        )

    def runs(self, job_id: str) -> bool:
        return job_id in self.jobs

    def inside(self) -> list[str]:
        return [
            i
            for i, job in self.jobs.items()
            if job.launched and (job.connection is None or job.connection.link is not Link.LEFT)
        ]

    def end(self, job_id: str, *, kill: bool = False) -> None:
        job = self.jobs.get(job_id)
        if job is None:
            return
        job.cancelled = True
        if kill:
            self._livekit.after(0.001, lambda: self.die(job))
        elif job.launched and not job.frozen:
            self._livekit.after(0.01, lambda: self._leave(job, "CLIENT_INITIATED"))

    # ---- the fake LiveKit's worker -----------------------------------------------------------------

    async def offered(self, offer: Offer) -> Answer:
        job = self.jobs[offer.job_id] = FakeJob(offer=offer, identity=f"agent-{offer.job_id}")
        self._changed()
        verdict = await self._gate.claim(offer)
        if verdict is Verdict.GRANTED and self.declines:
            self._end(job, JobEventKind.DECLINED)
            return Refused(terminate=True)
        if verdict is Verdict.GRANTED and await self._gate.identify(offer.job_id, job.identity):
            return Accepted()
        self.jobs.pop(offer.job_id, None)
        self._changed()
        return Refused(terminate=verdict is not Verdict.UNKNOWN)

    def assigned(self, offer: Offer, identity: str) -> None:
        job = self.jobs.get(offer.job_id)
        if job is not None:
            self._livekit.after(self.timing.launch, lambda: self._launch(job))

    def unassigned(self, offer: Offer) -> None:
        job = self.jobs.get(offer.job_id)
        if job is not None and not job.launched:
            self._end(job, JobEventKind.UNASSIGNED)

    def terminated(self, job_id: str) -> None:
        self.end(job_id)

    def registered(self, node_id: str) -> None:
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
        self._livekit.after(self.timing.exit, lambda: self._exit(job, "0"))

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

    # ---- a job's life ------------------------------------------------------------------------------

    def _launch(self, job: FakeJob) -> None:
        if job.exited:
            return
        job.launched = True
        self._warm -= 1
        self._changed()
        self._tell(job, JobEventKind.LAUNCHED)
        if job.cancelled:
            self._exit(job, "0")
            return
        self._livekit.after(0.003, lambda: self._enter(job))

    def _enter(self, job: FakeJob) -> None:
        what = self.on_enter(job)
        if what == "freeze":
            job.frozen = True
            return
        self._tell(job, JobEventKind.ENTERED)
        self._entered.send_nowait((job, what))

    async def run(self) -> None:
        """Ask the gate for its confirmation of each job that entered, until cancelled."""
        async with anyio.create_task_group() as confirming:
            async for job, what in self._entering:
                confirming.start_soon(self._confirm, job, what)

    async def _confirm(self, job: FakeJob, what: str) -> None:
        if await self._gate.confirm(job.offer.job_id) and not job.cancelled:
            self._work(job, what)
            return
        self._tell(job, JobEventKind.UNCONFIRMED)
        self._livekit.after(0.01, lambda: self._exit(job, "0"))

    def _work(self, job: FakeJob, what: str) -> None:
        if what == "raise":
            self._tell(job, JobEventKind.RAISED, "ValueError")
            self._livekit.after(0.01, lambda: self._exit(job, "0"))
        elif what == "hang":
            self.hanging.add(job.offer.job_id)
            self._livekit.after(self.timing.connect, lambda: self._connect(job))
        elif what == "finish":
            self._livekit.after(0.01, lambda: self._exit(job, "0"))
        else:
            self._livekit.after(self.timing.connect, lambda: self._connect(job))

    def _connect(self, job: FakeJob) -> None:
        if job.exited or job.cancelled:
            if not job.exited:
                self._exit(job, "0")
            return
        try:
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
        self._livekit.after(self.timing.open, lambda: self._open(job))

    def _open(self, job: FakeJob) -> None:
        in_room = job.connection is not None and job.connection.link is not Link.LEFT
        if in_room and not job.exited and job.offer.job_id not in self.hanging:
            self._tell(job, JobEventKind.OPEN)

    def _moved(self, job: FakeJob, connection: Connection) -> None:
        if connection.link is Link.RETURNING:
            self._tell(job, JobEventKind.RECONNECTING)
        elif connection.link is Link.LEFT and not job.exited:
            self._tell(job, JobEventKind.LEFT, connection.reason)
            self._livekit.after(self.timing.exit, lambda: self._exit(job, "0"))

    def _leave(self, job: FakeJob, reason: str) -> None:
        if job.connection is not None and job.connection.link is Link.UP:
            self._livekit.leave(job.connection)

    def _exit(self, job: FakeJob, code: str) -> None:
        if job.exited:
            return
        job.exited = True
        self._end(job, JobEventKind.EXITED, code)
        self._livekit.after(self.timing.warm, self._warmed)

    def _warmed(self) -> None:
        self._warm += 1
        self._changed()

    def _end(self, job: FakeJob, kind: JobEventKind, detail: str = "") -> None:
        self._tell(job, kind, detail)
        self.jobs.pop(job.offer.job_id, None)
        self._changed()

    def _hear(self, event: Event) -> None:
        """Sessions follow the people of their rooms."""
        who = event.participant
        if who is None or who.kind == "AGENT":
            return
        for job in self.jobs.values():
            if job.offer.room != event.room.name or job.connection is None:
                continue
            if event.event == "participant_joined" and not job.linked:
                job.linked = who.identity
            elif event.event == "participant_left" and job.linked == who.identity:
                self._livekit.after(SESSION_NOTICES_AFTER, partial(self._notice, job))

    def _notice(self, job: FakeJob) -> None:
        here = {c.identity for c in self._livekit.present(job.offer.room)}
        if not job.exited and not job.deaf and job.linked not in here:
            self.close_session(job, "participant_disconnected")

    def _tell(self, job: FakeJob, kind: JobEventKind, detail: str = "") -> None:
        self._listener.on_job(
            JobEvent(job_id=job.offer.job_id, kind=kind, detail=detail, pid=4242, pid_started=1.0)
        )

    def _changed(self) -> None:
        capacity = self.capacity()
        if self._registration is not None:
            used = capacity.running + capacity.starting
            full = used >= self._slots or capacity.warm <= 0
            self._registration.load = 1.0 if full else used / self._slots * 0.7
        self._listener.on_capacity(capacity)
