"""One simulated gateway: the real keeper, a fake pool, its lines to LiveKit and the store; and what can
happen to it as a process: killed, ended, stopped, cut off.
"""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable
from contextlib import suppress

import anyio
from anyio.abc import TaskGroup

from gateway.keeper.handover import HANDOVER_TIMEOUT
from gateway.keeper.keeper import Keeper
from gateway.keeper.notes import Hint
from gateway.keeper.ports import StoreUnavailable
from gateway.metrics import Metrics
from gateway.settings import KeeperSettings
from tests.fakes.livekit import FakeLiveKit
from tests.fakes.pool import FakePool
from tests.fakes.pool_jobs import Frozen
from tests.fakes.store import MemoryStore
from tests.simulation.clock import wall_clock
from tests.simulation.lines import LiveKitLine, Pause

AGENT = "a"
HOST = "host"
CLOSING = 0.3
"""Seconds that jobs have for ending when their gateway ends."""
LEAVES = 2.0
"""Seconds that a job has for leaving when nobody took over from it in time."""
METRICS = Metrics()
"""Nobody reads them; to make them takes longer than a history."""


class Replica:
    """A place where gateway processes run, one after the other."""

    def __init__(
        self,
        number: int,
        livekit: FakeLiveKit,
        store: MemoryStore,
        settings: KeeperSettings,
        slots: int,
        seed: int,
    ) -> None:
        self.number = number
        self.slots = slots
        self.up = False
        self.draining = False
        self.frozen = Frozen.NOTHING
        self.on_start: Callable[[Replica], None] = lambda replica: None
        self.on_hand_over: Callable[[Replica], None] = lambda replica: None
        self._livekit = livekit
        self._store = store
        self._settings = settings
        self._rng = random.Random(seed * 31 + number)
        self._starts = 0
        self._heard: list[Hint] = []
        """Webhooks that came while the process stood still: they wait in its socket."""
        self._stopped_at = 0.0
        self._tasks: TaskGroup
        self.pool: FakePool
        self.keeper: Keeper
        self.line: LiveKitLine

    # ---- its life -----------------------------------------------------------------------------------

    async def run(self) -> None:
        """One process, from its start until `kill`."""
        self._starts += 1
        self.draining = False
        self._pause = Pause()
        self.pool = FakePool(self._livekit, AGENT, slots=self.slots)
        self.line = LiveKitLine(self._livekit.link(), self._pause, self._rng)
        self.link = self._store.link()
        self.link.on_the_way = self._pass_by
        self.keeper = Keeper(
            store=self.link,
            livekit=self.line,
            workers=self.pool,
            settings=self._settings,
            metrics=METRICS,
            clock=self.clock,
            replica_id=f"replica_{self.number}.{self._starts}",
            host=HOST,
        )
        self.pool.attach(self.keeper, self.keeper)
        self.on_start(self)
        async with anyio.create_task_group() as self._tasks:
            self._tasks.start_soon(self._keep)
            self._tasks.start_soon(self.pool.run)
            self.up = True
            self.pool.start()

    async def _keep(self) -> None:
        with anyio.CancelScope() as self._keeping:
            await self.keeper.run()

    def kill(self) -> None:
        """kill -9 of the process: its jobs die with it."""
        if self.up:
            self._bury()

    def _bury(self) -> None:
        self.up, self.frozen = False, Frozen.NOTHING
        self._heard.clear()
        self.pool.crash()
        self._tasks.cancel_scope.cancel()

    async def end(self, drain: float, *, hands_over: bool) -> None:
        """SIGTERM: drain for so many seconds, then leave, in the order of `gateway.app`; calls that still run
        are handed over, or cut."""
        pool, keeper = self.pool, self.keeper
        self.draining = True
        pool.drain()
        await self._idle(pool, drain)
        if hands_over and pool.jobs and self.pool is pool and self.up:
            await self._pause.pass_by()
            self.on_hand_over(self)
            if await keeper.hand_over():
                await self._idle(pool, HANDOVER_TIMEOUT)
                await self._pause.pass_by()
                await keeper.end_handover()
                await self._idle(pool, LEAVES)
        if self.pool is not pool or not self.up:
            return
        keeper.close()
        self._keeping.cancel()  # first: calls that are cut now were not finished, and live on elsewhere
        pool.close()
        await anyio.sleep(CLOSING)
        if self.pool is not pool or not self.up:
            return
        self._bury()
        with suppress(StoreUnavailable):
            await keeper.retire()

    async def _idle(self, pool: FakePool, timeout: float) -> None:
        deadline = anyio.current_time() + timeout
        while pool.jobs and anyio.current_time() < deadline:  # noqa: ASYNC110  (the fake has no event for it)
            await anyio.sleep(0.25)

    def freeze(self, how_much: Frozen) -> None:
        """SIGSTOP."""
        self.frozen = how_much
        self._stopped_at = wall_clock()
        self._pause.begin()
        self.pool.freeze(how_much)

    def thaw(self) -> None:
        """SIGCONT."""
        if self.frozen is Frozen.NOTHING:
            return
        self.frozen = Frozen.NOTHING
        self._pause.end()
        self.pool.thaw()
        heard, self._heard = self._heard, []
        for hint in heard:
            self.keeper.hint(hint)

    def clock(self) -> float:
        """The store's clock as this process reads it; it reads nothing while it stands still."""
        return wall_clock() if self.frozen is Frozen.NOTHING else self._stopped_at

    async def _pass_by(self) -> None:
        await self._pause.pass_by()

    # ---- what reaches it ----------------------------------------------------------------------------

    def hint(self, hint: Hint) -> None:
        """A webhook."""
        if self.frozen is Frozen.NOTHING:
            self.keeper.hint(hint)
        else:
            self._heard.append(hint)

    def request(self, handle: Callable[[Keeper], Awaitable[None]]) -> None:
        """An HTTP request, handled in this process; it dies with it."""

        async def serve() -> None:
            await self._pause.pass_by()
            await handle(self.keeper)

        self._tasks.start_soon(serve)
