"""What the room is told: each change of a want's state, as a data message. Best effort, and in nobody's way.

Topic `roomkeeper.status`; the page in the room needs no second connection.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import anyio
import msgspec

from gateway.keeper.model import Job, State, Want
from gateway.keeper.ports import LiveKit

_NOBODY_LISTENS = frozenset({State.FINISHED})
"""The room has ended, or the agent's leaving is seen by everybody in it."""


class Announcer:
    def __init__(self, livekit: LiveKit, job_of: Callable[[Want], Job]) -> None:
        self._livekit = livekit
        self._job_of = job_of
        self._send, self._receive = anyio.create_memory_object_stream[Want](math.inf)

    def tell(self, want: Want) -> None:
        """A want's state has changed. Never blocks."""
        if want.sid and want.state not in _NOBODY_LISTENS:
            self._send.send_nowait(want)

    async def run(self) -> None:
        """Send what there is to tell, until cancelled. A few at a time: a room on no node costs 3 s."""
        limit = anyio.CapacityLimiter(8)
        async with anyio.create_task_group() as sending:
            async for want in self._receive:
                await limit.acquire_on_behalf_of(want)
                sending.start_soon(self._tell, want, limit)

    async def _tell(self, want: Want, limit: anyio.CapacityLimiter) -> None:
        try:
            await self._livekit.send_status(want.room, status_message(self._job_of(want)))
        finally:
            limit.release_on_behalf_of(want)


def status_message(job: Job) -> bytes:
    """The state as JSON."""
    want = job.want
    return msgspec.json.encode(
        {
            "jobId": want.id,
            "roomName": want.room,
            "agentName": want.agent,
            "state": want.state.value,
            "place": job.place,
            "reason": want.reason,
            "agentIdentity": want.identity or None,
        }
    )
