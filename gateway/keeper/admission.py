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

from gateway.keeper.fleet import Fleet
from gateway.keeper.line import Line
from gateway.keeper.model import Want
from gateway.keeper.ports import Clock

_FIRST_WINDOW = 4
_WIDEST_WINDOW = 16
_ALL_FOREIGN = 8
_NAMES = 1000
"""Names come from clients: so many are remembered while nobody asks for them."""


@dataclass(slots=True)
class _Name:
    """One agent name's share."""

    window: int
    line: Line
    unconfirmed: set[str] = field(default_factory=set)


class Admission:
    def __init__(self, fleet: Fleet, wake: Callable[[str], None], clock: Clock) -> None:
        """`wake(room)` is called when a want of that room may go."""
        self._clock = clock
        self._fleet = fleet
        self._wake = wake
        self._names: dict[str, _Name] = {}
        self._lines: dict[str, None] = {}
        """The names for which somebody may stand in line."""
        self._sent: dict[str, None] = {}
        """The names that may have unconfirmed dispatches."""

    def ours(self, agent: str) -> bool:
        return self._fleet.serves(agent)

    def clear(self) -> None:
        """Another replica keeps the line now."""
        self._names.clear()
        self._lines.clear()
        self._sent.clear()

    def sent(self, want: Want) -> None:
        """The want was dispatched already, by the leader before this one."""
        self._send(want)

    def enter(self, want: Want) -> str | None:
        """Ask to dispatch. None: go now; else why the want waits, and it has its place in line."""
        name = self._name(want.agent)
        if want.id in name.unconfirmed:
            return None
        self.queue(want)
        ahead = name.line.ask(want.id)
        if (why := self._obstacle(want.agent, name, ahead)) is not None:
            return why
        name.line.leave(want.id)
        self._send(want)
        return None

    def queue(self, want: Want) -> None:
        """Take a place in line, in the order of the asks."""
        self._name(want.agent).line.add(want.id, want.room, want.lacking_since or want.asked_at)
        self._lines[want.agent] = None

    def waits(self, want: Want) -> bool:
        """Whether the want lacks nothing but its turn: it is woken when that comes."""
        name = self._names.get(want.agent)
        return name is not None and name.line.asked(want.id)

    def why(self, want: Want) -> str | None:
        """What a want that waits for its turn waits for by now; None when it may go, or does not wait."""
        name = self._names.get(want.agent)
        if name is None or not name.line.asked(want.id):
            return None
        return self._obstacle(want.agent, name, name.line.ask(want.id))

    def keep_only(self, living: Container[str]) -> None:
        """Drop whatever has no living want: a line must not be held up by somebody who is gone."""
        for name in self._names.values():
            name.line.keep_only(living)
            name.unconfirmed.intersection_update({i for i in name.unconfirmed if i in living})

    def unserved(self, agent: str) -> int:
        """How many wants for the agent stand in line, or were called for and not claimed yet."""
        name = self._names.get(agent)
        return 0 if name is None else len(name.line) + len(name.unconfirmed)

    def place(self, want: Want) -> int | None:
        """Place in line, 1 is next; None when it does not wait."""
        name = self._names.get(want.agent)
        return None if name is None else name.line.place(want.id)

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
        name.line.leave(want.id)
        if len(self._names) > _NAMES and not name.line and not name.unconfirmed:
            del self._names[want.agent]
        self.wake_next()

    def drop(self, want: Want) -> None:
        """The want has ended; mostly it has left long ago."""
        name = self._names.get(want.agent)
        if name is not None and (want.id in name.line or want.id in name.unconfirmed):
            self.leave(want)

    def wake_next(self) -> None:
        """Capacity may have changed: wake those who may go, in order."""
        for agent in list(self._lines):
            name = self._names.get(agent)
            if name is None or not name.line:
                del self._lines[agent]
                continue
            for room in self._may_go(agent, name):
                self._wake(room)

    def _send(self, want: Want) -> None:
        self._name(want.agent).unconfirmed.add(want.id)
        self._sent[want.agent] = None

    def _name(self, agent: str) -> _Name:
        name = self._names.get(agent)
        if name is None:
            window = _WIDEST_WINDOW if self.ours(agent) else _FIRST_WINDOW
            name = self._names[agent] = _Name(window, Line(self._clock))
        return name

    def _may_go(self, agent: str, name: _Name) -> Iterator[str]:
        for ahead, room in enumerate(name.line.ready()):
            if self._obstacle(agent, name, ahead) is not None:
                return
            yield room

    def _obstacle(self, agent: str, name: _Name, ahead: int) -> str | None:
        """Why somebody with so many ahead of them must wait."""
        if self.ours(agent):
            fleet = self._fleet.strength(agent)
            if fleet.draining:
                return "every worker is draining"
            if not fleet.registered:
                return "no worker is registered with LiveKit"
            if not fleet.slots and fleet.withheld:
                return "jobs did not get into their rooms: their workers take none for a while"
            if not fleet.slots:
                return "no worker takes jobs just now"
            if ahead >= fleet.free - len(name.unconfirmed):
                if fleet.busy >= fleet.slots:
                    return f"all {fleet.slots} slots are taken"
                return "no process is warm yet"
        if len(name.unconfirmed) + ahead >= name.window:
            return "earlier dispatches for this agent are not confirmed yet"
        if not self.ours(agent) and self._foreign() + ahead >= _ALL_FOREIGN:
            return "too many dispatches for agents of other workers are not confirmed yet"
        return None

    def _foreign(self) -> int:
        """Unconfirmed dispatches for the names of other people's workers."""
        total = 0
        for agent in list(self._sent):
            name = self._names.get(agent)
            if name is None or not name.unconfirmed:
                del self._sent[agent]
            elif not self.ours(agent):
                total += len(name.unconfirmed)
        return total
