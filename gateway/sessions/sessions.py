"""Sessions as their visitors and operators see them: made with the agent on its way, read, reported, ended.

Keeps no agent: the keeper does, in the session's room as in any other.
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from dataclasses import dataclass

import anyio
import structlog

from gateway.errors import NotDone
from gateway.keeper.keeper import Keeper
from gateway.keeper.model import Ask, Invitation, Job, Participant, Unknown
from gateway.keeper.ports import Clock, LiveKit, StoreUnavailable
from gateway.sessions.model import Line, Session, Told
from gateway.sessions.ports import SessionStore

log = structlog.get_logger(__name__)

PREFIX = "session-"
_ALPHABET = "0123456789abcdefghijklmnopqrstuvwxyz"
_RANDOM = 20
"""Characters of 5 bits each: nobody guesses a session."""
FORGET_EVERY = 600.0
"""Seconds between two looks for sessions that need not be kept any more."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionReport:
    """One session as it is now."""

    session: Session
    told: Told
    job: Job | None
    """The agent's; None when it is forgotten."""
    people: list[Participant] | None
    """Who is there; None when LiveKit could not tell."""
    agents: list[Participant]

    @property
    def state(self) -> str:
        """`ended`, `active` while a person is there, else `waiting`; `unknown`: LiveKit could not tell."""
        if self.session.ended_at:
            return "ended"
        if self.people is None:
            return "unknown"
        if self.people:
            return "active"
        return "ended" if self.job is None or self.job.want.state.ended else "waiting"


class Sessions:
    """Every method raises StoreUnavailable."""

    def __init__(
        self, store: SessionStore, keeper: Keeper, livekit: LiveKit, clock: Clock, *, retention: float
    ) -> None:
        """`retention`: seconds for which a session is kept."""
        self._store = store
        self._keeper = keeper
        self._livekit = livekit
        self._clock = clock
        self._retention = retention

    def fresh_id(self) -> str:
        """`session-<milliseconds>-<random>`."""
        random = "".join(secrets.choice(_ALPHABET) for _ in range(_RANDOM))
        return f"{PREFIX}{int(self._clock() * 1000)}-{random}"

    async def create(
        self,
        session_id: str,
        *,
        agent: str,
        identity: str,
        language: str,
        metadata: str,
        joins_until: float,
        traceparent: str = "",
    ) -> tuple[Session, Job]:
        """Store the session, and ask for its agent at once: it is there when the visitor comes. When nobody
        came for so long that the room ended, it comes again with the visitor, until `joins_until`.
        `traceparent`: as an `Ask` has it."""
        now = self._clock()
        session = Session(
            id=session_id,
            agent=agent,
            identity=identity,
            language=language,
            metadata=metadata,
            created_at=now,
            keep_until=now + self._retention,
        )
        await self._store.add(session)
        await self._keeper.invite(_invitation(session, metadata, joins_until))
        ask = Ask(room=session.id, agent=agent, metadata=metadata, traceparent=traceparent)
        job = await self._keeper.start_agent(ask)
        log.info("session_created", session=session.id, agent=agent)
        return session, job

    async def of(self, room: str) -> Session | None:
        """The session whose room this is."""
        return await self._store.session(room) if room.startswith(PREFIX) else None

    async def read(self, session_id: str) -> SessionReport | None:
        session = await self._store.session(session_id)
        if session is None:
            return None
        room = await self._keeper.reports.room(session.id)
        jobs = [job for job in room.wants if job.want.agent == session.agent] if room is not None else []
        there = await self._livekit.participants(session.id)
        known = [] if isinstance(there, Unknown) else there
        return SessionReport(
            session=session,
            told=await self._store.told(session_id),
            job=jobs[-1] if jobs else None,
            people=None if isinstance(there, Unknown) else [p for p in known if p.person],
            agents=[p for p in known if p.agent == session.agent],
        )

    async def report(self, session_id: str, lines: Sequence[Line], questionnaire: bytes | None) -> bool:
        """What the agent tells; False when there is no such session (any more)."""
        return await self._store.report(session_id, lines, questionnaire, at=self._clock())

    async def end(self, session_id: str) -> bool:
        """The agent goes, does not come again, and everybody is put out. False: there is no such session.

        Raises NotDone when LiveKit did not tell that everybody is out.
        """
        session = await self._store.session(session_id)
        if session is None:
            return False
        await self._store.end(session_id, at=self._clock())
        await self._keeper.invite(_invitation(session, "", expires_at=self._clock()))
        await self._keeper.stop_agent(session.id, session.agent)
        log.info("session_ended", session=session.id)
        there = await self._livekit.participants(session.id)
        people = [] if isinstance(there, Unknown) else [p.identity for p in there if p.person]
        removed = [await self._livekit.remove_participant(session.id, person) for person in people]
        if any(isinstance(answer, Unknown) for answer in (there, *removed)):
            raise NotDone("The session has ended, but LiveKit did not tell that nobody is there: ask again.")
        return True

    async def run(self) -> None:
        """Forget what need not be kept any more, until cancelled."""
        while True:
            try:
                while await self._store.forget(self._clock()):
                    pass  # some more
            except StoreUnavailable as fault:
                log.warning("sessions_not_forgotten", why=str(fault))
            await anyio.sleep(FORGET_EVERY)


def _invitation(session: Session, metadata: str, expires_at: float) -> Invitation:
    return Invitation(
        room=session.id,
        identity=session.identity,
        agent=session.agent,
        metadata=metadata,
        expires_at=expires_at,
    )
