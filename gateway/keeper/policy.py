"""Which rooms want which agent without anybody asking. Pure: reads what was seen, returns asks.

- An invitation: a token that we minted names an agent; each join of its owner calls for it, as long as the
  token lives.
- A pattern: the room's name matches a setting; each join of a person calls for the agent.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

from gateway.keeper.model import Ask, Invitation, Participant, Seen, Source, Want


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    default_agent: str
    patterns: Sequence[tuple[str, str]] = ()
    """(glob, agent name or "" for the default)."""

    def agents_for(self, room: str) -> tuple[str, ...]:
        """The agents that a room of this name wants by setting."""
        if not self.patterns:
            return ()
        return tuple(
            dict.fromkeys(
                agent or self.default_agent for glob, agent in self.patterns if fnmatchcase(room, glob)
            )
        )

    def asks(
        self,
        seen: Seen,
        wants: Iterable[Want],
        invitations: Iterable[Invitation],
        joined: Callable[[Participant, Want], float | None],
    ) -> list[Ask]:
        """What the people in the room call for.

        `joined`: when a participant's join became known that came after all that the want tells of; None when
        it did not. Such a join calls for an agent where none is wanted, and renews the want of one that is:
        the agent that was about to end comes back.
        """
        if seen.room is None:
            return []
        known = {want.agent: want for want in wants}
        asks = []
        for agent, caller in self._callers(seen, invitations).items():
            want = known.get(agent)
            # One that ended before its room was seen meant whichever comes.
            another_room = want is not None and want.state.ended and want.sid not in {"", seen.room.sid}
            joins = [joined(p, want) for p in caller.people] if want is not None else []
            fresh = [at for at in joins if at is not None]
            if want is None or another_room or fresh:
                asks.append(
                    Ask(
                        room=seen.room.name,
                        agent=agent,
                        source=caller.source,
                        metadata=caller.metadata,
                        sid=seen.room.sid,
                        at=max(fresh, default=0.0) if not another_room else 0.0,
                    )
                )
        return asks

    def _callers(self, seen: Seen, invitations: Iterable[Invitation]) -> dict[str, _Caller]:
        """By agent: who in the room calls for it."""
        assert seen.room is not None
        callers = {}
        if seen.people:
            for agent in self.agents_for(seen.room.name):
                callers[agent] = _Caller(seen.people, Source.POLICY)
        for invitation in invitations:
            guests = [p for p in seen.people if p.identity == invitation.identity]
            if guests and invitation.room == seen.room.name:
                callers[invitation.agent] = _Caller(guests, Source.INVITATION, invitation.metadata)
        return callers


@dataclass(frozen=True, slots=True)
class _Caller:
    people: list[Participant]
    source: Source
    metadata: str = ""
