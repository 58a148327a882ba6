"""What the leader remembers of rooms between its looks at them. Makes no call, decides nothing.

Nothing of it is stored: whoever leads next looks anew.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any

from gateway.keeper.model import Participant, Seen, Want
from gateway.keeper.ports import Clock

INSTANCES = 3
"""So many instances of a room are remembered."""
CLOCKS = 2.0
"""Seconds that LiveKit's times may be off, converted as they are."""
LATELY = 60.0
"""Seconds for which a webhook that nobody looked after is remembered."""


class Memory:
    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.seen: dict[str, Seen] = {}
        """The last look at each room that matters."""
        self.left_cleanly: dict[str, dict[str, float]] = {}
        """By room: when foreign agents left on purpose, as webhooks told; forgotten with the room."""
        self.relaunched: dict[str, float] = {}
        """By room: when LiveKit said that it launches an agent's job again by itself."""
        self._sightings: dict[str, dict[str, float]] = {}
        """By room: when each of its last instances (SIDs) was last there."""
        self._joins: dict[str, set[str]] = {}
        """By room: the SIDs of the people whose joins were taken into account."""
        self._heard: dict[str, dict[str, float]] = {}
        """By room and identity: when the last join since the last look was heard of."""
        self._touched: dict[str, None] = {}
        """Rooms that were looked at since the last comparison."""

    # ---- looks --------------------------------------------------------------------------------------

    def note(self, room: str, seen: Seen) -> None:
        if seen.room is not None and seen.room.metadata:
            seen = replace(seen, room=replace(seen.room, metadata=""))  # up to 512 KiB that nobody asks for
        self.seen[room] = seen
        if seen.room is not None:
            sightings = self._sightings.setdefault(room, {})
            sightings[seen.room.sid] = seen.at
            if len(sightings) > INSTANCES:
                del sightings[min(sightings, key=sightings.__getitem__)]

    def touch(self, room: str) -> None:
        """A look at the room is over."""
        self._touched[room] = None

    def asked_since_seen(self, want: Want) -> bool:
        """Whether somebody asked after the room instance that the want is pinned to was last seen: by this
        leader, or by the one before it, as it wrote down."""
        sighted = self._sightings.get(want.room, {}).get(want.sid, 0.0)
        return want.asked_at > max(sighted, want.seen_at)

    # ---- joins --------------------------------------------------------------------------------------

    def hear_join(self, room: str, identity: str) -> None:
        """A webhook told of a person's join, and the room is about to be looked at."""
        self._heard.setdefault(room, {})[identity] = self._clock()

    def forget_joins(self, room: str) -> None:
        """People came or went, and nobody looked who."""
        self._joins.pop(room, None)

    def count_joins(self, room: str, seen: Seen) -> None:
        """The joins of those who were seen are taken into account."""
        self._joins[room] = {person.sid for person in seen.people}
        later = {who: at for who, at in self._heard.pop(room, {}).items() if at > seen.at}
        if later:
            self._heard[room] = later

    def joined(self, person: Participant, want: Want) -> float | None:
        """When somebody's join became known; None when it did not come after all that the want tells of.

        That is known by who was there in the last look, and, should the agent have ended since then, by the
        webhook; without one it became known when LiveKit says, give or take what the clocks differ. In its
        first look at a room this process must go by the clocks alone: LiveKit's for the join, ours for what
        was asked and what ended.
        """
        now, before = self._clock(), self._joins.get(want.room)
        heard = self._heard.get(want.room, {}).get(person.identity)
        if heard is None and want.state.ended and person.joined_at < want.since - CLOCKS:
            return None  # no webhook, and long enough ago for the clocks to tell
        if before is None:
            last = want.since if want.state.ended else want.asked_at
            return heard or min(now, person.joined_at) if person.joined_at > last else None
        if person.sid in before or (want.state.ended and heard is not None and heard <= want.since):
            return None
        return heard or (min(now, person.joined_at + CLOCKS) if person.joined_at else now)

    # ---- forgetting ---------------------------------------------------------------------------------

    def forget(self, room: str, *, people: bool) -> None:
        """Nothing is wanted in the room. `people`: nor is it there any more."""
        for book in (self.seen, self._sightings, self.left_cleanly, self.relaunched):
            book.pop(room, None)
        if people:
            self._joins.pop(room, None)

    def forget_ended(self, matters: Callable[[str], bool], gone: Iterable[str]) -> None:
        """Drop what is remembered of rooms that do not matter. After each comparison with LiveKit's list:
        only rooms that are `gone` from it, or were looked at since, can be such."""
        for room in [*self._touched, *gone]:
            if not matters(room):
                for book in self._books():
                    book.pop(room, None)
        self._touched.clear()

    def clear(self) -> None:
        """This replica leads from now on: what it remembers of when it led before is out of date."""
        lately = self._clock() - LATELY
        heard = {room: joins for room, joins in self._heard.items() if max(joins.values()) > lately}
        for book in self._books():
            book.clear()
        self._heard.update(heard)  # a webhook's time stays true
        self._touched.clear()

    def _books(self) -> tuple[dict[str, Any], ...]:
        """All that is kept by room."""
        return (
            *(self.seen, self._sightings, self._joins, self._heard),
            *(self.left_cleanly, self.relaunched),
        )
