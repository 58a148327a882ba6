"""Follows one job in its process, by public events only: in the room, listening, closed, left.

`OPEN` means that somebody listens: the primary `AgentSession` has left "initializing"; or there is none,
and the agent is in the room and its entrypoint returned, or it published a track, or some time went by.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any

from livekit import rtc
from livekit.agents import AgentSession, AgentStateChangedEvent, CloseEvent, JobContext

from pool.figures import Figures
from pool.ports import JobEventKind
from pool.voice import Voice

SESSIONLESS_AFTER = 2.0
"""Seconds in the room without a session after which an agent is taken to do without one."""
EAGER, EAGER_FOR = 0.01, 5.0
"""Seconds between two looks at first, and for how long: the first session has no event of its own."""
CALM = 0.2
"""Seconds between two looks afterwards: only a session that replaces the first is looked for."""
REASON_WITHIN = 0.5
"""Seconds for the reason of a lost connection to come after it; some never do."""

Report = Callable[..., None]


class Watch:
    """Begins when it is made, in the job's event loop; ends when the job has left the room."""

    def __init__(self, ctx: JobContext, report: Report, figures: Callable[[Figures], None]) -> None:
        """`figures` must not block: it has no part in what the job does."""
        self._ctx = ctx
        self._report = report
        self._figures = figures
        self._voice: Voice | None = None
        self._session: AgentSession[Any] | None = None
        self._listening = False
        self._connected_at = 0.0
        self._opened = False
        self._returned = False
        self._published = False
        self._left = False
        self._ending = False
        self._disconnected_at = 0.0
        ctx.room.on("local_track_published", self._on_track)
        ctx.room.on("reconnecting", self._on_reconnecting)
        ctx.room.on("reconnected", self._on_reconnected)
        ctx.room.on("disconnected", self._on_disconnected)
        ctx.room.on("connection_state_changed", self._on_connection_state)
        ctx.add_shutdown_callback(self._on_shutdown)
        self._task = asyncio.create_task(self._follow(), name="roomkeeper_watch")

    def entrypoint_raised(self, error: Exception) -> None:
        """livekit-agents now closes the session, "user_initiated": that is no news after the exception."""
        self._ending = True
        self._report(JobEventKind.RAISED, type(error).__name__)

    def entrypoint_returned(self) -> None:
        """No end (fact 92): agents with a session return at once."""
        self._returned = True
        self._look()

    async def _follow(self) -> None:
        eager_until = time.monotonic() + EAGER_FOR
        while not self._left:
            self._look()
            eager = not self._opened and time.monotonic() < eager_until
            await asyncio.sleep(EAGER if eager else CALM)

    def _look(self) -> None:
        if self._left:
            return
        if self._disconnected_at and time.monotonic() - self._disconnected_at >= REASON_WITHIN:
            self._leave(rtc.DisconnectReason.UNKNOWN_REASON)
            return
        if not self._connected_at and self._ctx.room.isconnected():
            self._connected_at = time.monotonic()
            self._report(JobEventKind.CONNECTED)
        session = self._primary_session()
        if session is not None and session is not self._session:
            self._attend(session)
        if self._connected_at and not self._opened and (self._listening or self._sessionless()):
            self._opened = True
            self._report(JobEventKind.OPEN)

    def _primary_session(self) -> AgentSession[Any] | None:
        try:
            return self._ctx.primary_session
        except RuntimeError:  # its way to say that there is none (fact 88)
            return None

    def _sessionless(self) -> bool:
        if self._session is not None:
            return False
        waited = time.monotonic() - self._connected_at
        return self._returned or self._published or waited >= SESSIONLESS_AFTER

    def _attend(self, session: AgentSession[Any]) -> None:
        self._session = session
        self._voice = Voice(session, self._figures)
        session.on("agent_state_changed", self._on_state)
        session.on("close", self._on_close)
        self._listening = session.agent_state != "initializing"
        if self._listening:
            self._opened = False  # an agent that was open without a session has one now

    def _on_state(self, event: AgentStateChangedEvent) -> None:
        if event.new_state != "initializing" and not self._listening:
            self._listening = True
            self._opened = False
            self._look()

    def _on_close(self, event: CloseEvent) -> None:
        self._listening = False
        self._opened = False
        if not (self._ending or self._left):
            self._report(JobEventKind.SESSION_CLOSED, event.reason.value)

    def _on_track(self, *_: object) -> None:
        self._published = True
        self._look()

    def _on_reconnecting(self) -> None:
        self._report(JobEventKind.RECONNECTING)

    def _on_reconnected(self) -> None:
        """Say again where the job stands, so that nobody takes it for reconnecting for ever."""
        if self._session is None or self._listening:
            self._report(JobEventKind.CONNECTED)
            self._opened = False
            self._look()

    def _on_connection_state(self, state: rtc.ConnectionState.ValueType) -> None:
        gone = state == rtc.ConnectionState.CONN_DISCONNECTED
        self._disconnected_at = time.monotonic() if gone else 0.0
        self._look()  # at once: an agent may block its event loop as soon as it is in

    def _on_disconnected(self, reason: rtc.DisconnectReason.ValueType) -> None:
        self._leave(reason)

    async def _on_shutdown(self, _reason: str) -> None:
        """Runs after livekit-agents has left the room, where now and then no "disconnected" event comes."""
        if self._connected_at:
            self._leave(rtc.DisconnectReason.CLIENT_INITIATED)

    def _leave(self, reason: rtc.DisconnectReason.ValueType) -> None:
        if not self._left:
            self._left = True
            if self._voice is not None:
                self._voice.flush()  # the process may end before its next time comes
            self._report(JobEventKind.LEFT, rtc.DisconnectReason.Name(reason))
