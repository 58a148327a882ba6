"""What sessions need of a store."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from gateway.sessions.model import Line, Session, Told

MOST_LINES = 10_000
MOST_BYTES = 4 * 1024 * 1024
"""Of one session's lines; what comes later is not stored. All of it is told in one answer."""
FORGET_AT_ONCE = 200


class SessionStore(Protocol):
    """Each call is one atomic step, and durable as far as the store is. Raises `StoreUnavailable`."""

    async def add(self, session: Session) -> None:
        """Store a session. Its id is new."""

    async def session(self, session_id: str) -> Session | None: ...

    async def told(self, session_id: str) -> Told: ...

    async def report(
        self, session_id: str, lines: Sequence[Line], questionnaire: bytes | None, *, at: float
    ) -> bool:
        """Append lines, but for those whose id is there or for which there is no more room, and replace the
        questionnaire unless it is None.

        False, and nothing written, when there is no such session.
        """

    async def end(self, session_id: str, *, at: float) -> bool:
        """Mark it as ended, unless it is. False when there is no such session."""

    async def forget(self, now: float) -> int:
        """Remove sessions that were to be kept until before `now`, `FORGET_AT_ONCE` at most. Returns how
        many; a store may do so by itself, and return 0."""
