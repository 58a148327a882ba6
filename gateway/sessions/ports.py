"""What sessions need of a store."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from gateway.sessions.model import Line, Session, Told

MOST_LINES = 10_000
"""Of one session; later ones are not stored."""


class SessionStore(Protocol):
    """Each call is one atomic step, and durable as far as the store is. Raises `StoreUnavailable`."""

    async def add(self, session: Session) -> None:
        """Store a session. Its id is new."""

    async def session(self, session_id: str) -> Session | None: ...

    async def told(self, session_id: str) -> Told: ...

    async def report(
        self, session_id: str, lines: Sequence[Line], questionnaire: bytes | None, *, at: float
    ) -> bool:
        """Append lines, but for those whose id is there, and replace the questionnaire unless it is None.

        False, and nothing written, when there is no such session.
        """

    async def end(self, session_id: str, *, at: float) -> bool:
        """Mark it as ended, unless it is. False when there is no such session."""

    async def forget(self, now: float) -> int:
        """Remove sessions that were to be kept until before `now`. Returns how many; a store may do so by
        itself, and return 0."""
