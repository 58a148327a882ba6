"""What the room is told: each change of a want's state, as a data message. Best effort, and in nobody's way.

Topic `roomkeeper.status`; the page in the room needs no second connection. One message of a want is under way
at a time, so that they arrive in order; of those that wait, only the last is sent.
"""

from __future__ import annotations

from collections.abc import Callable

import anyio
import msgspec

from gateway.keeper.model import Job, State, Want
from gateway.keeper.ports import LiveKit

AT_ONCE = 8
"""Rooms that are told something side by side: one on no node costs 3 s."""
_NOBODY_LISTENS = frozenset({State.FINISHED})
"""The room has ended, or the agent's leaving is seen by everybody in it."""


class Announcer:
    def __init__(self, livekit: LiveKit, job_of: Callable[[Want], Job]) -> None:
        self._livekit = livekit
        self._job_of = job_of
        self._untold: dict[str, Want] = {}
        """By want: its last state, of which its room was not told yet."""
        self._telling: set[str] = set()
        self._news = anyio.Event()

    def tell(self, want: Want) -> None:
        """A want's state has changed. Never blocks."""
        if want.sid and want.state not in _NOBODY_LISTENS:
            self._untold[want.id] = want
            self._news.set()

    async def run(self) -> None:
        """Send what there is to tell, until cancelled."""
        async with anyio.create_task_group() as sending:
            while True:
                await self._news.wait()
                self._news = anyio.Event()
                for want_id in [i for i in self._untold if i not in self._telling]:
                    if len(self._telling) < AT_ONCE:
                        self._telling.add(want_id)
                        sending.start_soon(self._tell, want_id, name="keeper-announce")

    async def _tell(self, want_id: str) -> None:
        try:
            while (want := self._untold.pop(want_id, None)) is not None:
                await self._livekit.send_status(want.room, status_message(self._job_of(want)))
        finally:
            self._telling.discard(want_id)
            self._news.set()  # somebody may wait for the place


def status_message(job: Job) -> bytes:
    """The state as JSON; `since` in seconds since the epoch."""
    want = job.want
    return msgspec.json.encode(
        {
            "jobId": want.id,
            "roomName": want.room,
            "agentName": want.agent,
            "state": want.state.value,
            "since": want.since,
            "place": job.place,
            "reason": want.reason,
            "agentIdentity": want.identity or None,
        }
    )
