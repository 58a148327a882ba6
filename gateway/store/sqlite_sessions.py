"""Sessions in the SQLite file of the store, on its one connection."""

from __future__ import annotations

import secrets
from collections.abc import Sequence

import msgspec

from gateway.sessions.model import Line, Session, Told
from gateway.sessions.ports import FORGET_AT_ONCE, MOST_BYTES, MOST_LINES
from gateway.store.rows import read_line, read_session, write
from gateway.store.sqlite_step import Steps, step


class SqliteSessions:
    """Implements `gateway.sessions.ports.SessionStore`."""

    def __init__(self, beside: Steps) -> None:
        self.db = beside.db

    @step
    def add(self, session: Session) -> None:
        self.db.execute(
            "INSERT INTO sessions (id, keep_until, body) VALUES (?, ?, ?)",
            (session.id, session.keep_until, write(session)),
        )

    @step
    def session(self, session_id: str) -> Session | None:
        return self._session(session_id)

    @step
    def told(self, session_id: str) -> Told:
        row = self.db.execute(
            "SELECT questionnaire, reported_at FROM sessions WHERE id = ?", (session_id,)
        ).fetchone()
        if row is None:
            return Told()
        lines = self.db.execute("SELECT body FROM said WHERE session = ? ORDER BY number", (session_id,))
        return Told(
            transcript=[read_line(body) for (body,) in lines],
            questionnaire=msgspec.Raw(row[0] or b"null"),
            at=row[1],
        )

    @step
    def report(
        self, session_id: str, lines: Sequence[Line], questionnaire: bytes | None, *, at: float
    ) -> bool:
        if self._session(session_id) is None:
            return False
        count, size = self.db.execute(
            "SELECT COUNT(*), COALESCE(SUM(LENGTH(body)), 0) FROM said WHERE session = ?", (session_id,)
        ).fetchone()
        for line in lines:
            body = write(line)
            if count >= MOST_LINES or size + len(body) > MOST_BYTES:
                break
            stored = self.db.execute(
                "INSERT INTO said (session, line, body) VALUES (?, ?, ?) ON CONFLICT DO NOTHING",
                (session_id, line.id or secrets.token_hex(8), body),
            ).rowcount
            count, size = count + stored, size + stored * len(body)
        self.db.execute(
            "UPDATE sessions SET reported_at = ?, questionnaire = COALESCE(?, questionnaire) WHERE id = ?",
            (at, questionnaire, session_id),
        )
        return True

    @step
    def end(self, session_id: str, *, at: float) -> bool:
        session = self._session(session_id)
        if session is None:
            return False
        if not session.ended_at:
            ended = write(msgspec.structs.replace(session, ended_at=at))
            self.db.execute("UPDATE sessions SET body = ? WHERE id = ?", (ended, session_id))
        return True

    @step
    def forget(self, now: float) -> int:
        due = "SELECT id FROM sessions WHERE keep_until < ? LIMIT ?"
        gone = [row[0] for row in self.db.execute(due, (now, FORGET_AT_ONCE))]
        for session_id in gone:
            self.db.execute("DELETE FROM said WHERE session = ?", (session_id,))
            self.db.execute("DELETE FROM sessions WHERE id = ?", (session_id,))
        return len(gone)

    def _session(self, session_id: str) -> Session | None:
        row = self.db.execute("SELECT body FROM sessions WHERE id = ?", (session_id,)).fetchone()
        return None if row is None else read_session(row[0])
