"""The direct lane: a job of ours, answered and launched here, without LiveKit asking whether we take it.

LiveKit waits 200 ms for other workers' bids before it asks one (fact 67). What it would do after that is done
here instead: make the job, ask (`pool.acceptance`, as always), sign the agent's token, hand the job over.
LiveKit knows no dispatch and no job of it; all else is the same.
"""

from __future__ import annotations

import functools
import secrets
import string
from datetime import timedelta

import structlog
from livekit.agents import AgentServer, JobRequest
from livekit.agents.job import JobAcceptArguments
from livekit.agents.types import ATTRIBUTE_AGENT_NAME
from livekit.api import AccessToken, VideoGrants
from livekit.protocol import agent, models

from pool import compat
from pool.acceptance import Acceptance
from pool.capacity import Slots
from pool.jobs import Jobs
from pool.ports import AGENT_NAME, Launch
from pool.tasks import Tasks

log = structlog.get_logger(__name__)

TOKEN_TTL = timedelta(hours=1)
"""As LiveKit's own for an agent; it is renewed in the call."""
_LETTERS = string.ascii_letters + string.digits


class DirectLane:
    """Asks and launches in one event loop, as upstream's answer to LiveKit's question does."""

    def __init__(
        self,
        server: AgentServer,
        acceptance: Acceptance,
        slots: Slots,
        jobs: Jobs,
        tasks: Tasks,
        *,
        api_key: str,
        api_secret: str,
    ) -> None:
        self._server = server
        self._acceptance = acceptance
        self._slots = slots
        self._jobs = jobs
        self._tasks = tasks
        self._api_key = api_key
        self._api_secret = api_secret

    def launch(self, launch: Launch) -> bool:
        """See `pool.ports.Workers`."""
        if not self._slots.measure().free:
            return False
        job = self._job(launch)
        request = JobRequest(job=job, on_reject=_rejected, on_accept=functools.partial(self._accepted, job))
        self._jobs.offered(job.id)  # now: who asks next must find the slot taken
        self._tasks.start(self._ask(request, launch.looked_at), name=f"direct_{job.id}")
        return True

    async def _ask(self, request: JobRequest, looked_at: float) -> None:
        try:
            await self._acceptance.on_request(request, looked_at=looked_at)
        except Exception:  # this task's root; the job was told as not launched
            log.exception("direct_launch_failed", job=request.id)

    async def _accepted(self, job: agent.Job, accepted: JobAcceptArguments) -> None:
        job.state.participant_identity = accepted.identity
        await compat.launch(self._server, job, accepted, self._token(job, accepted))

    def _job(self, launch: Launch) -> agent.Job:
        return agent.Job(
            id="AJ_" + "".join(secrets.choice(_LETTERS) for _ in range(12)),
            type=agent.JobType.JT_ROOM,
            room=models.Room(name=launch.room, sid=launch.sid, metadata=launch.room_metadata),
            agent_name=compat.agent_name(self._server),
            metadata=launch.metadata,
            attributes=launch.attributes,
            state=agent.JobState(status=agent.JobStatus.JS_RUNNING, worker_id=self._server.id),
        )

    def _token(self, job: agent.Job, accepted: JobAcceptArguments) -> str:
        """With the grants that LiveKit gives an agent."""
        name = job.agent_name
        may = compat.permissions(self._server)
        grants = VideoGrants(
            room_join=True,
            agent=True,
            room=job.room.name,
            can_publish=may.can_publish,
            can_subscribe=may.can_subscribe,
            can_publish_data=may.can_publish_data,
            can_update_own_metadata=may.can_update_metadata,
            hidden=may.hidden,
        )
        return (
            AccessToken(self._api_key, self._api_secret)
            .with_identity(accepted.identity)
            .with_name(accepted.name)
            .with_metadata(accepted.metadata)
            .with_attributes({ATTRIBUTE_AGENT_NAME: name, **(accepted.attributes or {}), AGENT_NAME: name})
            .with_kind("agent")
            .with_grants(grants)
            .with_ttl(TOKEN_TTL)
            .to_jwt()
        )


async def _rejected(terminate: bool) -> None:
    """LiveKit has not asked, so there is nobody to tell: unclaimed, it counts as lost (4 s), and LiveKit is
    asked."""
