"""The heartbeat of this replica: tells the store that it lives, learns who leads, and notices when the store
has lost what it had. Decides nothing about rooms.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import anyio
import structlog

from gateway.keeper.fleet import Fleet
from gateway.keeper.model import Pulse, Unknown
from gateway.keeper.ports import LEASE, Clock, LiveKit, Store, StoreUnavailable
from gateway.metrics import Metrics

log = structlog.get_logger(__name__)

BEAT = 0.5
"""Seconds between heartbeats; one also goes out when the capacity of a replica that does not lead changes,
and when one is told to drain."""
QUICKEST = 0.02
LIVEKIT_CHECK = 2.0


class Heart:
    """Calls `gained(epoch)` when this replica becomes the leader, `lost()` when it is not any more,
    `departed()` when another replica is gone, `emptied()` when the store has begun a new generation,
    `doubted()` when this replica may have been given up: it was stopped, or cut off, and after each heartbeat
    `cut_off(...)`, whether the store is out of reach; `others_changed()`, what the other replicas can take.
    """

    def __init__(
        self,
        store: Store,
        livekit: LiveKit,
        fleet: Fleet,
        metrics: Metrics,
        clock: Clock,
        *,
        gained: Callable[[int], None],
        lost: Callable[[], None],
        departed: Callable[[], None],
        emptied: Callable[[], Awaitable[None]],
        doubted: Callable[[], None],
        cut_off: Callable[[bool], None],
        others_changed: Callable[[], None],
    ) -> None:
        self._store = store
        self._livekit = livekit
        self._fleet = fleet
        self._metrics = metrics
        self._clock = clock
        self._gained, self._lost, self._departed = gained, lost, departed
        self._emptied, self._doubted, self._cut_off = emptied, doubted, cut_off
        self._others_changed = others_changed
        self._early = anyio.Event()
        self._term = 0
        """Of our lead; 0 while we do not lead."""
        self.leader = ""
        """Who leads, as of the last heartbeat; "" for nobody."""
        self._last = 0.0
        self.generation = ""
        """The store's, once everything that we know was put back into it."""
        self.fault = "no heartbeat yet"
        """Why the store cannot be used; "" when it answers."""

    async def run(self) -> None:
        """Beat until cancelled."""
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._check_livekit, name="keeper-livekit-check")
            tasks.start_soon(self._beat, name="keeper-heart")

    def hurry(self) -> None:
        """The others should know of this replica's capacity at once."""
        if not self._fleet.alone:
            self._early.set()

    async def _beat(self) -> None:
        while True:
            sent = self._clock()
            try:
                pulse = await self._store.beat(self._fleet.me(), lead=self._fleet.should_lead)
                await self._take(pulse, sent)
                self.fault = ""
                self._metrics.heartbeats.labels("ok").inc()
                self._cut_off(False)  # also when this process stood still, and the heartbeat is old
            except StoreUnavailable as fault:
                if not self.fault:
                    log.error("store_unavailable", why=str(fault))
                self.fault = str(fault)
                self._metrics.heartbeats.labels("failed").inc()
                self._cut_off(self._fleet.cut_off)
            self._mind_the_lead()
            await anyio.sleep(QUICKEST)
            with anyio.move_on_after(BEAT - QUICKEST):
                await self._early.wait()
            self._early = anyio.Event()

    async def _take(self, pulse: Pulse, sent: float) -> None:
        gap, self._last = sent - self._last, sent
        living, lapsed = self._fleet.living, self._fleet.lapsed
        changed = self._fleet.take(pulse, sent)
        for replica in self._fleet.lapsed - lapsed:
            log.warning("replica_lapsed", replica=replica)
            self._metrics.replicas_lapsed.inc()
        if living - self._fleet.living:
            self._departed()
        if pulse.leader != self.leader:
            log.info("leader_is", leader=pulse.leader, epoch=pulse.epoch, me=self._fleet.id)
            self.leader = pulse.leader
        if pulse.generation != self.generation:
            if self.generation:
                log.warning("store_lost_its_memory", was=self.generation, now=pulse.generation)
            await self._emptied()
            self.generation = pulse.generation
        self._fleet.told_all(sent)
        if changed:
            self._others_changed()
        if gap > LEASE:
            self._doubted()

    def _mind_the_lead(self) -> None:
        epoch = self._fleet.epoch
        term = 0 if epoch is None else self._fleet.term
        if term == self._term:
            return
        had, self._term = self._term, term
        self._metrics.leading.set(epoch is not None)
        if had:
            self._lost()
        if epoch is not None:
            self._gained(epoch)

    async def _check_livekit(self) -> None:
        """Whether LiveKit answers this replica at all: one whose clock is off, say, gets 401s (fact 85)."""
        while True:
            answer = await self._livekit.rooms(["roomkeeper-probe"])
            self._fleet.note_livekit(answered=not isinstance(answer, Unknown))
            await anyio.sleep(LIVEKIT_CHECK)
