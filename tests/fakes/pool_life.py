"""The life of a fake pool's jobs, from the launch to the exit: what each does, and what is told of it."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import replace
from functools import partial

import anyio

from gateway.livekit.webhooks import Event
from pool.ports import Gate, JobEvent, JobEventKind, Listener, Offer
from tests.fakes.livekit import FakeLiveKit
from tests.fakes.livekit_parts import Connection, Link
from tests.fakes.pool_jobs import FakeJob, Timing
from tests.fakes.pool_steps import Steps

SESSION_NOTICES_AFTER = 3.0  # fact 82
_TOLD_BY_THE_JOB = frozenset(
    {
        *(JobEventKind.ENTERED, JobEventKind.CONNECTED, JobEventKind.OPEN, JobEventKind.SESSION_CLOSED),
        *(JobEventKind.RAISED, JobEventKind.RECONNECTING, JobEventKind.LEFT),
    }
)
"""Its process says when they happened; all else the pool itself tells, as it notices it."""


class Life(Steps, ABC):
    """Jobs that live by `timing`, and as a test says."""

    def __init__(self, livekit: FakeLiveKit, agent: str, slots: int) -> None:
        super().__init__(livekit)
        self._agent = agent
        self._warm = slots
        self._severed = False
        self._gate: Gate
        self._listener: Listener
        self._entered, self._entering = anyio.create_memory_object_stream[tuple[FakeJob, str]](math.inf)
        self.timing = Timing()
        self._of_room: dict[str, dict[str, FakeJob]] = {}
        """The jobs by room: an event costs the same whatever the number of jobs."""
        self._launched = 0
        self.on_enter: Callable[[FakeJob], str] = lambda job: ""
        """What the entrypoint does: "" serves, "raise", "finish" or "freeze" at once; "hang": its session
        never opens; "stubborn": it serves, and does not end when told."""
        self.on_finish: Callable[[FakeJob], None] = lambda job: None
        """Hears of a job whose entrypoint ends on purpose at once, as it begins to."""
        livekit.on_event.append(self._hear)

    @abstractmethod
    def _changed(self) -> None:
        """What the pool can take may have changed."""

    # ---- what a test makes the jobs do --------------------------------------------------------------

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

    # ---- a job's life -------------------------------------------------------------------------------

    def _take(self, offer: Offer) -> FakeJob:
        job = self.jobs[offer.job_id] = FakeJob(offer=offer, identity=f"agent-{offer.job_id}")
        self._of_room.setdefault(offer.room, {})[offer.job_id] = job
        self._changed()
        return job

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

    def _tell(self, job: FakeJob, kind: JobEventKind, detail: str = "") -> None:
        event = JobEvent(job_id=job.offer.job_id, kind=kind, detail=detail, pid=4242, pid_started=1.0)
        happened = anyio.current_time()

        def tell() -> None:
            age = anyio.current_time() - happened if kind in _TOLD_BY_THE_JOB else 0.0
            self._listener.on_job(replace(event, age=age))

        self._supervise(tell)
