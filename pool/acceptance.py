"""The answer to livekit-server's question whether this worker takes a job: the wall behind I1.

Stands in the place of the server's `on_request`. First the gate decides, then the user's own `on_request`
if there is one; only then does the acceptance go out. It knows nothing of processes.
"""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Callable, Coroutine
from typing import Any

import structlog
from livekit.agents import AssignmentTimeoutError, JobRequest
from livekit.agents.job import JobAcceptArguments

from pool import compat
from pool.jobs import Jobs
from pool.ports import Gate, JobEventKind, Offer, Verdict
from pool.tasks import Tasks

log = structlog.get_logger(__name__)

CLAIM_TIMEOUT = 1.0
"""Seconds for the gate's verdict; none by then is `UNKNOWN`."""
ANSWER_TIMEOUT = 2.7
"""Seconds from the offer to our answer: livekit-server takes one after 2.7 s, none after 4 s (fact 4)."""


def offer_of(request: JobRequest, looked_at: float) -> Offer:
    """What the gate needs to know of a job request (fact 47)."""
    job = request.job
    return Offer(
        job_id=job.id,
        dispatch_id=job.dispatch_id,
        looked_at=looked_at,
        room=job.room.name,
        sid=job.room.sid,
        agent=job.agent_name,
        attributes=dict(job.attributes),
        metadata=job.metadata,
    )


def _succeeded(task: asyncio.Task[Any]) -> bool:
    """Whether a task that is done has a result. A gate does not raise; if it does, nothing is concluded."""
    return not task.cancelled() and task.exception() is None


class Acceptance:
    """Answers offers, each in the task in which upstream asks."""

    def __init__(
        self,
        *,
        gate: Gate,
        jobs: Jobs,
        tasks: Tasks,
        user_on_request: compat.OnRequest | None,
        draining: Callable[[], bool],
    ) -> None:
        self._gate = gate
        self._jobs = jobs
        self._tasks = tasks
        self._user_on_request = user_on_request
        self._draining = draining

    async def on_request(self, request: JobRequest, *, looked_at: float = 0.0) -> None:
        """Accept or reject one offered job. Never raises for a lost assignment."""
        deadline = asyncio.get_running_loop().time() + ANSWER_TIMEOUT
        offer = offer_of(request, looked_at)
        self._jobs.offered(request.id)
        verdict = await self._claim(offer)
        log.info("job_offered", job=offer.job_id, room=offer.room, verdict=verdict.value)
        if verdict is not Verdict.GRANTED:
            self._jobs.refused(request.id)
            await request.reject(terminate=verdict is Verdict.REFUSED)  # facts 34, 48
        elif self._user_on_request is None:
            await self._accept(request, JobAcceptArguments(name="", identity="", metadata=""))
        else:
            await self._ask_user(self._user_on_request, request, deadline)

    async def _claim(self, offer: Offer) -> Verdict:
        if self._draining():
            return Verdict.UNKNOWN  # another worker may take it
        claiming = self._tasks.start(self._gate.claim(offer), name=f"claim_{offer.job_id}")
        # Not cancelled when it is late: a cancelled claim may have been granted all the same.
        await asyncio.wait({claiming}, timeout=CLAIM_TIMEOUT)
        if claiming.done():
            return claiming.result() if _succeeded(claiming) else Verdict.UNKNOWN
        log.warning("gate_timed_out", job=offer.job_id)
        claiming.add_done_callback(functools.partial(self._too_late, offer.job_id))
        return Verdict.UNKNOWN

    def _too_late(self, job_id: str, claiming: asyncio.Task[Verdict]) -> None:
        """The job was rejected meanwhile: whoever granted it must know, and let the room go."""
        if _succeeded(claiming) and claiming.result() is Verdict.GRANTED:
            self._jobs.never_came(job_id, "the gate was too late")

    async def _identify(self, job_id: str, identity: str) -> bool:
        identifying = self._tasks.start(self._gate.identify(job_id, identity), name=f"identify_{job_id}")
        await asyncio.wait({identifying}, timeout=CLAIM_TIMEOUT)
        return identifying.done() and _succeeded(identifying) and identifying.result()  # unknown: nobody

    async def _ask_user(self, on_request: compat.OnRequest, request: JobRequest, deadline: float) -> None:
        """Run the user's `on_request` with a request whose answer passes through us."""
        question = _Question(accept=lambda arguments: self._accept(request, arguments), request=request)
        asking = self._tasks.start(on_request_of(on_request, question), name=f"on_request_{request.id}")
        answered = asyncio.ensure_future(question.answered.wait())
        remaining = deadline - asyncio.get_running_loop().time()
        await asyncio.wait({asking, answered}, timeout=remaining, return_when=asyncio.FIRST_COMPLETED)
        answered.cancel()
        if not question.answered.is_set():
            question.expired = True
            asking.cancel()
            await self._decline(request, "on_request gave no answer", terminate=False)
        elif question.rejected is not None:
            await self._decline(request, "on_request rejected the job", terminate=question.rejected)
        else:
            await (
                question.settled.wait()
            )  # accepted: upstream counts the job as reserved until it is launched

    async def _decline(self, request: JobRequest, why: str, *, terminate: bool) -> None:
        self._jobs.failed(request.id, JobEventKind.DECLINED, why)
        await request.reject(terminate=terminate)

    async def _accept(self, request: JobRequest, arguments: JobAcceptArguments) -> None:
        """Let the acceptance out, if the job is still wanted and its claim takes its identity."""
        identity = arguments.identity or f"agent-{request.id}"
        try:
            if not await self._identify(request.id, identity) or self._jobs.unwanted(request.id):
                self._jobs.failed(request.id, JobEventKind.UNASSIGNED, "no longer wanted")
                await request.reject(terminate=True)
                return
            await request.accept(
                name=arguments.name,
                identity=identity,
                metadata=arguments.metadata,
                attributes=arguments.attributes,
            )
        except AssignmentTimeoutError:
            log.warning("job_assignment_lost", job=request.id)  # fact 33
        finally:
            # Whatever kept it from being launched, a failure to start a process included.
            self._jobs.failed(
                request.id, JobEventKind.UNASSIGNED, "LiveKit did not assign it, or no process took it"
            )


async def on_request_of(on_request: compat.OnRequest, question: _Question) -> None:
    """The user's function, as a coroutine that can be made a task."""
    await on_request(question.request)


class _Question:
    """A `JobRequest` for the user's `on_request`, and what became of it."""

    def __init__(
        self, *, accept: Callable[[JobAcceptArguments], Coroutine[Any, Any, None]], request: JobRequest
    ) -> None:
        self._accept = accept
        self.answered = asyncio.Event()
        self.settled = asyncio.Event()
        self.rejected: bool | None = None
        """The `terminate` of a rejection."""
        self.expired = False
        self.request = JobRequest(job=request.job, on_reject=self._on_reject, on_accept=self._on_accept)

    async def _on_reject(self, terminate: bool) -> None:
        if not self.answered.is_set() and not self.expired:
            self.rejected = terminate
            self.answered.set()

    async def _on_accept(self, arguments: JobAcceptArguments) -> None:
        if self.expired or self.answered.is_set():
            raise AssignmentTimeoutError
        self.answered.set()
        try:
            await self._accept(arguments)
        finally:
            self.settled.set()
