"""What happened to the rooms of a row, measured while it is played, and handed to the judge at its end."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from tests.processes.outcome import Outcome
from tests.processes.rooms import Rooms
from tests.processes.verdict import Pause, Said

CALM = 3.0
"""Seconds in which a second agent would have come: from dispatch to agent it takes 0.4 (fact 4), and a lost
dispatch is made again after 4."""
POLL_STATES = 0.5
FRESH = 15.0
"""Seconds after a gateway's launch in which it may tell what the store last heard."""


@dataclass(slots=True, kw_only=True)
class Stage(Rooms):
    outcome: Outcome
    said: list[Said] = field(default_factory=list)
    pauses: list[Pause] = field(default_factory=list)

    async def heal(self, room: str, *, since: float, limit: float, former: Collection[str] = ()) -> bool:
        """Measure from `since` until an agent other than `former` works there; after `limit`: I2, False."""
        try:
            sample = await self.record.wait_working(
                room,
                other_than=tuple(former),
                since=since,
                timeout=max(0.1, limit - (time.monotonic() - since)),
            )
        except TimeoutError:
            self.outcome.violate("I2", f"no agent {limit:g} s after the fault. {self.record.describe(room)}")
            return False
        self.outcome.heals.append(max(0.0, sample.at - since))
        return True

    async def heal_all(
        self, rooms: Sequence[str], *, since: float, limit: float, former: Mapping[str, str] | None = None
    ) -> None:
        gone = former or {}
        await asyncio.gather(
            *(
                self.heal(room, since=since, limit=limit, former=[gone[room]] if room in gone else [])
                for room in rooms
            )
        )

    async def calm(self, rooms: Sequence[str], seconds: float = CALM) -> None:
        """Nothing is done for some seconds: whoever works there now must be the one who does afterwards."""
        before = {room: self.record.working(room) for room in rooms}
        await asyncio.sleep(seconds)
        for room, agents in before.items():
            if len(self.record.working(room)) != 1:
                self.outcome.violate("I2", f"not one agent in the end. {self.record.describe(room)}")
            elif agents and self.record.working(room) != agents:
                self.outcome.violate("I3", f"another agent after it was calm. {self.record.describe(room)}")

    async def heard(self, room: str, *, since: float, limit: float) -> None:
        """The same as `heal`, by the ears of the person, for when LiveKit's lists lie (fact 20)."""
        try:
            track = await self.people[room].agent_track(
                since=since, timeout=max(0.1, limit - (time.monotonic() - since))
            )
        except AssertionError as error:
            self.outcome.violate("I2", f"{error}. {self.record.describe(room)}")
        else:
            self.outcome.heals.append(track.at - since)

    def must_be_uncut(self, rooms: Sequence[str], before: Mapping[str, str]) -> None:
        """Whoever worked there still does: nothing was done to them, and nothing may be about them (I3)."""
        for room in rooms:
            if self.record.working(room) != {before[room]}:
                self.outcome.violate("I3", f"{before[room]} was cut off. {self.record.describe(room)}")
        self.outcome.add("calls_kept", len(rooms) - self.cut(rooms, before))
        self.outcome.add("calls_cut", self.cut(rooms, before))

    def cut(self, rooms: Sequence[str], before: Mapping[str, str]) -> int:
        """Calls that have another agent now, or none, than they had before."""
        return sum(self.record.working(room) != {before[room]} for room in rooms)

    async def total(self, metric: str, **labels: str) -> float:
        """A metric's sum over the replicas that answer."""
        return sum([await r.count(metric, **labels) for r in self.replicas if r.alive])

    async def witnesses(self) -> dict[str, float]:
        """How often agents of lapsed replicas were asked whether they live, by what came of it."""
        answers = ("alive", "gone", "unknown")
        return {word: await self.total("roomkeeper_witnesses_total", answer=word) for word in answers}

    @asynccontextmanager
    async def pause(self, rooms: Sequence[str]) -> AsyncIterator[None]:
        """The processes or the links that serve these rooms stand still meanwhile: in them, and in no other,
        I1 allows an overlap until 2 s after it."""
        start = time.monotonic()
        try:
            yield
        finally:
            self.pauses.append(Pause(start, time.monotonic(), frozenset(rooms)))

    async def listen(self) -> None:
        """What the API says, in turn by each replica."""
        for replica in itertools.cycle(self.replicas):
            await asyncio.sleep(POLL_STATES)
            if not replica.alive:
                continue
            before = time.monotonic()
            wants = await replica.wants()
            took = time.monotonic() - before
            if replica.starts or before - replica.launched < FRESH:
                continue  # one that has just started has yet to look
            for want in wants:
                who = want["agentIdentity"] or ""
                self.said.append(Said(before, want["roomName"], want["state"], who, took))

    def judge(self) -> None:
        """Hold the record against the invariants."""
        self.outcome.judge(self.record, self.said, self.pauses, self.wishes)
