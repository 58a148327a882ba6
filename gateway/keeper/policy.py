"""Which rooms want which agent without anybody asking. Pure: reads what was seen, returns asks.

- An invitation: a token that we minted names an agent; the want begins when its owner joins.
- A pattern: the room's name matches a setting; the want begins with a person, and every person's join after
  the agent finished renews it (I5).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

from gateway.keeper.model import Ask, Invitation, Seen, Source, Want


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

    def asks(self, seen: Seen, wants: Iterable[Want], invitations: Iterable[Invitation]) -> list[Ask]:
        """What the people in the room call for and nobody has asked for yet."""
        if seen.room is None or not seen.people:
            return []
        known = {want.agent: want for want in wants}
        return [*self._invited(seen, invitations), *self._by_name(seen, known)]

    def _invited(self, seen: Seen, invitations: Iterable[Invitation]) -> list[Ask]:
        assert seen.room is not None
        here = {p.identity for p in seen.people}
        return [
            Ask(
                room=i.room,
                agent=i.agent,
                source=Source.INVITATION,
                metadata=i.metadata,
                sid=seen.room.sid,
            )
            for i in invitations
            if i.identity in here and i.room == seen.room.name
        ]

    def _by_name(self, seen: Seen, known: dict[str, Want]) -> list[Ask]:
        assert seen.room is not None
        last_join = max(p.joined_at for p in seen.people)
        asks = []
        for agent in self.agents_for(seen.room.name):
            want = known.get(agent)
            # A living want needs no ask; one that ended in this room comes back for a later join only.
            if want is None or (want.state.ended and (want.sid != seen.room.sid or want.since < last_join)):
                asks.append(Ask(room=seen.room.name, agent=agent, source=Source.POLICY, sid=seen.room.sid))
        return asks
