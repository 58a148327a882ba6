"""The periodic comparison with what LiveKit lists: the cure for lost webhooks (I6).

Looks at what differs, not at everything. What grows with the number of rooms is one list of LiveKit's and one
walk over it, in slices between which others have their turn:

- rooms whose SID is not the one that they are wanted under, or where people came or went unheard and that
  matters;
- wants that have no working agent, but for those that merely wait for their turn;
- in turn, so that no load comes in one piece: rooms with agents of other people's workers, those that wait,
  and those where a join may call for an agent, all of them within `SWEEP`; rooms with our own agents, which
  tell by themselves, within `OWN_SWEEP`.

The wants themselves are in the books: whoever writes one tells the leader in the same step. They are read
from the store once in `SWEEP`, and at once when notes may have been lost.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

import anyio.lowlevel

from gateway.keeper.admission import Admission
from gateway.keeper.model import Room, Seen, Source, State, Unknown
from gateway.keeper.policy import Policy
from gateway.keeper.ports import Clock, LiveKit, Store
from gateway.keeper.wants import Wants

SWEEP = 60.0
OWN_SWEEP = 600.0
REASONS = 100
"""So many of those who wait for their turn are asked at each comparison whether their reason still holds."""
SLICE = 500
"""Rooms that are compared in one go: about a millisecond."""

TOGETHER = 16
"""Rooms that are looked at in turn come so many at a time: each by itself would wake the process for each of
its steps, which costs several times as much."""

T = TypeVar("T")

Wake = Callable[[str, float | None], None]
"""Look at a room at a time, or now."""


class Resync:
    def __init__(
        self,
        store: Store,
        livekit: LiveKit,
        wants: Wants,
        admission: Admission,
        policy: Policy,
        wake: Wake,
        clock: Clock,
        *,
        interval: float,
        seen: Callable[[str], Seen | None],
        joins_unheard: Callable[[str], None],
    ) -> None:
        """`interval`: seconds between two comparisons. `seen(room)`: the last look at it.
        `joins_unheard(room)` is called where people came or went and nobody looked."""
        self._store = store
        self._livekit = livekit
        self._wants = wants
        self._admission = admission
        self._policy = policy
        self._wake = wake
        self._clock = clock
        self._interval = interval
        self._seen = seen
        self._joins_unheard = joins_unheard
        self._leads = 0
        self.clear()

    def clear(self) -> None:
        """Another replica leads now, or this one does anew."""
        self._leads += 1
        self._listed: dict[str, tuple[str, int]] = {}
        """SID and number of people of each room, as of the last comparison."""
        self.gone: list[str] = []
        """Rooms that the last comparison missed, and the one before had."""
        self._rounds = 0
        self._first = True
        self._doubt = False
        """The books may lack something."""
        self._others = _Sweep(self._wanted_or_called_for)
        self._own = _Sweep(self._wants.rooms)

    def lists(self, room: str) -> bool:
        """Whether LiveKit listed the room in the last comparison."""
        return room in self._listed

    def doubt(self) -> None:
        """What was told to the leader may have been lost."""
        self._doubt = True

    async def run_once(self) -> str:
        """Wake every room whose state may have changed unheard. Returns "ok" or why nothing is known.

        Raises StoreUnavailable.
        """
        leads, began = self._leads, self._clock()
        self._rounds += 1
        if self._doubt or self._rounds % self._rounds_in(SWEEP) == 0:
            self._doubt = False
            await self._read_books()
        self._admission.keep_only(self._wants.lives())
        rooms = await self._livekit.rooms()
        if isinstance(rooms, Unknown):
            return rooms.why
        listed = await self._compare(rooms)
        if leads == self._leads:
            self.gone = [name for name in self._listed if name not in listed]
            self._listed, self._first = listed, False
            self._look_at_unsettled()
            await self._sweep(began)
        return "ok"

    # ---- the books ----------------------------------------------------------------------------------

    async def _read_books(self) -> None:
        try:
            began = self._clock()
            living = await self._store.living()
            for some in slices(living):
                for room in self._wants.compare(some, began):
                    self._wake(room, None)
                await anyio.lowlevel.checkpoint()
            for room in self._wants.keep_only({want.id for want in living}, began):
                self._wake(room, None)
            for invitation in await self._store.invitations():
                self._wants.invite(invitation.room, invitation.expires_at)
        except BaseException:
            self._doubt = True
            raise
        self._wants.forget_guests(self._clock())

    # ---- what differs -------------------------------------------------------------------------------

    async def _compare(self, rooms: Sequence[Room]) -> dict[str, tuple[str, int]]:
        listed: dict[str, tuple[str, int]] = {}
        for some in slices(rooms):
            for room in some:
                listed[room.name] = now = (room.sid, room.people)
                before = self._listed.get(room.name)
                if before != now:
                    self._changed(room, before)
            await anyio.lowlevel.checkpoint()
        for names in slices(self._wants.rooms()):
            for name in names:
                # One that was made since the list is looked at once more than it needs: no harm.
                if name not in listed and any(want.sid for want in self._wants.of_room(name)):
                    self._wake(name, None)
            await anyio.lowlevel.checkpoint()
        return listed

    def _changed(self, room: Room, before: tuple[str, int] | None) -> None:
        """What LiveKit lists of the room is not what it listed before."""
        wants = self._wants.of_room(room.name)
        if not wants:
            if self._anybody_may_call(room.name) and not self._seen_like_this(room):
                self._wake(room.name, None)
        elif any(want.sid != room.sid for want in wants):
            self._wake(room.name, None)
        elif self._first and all(want.state is State.JOINED for want in wants):
            pass  # as the leader before this one left it
        elif self.quiet(room.name):
            self._joins_unheard(room.name)
        elif not self._seen_like_this(room):
            self._wake(room.name, None)

    def _seen_like_this(self, room: Room) -> bool:
        """Whether the last look at the room found these people there: it was heard of."""
        seen = self._seen(room.name)
        if seen is None or seen.room is None:
            return False
        return seen.room.sid == room.sid and len(seen.people) == room.people

    def quiet(self, room: str) -> bool:
        """Whether nothing about a room changes when people come and go: our agents are there and listen, none
        of them is there because of a person, and no person's join calls for one. Should an agent close its
        session, or end, it tells so itself, and the room is looked at after that."""
        wants = self._wants.of_room(room)
        return (
            bool(wants)
            and all(
                want.state is State.JOINED
                and want.source in {Source.REQUEST, Source.DISPATCH}
                and self._admission.ours(want.agent)
                for want in wants
            )
            and not self._anybody_may_call(room)
        )

    def _anybody_may_call(self, room: str) -> bool:
        return self._wants.invited(room) or bool(self._policy.agents_for(room))

    # ---- what is looked at anyway -------------------------------------------------------------------

    def _look_at_unsettled(self) -> None:
        """Those that wait for their turn are woken when it comes; but what they wait for may be another thing
        by now, and the first of them are who is asked about."""
        waiting = 0
        for want in self._wants.unsettled():
            if not self._admission.waits(want):
                self._wake(want.room, None)
            elif waiting < REASONS:
                waiting += 1
                if self._admission.why(want) not in {None, want.reason}:
                    self._wake(want.room, None)

    async def _sweep(self, began: float) -> None:
        """The next rooms in turn, a few at a time, spread over the time until the next comparison."""
        # A new leader has not seen any of them yet: the first time round goes faster.
        own_time = OWN_SWEEP if self._own.times_round else SWEEP
        for sweep, time, own in (self._others, SWEEP, False), (self._own, own_time, True):
            rooms: list[str] = []
            for some in slices(sweep.next(self._rounds_in(time))):
                rooms += [room for room in some if own is self._tells_by_itself(room)]
                await anyio.lowlevel.checkpoint()
            for number, room in enumerate(rooms):
                turn = number - number % TOGETHER
                self._wake(room, began + self._interval * turn / len(rooms))

    def _wanted_or_called_for(self) -> list[str]:
        """Rooms that want an agent, and those where a join may call for one: whoever left and came back
        between two comparisons differs in nothing that LiveKit lists."""
        called_for = [
            name
            for name, (_, people) in self._listed.items()
            if people and not self._wants.concerns(name) and self._anybody_may_call(name)
        ]
        return [*self._wants.rooms(), *called_for]

    def _tells_by_itself(self, room: str) -> bool:
        wants = self._wants.of_room(room)
        return bool(wants) and all(
            want.state is State.JOINED and self._admission.ours(want.agent) for want in wants
        )

    def _rounds_in(self, seconds: float) -> int:
        return max(1, math.ceil(seconds / self._interval))


class _Sweep:
    """Goes through all rooms, some in each round, and begins again."""

    def __init__(self, rooms: Callable[[], list[str]]) -> None:
        self._rooms = rooms
        self._left: list[str] = []
        self._size = 0
        self._begun = 0

    @property
    def times_round(self) -> int:
        return self._begun if not self._left else self._begun - 1

    def next(self, rounds: int) -> list[str]:
        """The next ones, when all are to come in so many rounds."""
        if not self._left:
            self._left = self._rooms()
            self._size = len(self._left)
            self._begun += 1
        some = math.ceil(self._size / rounds)
        now, self._left = self._left[:some], self._left[some:]
        return now


def slices(items: Sequence[T]) -> Iterator[Sequence[T]]:
    """What is done in one go, others having their turn in between."""
    return (items[start : start + SLICE] for start in range(0, len(items), SLICE))
