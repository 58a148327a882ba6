"""Which want may be dispatched now: the waiting line, and how many dispatches may be unconfirmed at once.

Knows places and numbers, not rooms' states; makes no call.

- Our own names: first come, first served, as many as the fleet's pools can take. A dispatch into a full fleet
  is dropped by LiveKit without a word (fact 3), so it is held here instead.
- Every name: a window of unconfirmed dispatches, because LiveKit launches through one pool of 50 goroutines
  and a name that nobody serves would jam the others (fact 83). It grows with each confirmation and halves
  with each loss, so that a name that nobody serves ends at one probe at a time. It starts at 4; at 16 for our
  own name, of which it is known that somebody serves it.
- All names but ours together: 8 unconfirmed, so that whoever asks for names at random delays nobody of ours.
  LiveKit asks a worker 200 ms after the dispatch (fact 4): ours can get 80 dispatches a second.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Iterator
from dataclasses import dataclass, field
from itertools import islice

from gateway.keeper.fleet import Fleet
from gateway.keeper.model import Want
from gateway.keeper.ports import Clock

_FIRST_WINDOW = 4
_WIDEST_WINDOW = 16
_ALL_FOREIGN = 8
_NAMES = 1000
"""Names come from clients: so many are remembered while nobody asks for them."""
_HEAD_START = 1.0
"""Seconds that the others wait for a want's first pass. After that, one that cannot go (its room's node does
not answer, say) keeps its place and holds up nobody."""


@dataclass(slots=True)
class _Place:
    room: str
    asked_at: float
    """Since when the want has been without an agent: the order of the line, whatever happened since."""
    since: float
    """When it came into the line."""
    ready: bool = False
    """It has asked to go."""


@dataclass(slots=True)
class _Name:
    """One agent name's share."""

    window: int
    unconfirmed: set[str] = field(default_factory=set)
    line: dict[str, _Place] = field(default_factory=dict)
    """By want id, ordered by `asked_at`."""

    def insert(self, want_id: str, place: _Place) -> None:
        last = next(reversed(self.line.values()), None)
        self.line[want_id] = place
        if last is not None and place.asked_at < last.asked_at:  # it was in line before
            self.line = dict(sorted(self.line.items(), key=lambda item: item[1].asked_at))


class Admission:
    def __init__(self, fleet: Fleet, wake: Callable[[str], None], clock: Clock) -> None:
        """`wake(room)` is called when a want of that room may go."""
        self._clock = clock
        self._fleet = fleet
        self._wake = wake
        self._names: dict[str, _Name] = {}

    def ours(self, agent: str) -> bool:
        return self._fleet.serves(agent)

    def clear(self) -> None:
        """Another replica keeps the line now."""
        self._names.clear()

    def sent(self, want: Want) -> None:
        """The want was dispatched already, by the leader before this one."""
        self._name(want.agent).unconfirmed.add(want.id)

    def enter(self, want: Want) -> str | None:
        """Ask to dispatch. None: go now; else why the want waits, and it has its place in line."""
        name = self._name(want.agent)
        if want.id in name.unconfirmed:
            return None
        self.queue(want)
        name.line[want.id].ready = True
        ahead = self._ahead(name, want.id)
        if (why := self._obstacle(want.agent, name, ahead)) is not None:
            return why
        del name.line[want.id]
        name.unconfirmed.add(want.id)
        return None

    def queue(self, want: Want) -> None:
        """Take a place in line, in the order of the asks."""
        name = self._name(want.agent)
        if want.id not in name.line:
            name.insert(want.id, _Place(want.room, want.lacking_since or want.asked_at, self._clock()))

    def keep_only(self, living: Container[str]) -> None:
        """Drop whatever has no living want: a line must not be held up by somebody who is gone."""
        old = self._clock() - _HEAD_START
        for name in self._names.values():
            for want_id in [i for i, place in name.line.items() if i not in living and place.since < old]:
                del name.line[want_id]
            name.unconfirmed.intersection_update({i for i in name.unconfirmed if i in living})

    def place(self, want: Want) -> int | None:
        """Place in line, 1 is next; None when it does not wait."""
        line = self._name(want.agent).line
        return list(line).index(want.id) + 1 if want.id in line else None

    def confirmed(self, want: Want) -> None:
        """A worker claimed the dispatch."""
        name = self._name(want.agent)
        if want.id in name.unconfirmed:
            name.window = min(_WIDEST_WINDOW, name.window + 1)
        self.leave(want)

    def lost(self, want: Want) -> None:
        """Nobody claimed the dispatch in time."""
        name = self._name(want.agent)
        if want.id in name.unconfirmed:
            name.window = max(1, name.window // 2)
        self.leave(want)

    def leave(self, want: Want) -> None:
        """The want needs no dispatch (any more): it has its agent, or it ended."""
        name = self._name(want.agent)
        name.unconfirmed.discard(want.id)
        name.line.pop(want.id, None)
        if len(self._names) > _NAMES and not name.line and not name.unconfirmed:
            del self._names[want.agent]
        self.wake_next()

    def wake_next(self) -> None:
        """Capacity may have changed: wake those who may go, in order."""
        for agent, name in list(self._names.items()):
            for room in self._may_go(agent, name):
                self._wake(room)

    def _name(self, agent: str) -> _Name:
        if agent not in self._names:
            self._names[agent] = _Name(window=_WIDEST_WINDOW if self.ours(agent) else _FIRST_WINDOW)
        return self._names[agent]

    def _may_go(self, agent: str, name: _Name) -> Iterator[str]:
        ready = (place.room for place in name.line.values() if place.ready)
        for ahead, room in enumerate(ready):
            if self._obstacle(agent, name, ahead) is not None:
                return
            yield room

    def _ahead(self, name: _Name, want_id: str) -> int:
        """How many go before this one."""
        before = islice(name.line.values(), list(name.line).index(want_id))
        fresh = self._clock() - _HEAD_START
        return sum(1 for place in before if place.ready or place.since > fresh)

    def _obstacle(self, agent: str, name: _Name, ahead: int) -> str | None:
        """Why somebody with so many ahead of them must wait."""
        if self.ours(agent):
            fleet = self._fleet.strength(agent)
            if fleet.draining:
                return "every worker is draining"
            if not fleet.registered:
                return "no worker is registered with LiveKit"
            if ahead >= fleet.free - len(name.unconfirmed):
                if fleet.busy >= fleet.slots:
                    return f"all {fleet.slots} slots are taken"
                return "no process is warm yet"
        if len(name.unconfirmed) + ahead >= name.window:
            return "earlier dispatches for this agent are not confirmed yet"
        foreign = sum(len(n.unconfirmed) for other, n in self._names.items() if not self.ours(other))
        if not self.ours(agent) and foreign + ahead >= _ALL_FOREIGN:
            return "too many dispatches for agents of other workers are not confirmed yet"
        return None
