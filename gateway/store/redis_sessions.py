"""Sessions in Redis: a hash and a list of lines for each, which expire by themselves."""

from __future__ import annotations

import secrets
from collections.abc import Sequence

import msgspec

from gateway.keeper.ports import Clock
from gateway.sessions.model import Line, Session, Told
from gateway.sessions.ports import MOST_BYTES, MOST_LINES
from gateway.store.redis_link import RedisLink
from gateway.store.rows import read_line, read_session, write


class RedisSessions:
    """Implements `gateway.sessions.ports.SessionStore`."""

    def __init__(self, link: RedisLink, clock: Clock) -> None:
        self._link = link
        self._clock = clock

    async def add(self, session: Session) -> None:
        seconds = max(1, round(session.keep_until - self._clock()))
        await self._link.run("session_add", session.id, write(session), seconds)

    async def session(self, session_id: str) -> Session | None:
        body, ended_at, *_ = await self._link.run("session_read", session_id, "")
        if body is None:
            return None
        session = read_session(body)
        return msgspec.structs.replace(session, ended_at=float(ended_at)) if ended_at else session

    async def told(self, session_id: str) -> Told:
        _, _, questionnaire, at, lines = await self._link.run("session_read", session_id, "lines")
        return Told(
            transcript=[read_line(body) for body in lines],
            questionnaire=msgspec.Raw(questionnaire or b"null"),
            at=float(at or 0),
        )

    async def report(
        self, session_id: str, lines: Sequence[Line], questionnaire: bytes | None, *, at: float
    ) -> bool:
        pairs = [arg for line in lines for arg in (line.id or secrets.token_hex(8), write(line))]
        told = (repr(at), "" if questionnaire is None else questionnaire, MOST_LINES, MOST_BYTES, *pairs)
        return bool(await self._link.run("session_report", session_id, *told))

    async def end(self, session_id: str, *, at: float) -> bool:
        return bool(await self._link.run("session_end", session_id, repr(at)))

    async def forget(self, now: float) -> int:
        return 0  # they expire
