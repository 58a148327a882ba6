"""The jobs of this worker, from the offer to the exit: what happened to each, in order, and its end.

No decision about rooms is made here, and nothing is known of load. Driven by the hooks of `pool.supervisor`
and by the reports of the job processes; all calls are made in the event loop.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable, Mapping

import psutil
import structlog

from pool.clock import uptime
from pool.compat import Executor
from pool.job import Job
from pool.metrics import PoolMetrics
from pool.ports import Gate, JobEvent, JobEventKind
from pool.reports import Answer, Report, Wire
from pool.tasks import Tasks
from pool.trust import Trust

log = structlog.get_logger(__name__)

CONFIRM_TIMEOUT = 5.0
"""Seconds for the gate to confirm a claim; after that the job does not enter: unknown lets nobody in."""
STOOD_STILL = 1.0
"""Seconds that a timer may be late; after that this process was stopped, and so long it waits for news."""
DRAIN_REPORTS = 1.0
"""Seconds for the reports of an exited process to arrive, should a grandchild hold its socket open."""


class Jobs:
    """Every job is in exactly one of three stages: pending, running, exiting.

    `EXITED` comes when the process is gone *and* all it had reported was heard, so it is always the last.
    """

    def __init__(
        self,
        *,
        gate: Gate,
        tell: Callable[[JobEvent], None],
        changed: Callable[[], None],
        tasks: Tasks,
        metrics: PoolMetrics,
        trust: Trust,
        enter_timeout: float,
        end_timeout: float,
        finish_timeout: float,
    ) -> None:
        self._gate = gate
        self._tell = tell
        self._changed = changed
        self._tasks = tasks
        self._metrics = metrics
        self._trust = trust
        self._enter_timeout = enter_timeout
        self._end_timeout = end_timeout
        self._finish_timeout = finish_timeout
        self._pending: dict[str, Job] = {}
        self._running: dict[str, Job] = {}
        self._exiting: dict[str, Job] = {}
        self._executors: dict[int, Executor] = {}
        self._wires: dict[int, Wire] = {}
        self._idle = asyncio.Event()
        self._idle.set()

    @property
    def pending(self) -> int:
        """Jobs on offer, or accepted and not launched yet."""
        return len(self._pending)

    @property
    def running(self) -> int:
        """Jobs that a living process has."""
        return len(self._running)

    @property
    def arriving(self) -> int:
        """Jobs that are on their way into their rooms."""
        return self.pending + sum(not (job.connected or job.left) for job in list(self._running.values()))

    def runs(self, job_id: str) -> bool:
        return self._find(job_id) is not None

    def inside(self) -> list[str]:
        """Ids of the jobs whose process may be in the room, or get there."""
        return [job.id for job in self._running.values() if not job.left]

    def whose(self, pid: int) -> Mapping[str, str]:
        """What a line that the process printed is about; {} while it has no job."""
        executor = self._executors.get(pid)
        info = executor.running_job if executor is not None else None
        if info is None:
            return {}
        return {"job": info.job.id, "room": info.job.room.name, "agent": info.job.agent_name}

    def processes(self) -> dict[int, bool]:
        """The living job processes by pid: whether each has a job."""
        return {pid: e.running_job is not None for pid, e in self._executors.items()}

    async def wait_idle(self) -> None:
        """Return once no job is left."""
        await self._idle.wait()

    # -- from the offer to the launch ----------------------------------------------------------------------

    def offered(self, job_id: str) -> None:
        """Once more changes nothing."""
        self._pending.setdefault(job_id, Job(job_id))
        self._idle.clear()
        self._changed()

    def unwanted(self, job_id: str) -> bool:
        """Whether its end was asked for before it was launched (fact 53)."""
        job = self._pending.get(job_id)
        return job is not None and job.ended

    def refused(self, job_id: str) -> None:
        """The gate did not grant it: nobody hears of it."""
        self._forget(job_id)

    def failed(self, job_id: str, kind: JobEventKind, why: str) -> None:
        """It was granted, and will not be launched: `DECLINED` or `UNASSIGNED`."""
        if job_id in self._pending:
            log.info("job_not_launched", job=job_id, kind=kind.value, why=why)
            self._forget(job_id)
            self._tell(JobEvent(job_id=job_id, kind=kind, detail=why))

    def never_came(self, job_id: str, why: str) -> None:
        """It was granted after it had been rejected."""
        self._tell(JobEvent(job_id=job_id, kind=JobEventKind.UNASSIGNED, detail=why))

    def launched(self, executor: Executor) -> None:
        """A process has the job: says upstream's event or the job's first report, whichever is first."""
        info = executor.running_job
        assert info is not None
        if info.job.id in self._running:
            return
        job = self._pending.pop(info.job.id, None) or Job(info.job.id)
        self._running[job.id] = job
        self._idle.clear()
        job.executor = executor
        pid = executor.pid or 0
        job.wire = self._wires.get(pid)
        with contextlib.suppress(psutil.NoSuchProcess):
            job.process = psutil.Process(pid)
        started = job.process.create_time() if job.process else 0.0
        log.info("job_launched", job=job.id, room=info.job.room.name, pid=pid)
        self._changed()
        self._tell(JobEvent(job_id=job.id, kind=JobEventKind.LAUNCHED, pid=pid, pid_started=started))
        self._later(job, self._enter_timeout, self._check_entered)
        if job.ended:
            self._carry_out(job)

    # -- processes -----------------------------------------------------------------------------------------

    def process_started(self, executor: Executor) -> None:
        self._executors[executor.pid or 0] = executor

    def process_closed(self, executor: Executor) -> None:
        self._executors.pop(executor.pid or 0, None)
        info = executor.running_job
        job = self._running.pop(info.job.id, None) if info is not None else None
        if job is None:
            return
        self._exiting[job.id] = job
        job.exit_code = executor.exitcode if executor.exitcode is not None else -1
        self._changed()
        if job.wire is None or job.wire.closed:
            self._exited(job)
        else:
            self._later(job, DRAIN_REPORTS, self._exited)

    def _exited(self, job: Job) -> None:
        if self._exiting.pop(job.id, None) is None:
            return
        for timer in job.timers:
            timer.cancel()
        pid = job.executor.pid or 0 if job.executor else 0
        log.info("job_exited", job=job.id, pid=pid, exit_code=job.exit_code)
        self._settle()
        self._tell(JobEvent(job_id=job.id, kind=JobEventKind.EXITED, detail=str(job.exit_code), pid=pid))
        if job.failed_to_join:
            self._trust.failed()

    # -- reports -------------------------------------------------------------------------------------------

    def heard(self, wire: Wire, report: Report) -> None:
        """A line from a job process."""
        self._wires[wire.pid] = wire
        if report.kind is None:
            self._answered(wire)
            return
        job = self._find(report.job_id)
        if job is not None and job.executor is None and wire.pid in self._executors:
            self.launched(self._executors[wire.pid])
        if job is None:
            log.warning("job_report_of_unknown_job", job=report.job_id, kind=report.kind, pid=wire.pid)
            return
        job.wire = wire
        if report.kind is JobEventKind.CONNECTED and not job.connected:
            job.connected = True
            self._trust.joined()
        if report.kind is JobEventKind.RAISED:
            job.raised = report.detail or "exception"
        if report.kind is JobEventKind.LEFT and not job.left:
            job.left = True
            self._later(job, self._finish_timeout, self._check_finished)
        log.info("job_" + report.kind.value, job=job.id, detail=report.detail)
        age = max(0.0, uptime() - report.at) if report.at else 0.0
        self._tell(JobEvent(job_id=job.id, kind=report.kind, detail=report.detail, pid=wire.pid, age=age))
        if report.kind is JobEventKind.ENTERED:
            job.entered = True
            self._tasks.start(self._confirm(job, wire), name=f"confirm_{job.id}")

    def lost(self, wire: Wire) -> None:
        """The connection of a job process has ended: it is gone, and all that it said was heard."""
        self._wires.pop(wire.pid, None)
        for job in [job for job in self._exiting.values() if job.wire is wire]:
            self._exited(job)

    async def _confirm(self, job: Job, wire: Wire) -> None:
        confirming = self._tasks.start(self._gate.confirm(job.id), name=f"confirming_{job.id}")
        await asyncio.wait({confirming}, timeout=CONFIRM_TIMEOUT)
        answered = confirming.done() and not confirming.cancelled() and confirming.exception() is None
        confirmed = answered and confirming.result() and not job.ended
        if not confirmed:
            job.unwanted = True
            log.warning("job_not_confirmed", job=job.id)
            self._tell(JobEvent(job_id=job.id, kind=JobEventKind.UNCONFIRMED))
        wire.answer(Answer(confirmed=confirmed))
        if confirmed and job.executor is not None and (info := job.executor.running_job) is not None:
            self._metrics.job_start.observe(max(0.0, time.time() - info.assigned_at))

    # -- whether they still answer -------------------------------------------------------------------------

    def ask_all(self) -> None:
        """Ask the processes that are in their rooms, or may get there, whether their event loop turns."""
        for job in self._running.values():
            if job.entered and not job.left and job.wire is not None:
                job.asked = True
                job.wire.answer(Answer())

    def silent(self) -> list[str]:
        """Ids of the jobs that were asked and have not answered."""
        return [job.id for job in self._running.values() if job.asked and not job.left]

    def kill_silent(self, job_id: str, why: str) -> None:
        self._kill(self._running[job_id], why)

    def _answered(self, wire: Wire) -> None:
        for job in self._running.values():
            if job.wire is wire:
                job.asked = False

    # -- the end -------------------------------------------------------------------------------------------

    def end(self, job_id: str, *, kill: bool) -> None:
        job = self._find(job_id)
        if job is None:
            return
        job.overdue = job.overdue or (kill and not job.ended)  # a stop asks first
        job.killed = job.killed or kill
        if job.executor is None:
            job.ended = True  # carried out by `launched`, or refused before that (fact 53)
        elif kill or not job.ended:
            job.ended = True
            self._carry_out(job)

    def kill_process(self, pid: int, why: str) -> None:
        """SIGKILL one process of the pool, with a job or without. Nothing for one that has ended."""
        if pid not in self._executors:
            return
        log.warning("job_process_killed", pid=pid, why=why, **self.whose(pid))
        with contextlib.suppress(psutil.NoSuchProcess):
            psutil.Process(pid).kill()

    def kill_all(self) -> None:
        """SIGKILL every process, with a job or without."""
        for executor in self._executors.values():
            with contextlib.suppress(psutil.NoSuchProcess):
                psutil.Process(executor.pid).kill()

    def _carry_out(self, job: Job) -> None:
        if job.killed:
            self._kill(job, "asked")
        elif job.executor is not None and not job.left:  # one that left is finishing by itself (fact 86)
            self._tasks.start(job.executor.aclose(), name=f"end_{job.id}")
            self._later(job, self._end_timeout, self._check_left)

    def _check_entered(self, job: Job) -> None:
        if not job.entered:
            job.overdue = True
            self._kill(job, "never entered")  # a frozen or dead process (facts 63, 74)

    def _check_left(self, job: Job) -> None:
        if not job.left:
            self._kill(job, "did not leave in time")  # fact 9: it swallowed its cancellation

    def _check_finished(self, job: Job) -> None:
        self._kill(job, "did not finish in time")  # the same after it was put out: else it keeps its slot

    def _kill(self, job: Job, why: str) -> None:
        if job.process is not None and job.exit_code is None:
            log.warning("job_killed", job=job.id, pid=job.process.pid, why=why)
            with contextlib.suppress(psutil.NoSuchProcess):
                job.process.kill()

    # -- bookkeeping ---------------------------------------------------------------------------------------

    def _find(self, job_id: str) -> Job | None:
        return self._pending.get(job_id) or self._running.get(job_id) or self._exiting.get(job_id)

    def _forget(self, job_id: str) -> None:
        self._pending.pop(job_id, None)
        self._settle()
        self._changed()

    def _settle(self) -> None:
        if not (self._pending or self._running or self._exiting):
            self._idle.set()

    def _later(self, job: Job, delay: float, call: Callable[[Job], None]) -> None:
        loop = asyncio.get_running_loop()
        due = loop.time() + delay

        def run() -> None:
            if (
                loop.time() > due + STOOD_STILL
            ):  # this process did: what the job told meanwhile is still unread
                job.timers.append(loop.call_later(STOOD_STILL, call, job))
            else:
                call(job)

        job.timers.append(loop.call_later(delay, run))
