"""Sessions in memory, by the same contract as the stores'."""

from __future__ import annotations

import secrets
from collections.abc import Sequence

import msgspec

from gateway.keeper.ports import StoreUnavailable
from gateway.sessions.model import Line, Session, Told
from gateway.sessions.ports import MOST_BYTES, MOST_LINES


class MemorySessions:
    """Implements `gateway.sessions.ports.SessionStore`. While `away`, calls fail."""

    def __init__(self) -> None:
        self.away = False
        self._sessions: dict[str, Session] = {}
        self._lines: dict[str, dict[str, Line]] = {}
        self._told: dict[str, Told] = {}

    async def add(self, session: Session) -> None:
        self._reach()
        self._sessions[session.id] = session

    async def session(self, session_id: str) -> Session | None:
        self._reach()
        return self._sessions.get(session_id)

    async def told(self, session_id: str) -> Told:
        self._reach()
        lines = list(self._lines.get(session_id, {}).values())
        return msgspec.structs.replace(self._told.get(session_id, Told()), transcript=lines)

    async def report(
        self, session_id: str, lines: Sequence[Line], questionnaire: bytes | None, *, at: float
    ) -> bool:
        self._reach()
        if session_id not in self._sessions:
            return False
        said = self._lines.setdefault(session_id, {})
        for line in lines:
            size = sum(len(msgspec.json.encode(kept)) for kept in (*said.values(), line))
            if len(said) >= MOST_LINES or size > MOST_BYTES:
                break
            said.setdefault(line.id or secrets.token_hex(8), line)
        before = self._told.get(session_id, Told())
        answers = before.questionnaire if questionnaire is None else msgspec.Raw(questionnaire)
        self._told[session_id] = Told(questionnaire=answers, at=at)
        return True

    async def end(self, session_id: str, *, at: float) -> bool:
        self._reach()
        session = self._sessions.get(session_id)
        if session is not None and not session.ended_at:
            self._sessions[session_id] = msgspec.structs.replace(session, ended_at=at)
        return session is not None

    async def forget(self, now: float) -> int:
        self._reach()
        gone = [session.id for session in self._sessions.values() if session.keep_until < now]
        for session_id in gone:
            for book in (self._sessions, self._lines, self._told):
                book.pop(session_id, None)
        return len(gone)

    def _reach(self) -> None:
        if self.away:
            raise StoreUnavailable("away")
