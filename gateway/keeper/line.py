"""The waiting line of one agent name: who stands where. Knows times and order, not capacity.

Sorted lists: a place is found by bisection, and moving a hundred thousand entries up by one is one copy of
memory. Nothing is counted through.
"""

from __future__ import annotations

import itertools
from bisect import bisect_left, insort
from collections import deque
from collections.abc import Container, Iterator
from dataclasses import dataclass

from gateway.keeper.ports import Clock

HEAD_START = 1.0
"""Seconds that the others wait for a want's first pass. After that, one that cannot go (its room's node does
not answer, say) keeps its place and holds up nobody."""

_Key = tuple[float, int, str]
"""Since when the want has been without an agent, who came first of two, and its id."""


@dataclass(slots=True)
class _Place:
    room: str
    key: _Key
    since: float
    """When it came into the line."""
    ready: bool = False
    """It has asked to go."""


class Line:
    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._serial = itertools.count()
        self._places: dict[str, _Place] = {}
        self._order: list[_Key] = []
        self._ready: list[_Key] = []
        """Those that have asked to go, in the line's order."""
        self._fresh: list[_Key] = []
        """Those that have not, and still have their head start."""
        self._arrivals: deque[_Place] = deque()
        """The fresh ones by arrival; left ones are dropped when their time is over."""

    def __len__(self) -> int:
        return len(self._places)

    def __contains__(self, want_id: str) -> bool:
        return want_id in self._places

    def add(self, want_id: str, room: str, asked_at: float) -> None:
        """Take the place that the time of the ask gives; one that has a place keeps it."""
        if want_id in self._places:
            return
        place = _Place(room, (asked_at, next(self._serial), want_id), self._clock())
        self._places[want_id] = place
        insort(self._order, place.key)
        insort(self._fresh, place.key)
        self._arrivals.append(place)

    def ask(self, want_id: str) -> int:
        """The want has asked to go. Returns how many go before it."""
        place = self._places[want_id]
        if not place.ready:
            place.ready = True
            _take_out(self._fresh, place.key)
            insort(self._ready, place.key)
        self._end_head_starts()
        return bisect_left(self._ready, place.key) + bisect_left(self._fresh, place.key)

    def asked(self, want_id: str) -> bool:
        """Whether it has asked to go, and waits for no more than its turn."""
        place = self._places.get(want_id)
        return place is not None and place.ready

    def place(self, want_id: str) -> int | None:
        """1 is next; None when it does not stand here."""
        place = self._places.get(want_id)
        return None if place is None else bisect_left(self._order, place.key) + 1

    def leave(self, want_id: str) -> None:
        place = self._places.pop(want_id, None)
        if place is not None:
            _take_out(self._order, place.key)
            _take_out(self._ready if place.ready else self._fresh, place.key)

    def ready(self) -> Iterator[str]:
        """The rooms of those that have asked to go, in order."""
        return (self._places[want_id].room for _, _, want_id in self._ready)

    def keep_only(self, living: Container[str]) -> None:
        """Drop those that have no living want, but for the newest: theirs may not be known yet."""
        old = self._clock() - HEAD_START
        for want_id in [i for i, place in self._places.items() if i not in living and place.since < old]:
            self.leave(want_id)

    def _end_head_starts(self) -> None:
        old = self._clock() - HEAD_START
        while self._arrivals and self._arrivals[0].since <= old:
            _take_out(self._fresh, self._arrivals.popleft().key)


def _take_out(keys: list[_Key], key: _Key) -> None:
    index = bisect_left(keys, key)
    if index < len(keys) and keys[index] == key:
        del keys[index]
