"""The store in memory: for the keeper under a virtual clock, where a thread would let time run away.

Behaves as the real ones, by the same contract suite. `MemoryStore` is the server and one link to it; further
replicas get links of their own by `link()`. While `away`, calls fail.
"""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

import anyio
import anyio.lowlevel

from gateway.keeper.model import Ask, Claim, Invitation, Pulse, Replica, Want
from gateway.keeper.notes import Note
from gateway.keeper.ports import LEASE, Clock, StoreUnavailable
from tests.fakes.store_world import World

T = TypeVar("T")

RECEIVE = 1.0
"""Seconds that `receive` waits for a first note."""


async def _at_once() -> None:
    pass


class MemoryLink:
    """One replica's way to the store. Implements `gateway.keeper.ports.Store`."""

    def __init__(self, world: World, *, seed: int = 0) -> None:
        self._world = world
        self._rng = random.Random(seed)
        self._me = ""
        self._generation = ""
        self._cut = False
        self.latency = 0.0005
        """Seconds that a step takes, on average."""
        self.fails: Callable[[], bool] = lambda: False
        """Asked before each step, whether it fails; then nothing is written."""
        self.loses: Callable[[], bool] = lambda: False
        """Asked after each step, whether its answer gets lost; what it wrote is written."""
        self.on_the_way: Callable[[], Awaitable[None]] = _at_once
        """Awaited before each step, and again before its answer: a caller that stands still gets neither."""

    @property
    def away(self) -> bool:
        """While true every call of this link raises StoreUnavailable and writes nothing."""
        return self._cut

    @away.setter
    def away(self, away: bool) -> None:
        self._cut = away

    def clock(self) -> float:
        return self._world.clock()

    async def ask(self, ask: Ask, *, fresh: Want, epoch: int | None = None) -> tuple[Want, bool]:
        return await self._step(lambda: self._world.ask(ask, fresh, epoch))

    async def want(self, want_id: str) -> Want | None:
        return await self._step(lambda: self._world.want(want_id))

    async def wants(self, room: str) -> list[Want]:
        return await self._step(lambda: self._world.wants(room))

    async def living(self) -> list[Want]:
        return await self._step(self._world.living)

    async def recent(self, limit: int = 1000) -> list[Want]:
        return await self._step(lambda: self._world.recent(limit))

    async def update(self, want: Want, *, was: Want, epoch: int | None = None) -> bool:
        return await self._step(lambda: self._world.update(want, was, epoch))

    async def place(self, want: Want) -> int | None:
        return await self._step(lambda: self._world.place(want))

    async def forget_ended(self, before: float) -> int:
        return await self._step(lambda: self._world.forget_ended(before))

    async def claim(self, claim: Claim) -> Claim | None:
        return await self._step(lambda: self._world.claim(claim))

    async def claims(self, room: str) -> list[Claim]:
        return await self._step(lambda: self._world.claims(room))

    async def all_claims(self) -> list[Claim]:
        return await self._step(self._world.all_claims)

    async def claim_of(self, job_id: str) -> Claim | None:
        return await self._step(lambda: self._world.claim_of(job_id))

    async def advance(self, claim: Claim, *, was: Claim, epoch: int | None = None) -> bool:
        return await self._step(lambda: self._world.advance(claim, was, epoch))

    async def release(self, job_id: str, *, epoch: int | None = None) -> Claim | None:
        return await self._step(lambda: self._world.release(job_id, epoch))

    async def invite(self, invitation: Invitation) -> None:
        await self._step(lambda: self._world.invite(invitation))

    async def invitations(self, room: str | None = None) -> list[Invitation]:
        return await self._step(lambda: self._world.invitations(room))

    async def beat(self, me: Replica, *, lead: bool) -> Pulse:
        self._me = me.id
        pulse = await self._step(lambda: self._world.beat(me, lead), guarded=False)
        self._generation = pulse.generation
        return pulse

    async def retire(self, replica_id: str) -> None:
        await self._step(lambda: self._world.retire(replica_id), guarded=False)

    async def restore(self, wants: Sequence[Want], claims: Sequence[Claim]) -> None:
        await self._step(lambda: self._world.restore(wants, claims))

    async def send(self, to: str, notes: Sequence[Note]) -> None:
        await self._step(lambda: self._world.send(to, notes))

    async def receive(self, replica_id: str) -> list[Note]:
        if not (notes := await self._step(lambda: self._world.inbox(replica_id).take(), guarded=False)):
            inbox = self._world.inbox(replica_id)
            inbox.arrived = anyio.Event()
            with anyio.move_on_after(RECEIVE):
                await inbox.arrived.wait()
            if self.fails():
                raise StoreUnavailable("the store failed")
            # The server pops for whoever waits, also when that one's line was cut since: they are lost.
            notes = self._world.inbox(replica_id).take() if inbox.arrived.is_set() else []
            self._check()
            await self.on_the_way()
            if self.loses():
                raise StoreUnavailable("the store's answer was lost")
        return notes

    async def _step(self, work: Callable[[], T], *, guarded: bool = True) -> T:
        """Others run while a step is on its way, as with the real ones; the step itself is atomic."""
        await self.on_the_way()
        if self.latency:
            await anyio.sleep(self._rng.uniform(0.0, 2 * self.latency))
        else:
            await anyio.lowlevel.checkpoint()
        self._check()
        if self.fails():
            raise StoreUnavailable("the store failed")
        if guarded and self._generation not in {"", self._world.generation}:
            raise StoreUnavailable("the store may have lost what was written: a heartbeat must come first")
        self._world.speaker = self._me
        result = work()
        await self.on_the_way()
        if self.loses():
            raise StoreUnavailable("the store's answer was lost")
        return result

    def _check(self) -> None:
        if self._cut or self._world.away:
            raise StoreUnavailable("the store is away")


class MemoryStore(MemoryLink):
    """The server: its faults and counters; and a link to it, for whoever needs only one."""

    def __init__(self, clock: Clock, *, lease: float = LEASE) -> None:
        super().__init__(World(clock, lease))
        self._links = 0

    def link(self) -> MemoryLink:
        """Another replica's way to the same store, with faults of its own."""
        self._links += 1
        link = MemoryLink(self._world, seed=self._links)
        link.latency = self.latency
        return link

    @property
    def away(self) -> bool:
        """While true every call of every link raises StoreUnavailable and writes nothing."""
        return self._world.away

    @away.setter
    def away(self, away: bool) -> None:
        self._world.away = away

    @property
    def stale_writes(self) -> int:
        """Writes that were refused because another replica leads by now (`LeaseLost`)."""
        return self._world.stale_writes

    def wipe(self) -> None:
        """FLUSHALL: everything is gone, the next beat or claim begins a new generation."""
        self._world.wipe()

    def lose(self, seconds: float) -> None:
        """A failover: what was written in the last `seconds` (up to 60) is lost."""
        self._world.lose(seconds)

    def restart(self) -> None:
        """Another process with the same data: nothing is lost, but nobody can know that."""
        self._world.restart()
