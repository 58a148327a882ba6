"""A whole site in memory: keeper, fake LiveKit, fake pool, memory store, and an observer of agents.

Runs under trio's virtual clock; seconds cost nothing.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace

import anyio

from gateway.keeper.keeper import Keeper
from gateway.keeper.model import Ask, Job, State
from gateway.keeper.notes import Hint
from gateway.livekit.webhooks import Event
from gateway.metrics import Metrics
from gateway.settings import KeeperSettings
from gateway.traces import TracedJobs, Traces
from tests.fakes.livekit import FakeLiveKit
from tests.fakes.livekit_parts import Connection
from tests.fakes.pool import FakePool
from tests.fakes.store import MemoryStore

AGENT = "a"


def wall_clock() -> float:
    """The virtual clock, far from the epoch: 0 means "never" in wants."""
    return 1_800_000_000.0 + anyio.current_time()


class Observer:
    """Counts agents per room instance from what happens in the world. Shares nothing with the keeper."""

    def __init__(self, livekit: FakeLiveKit) -> None:
        self.arrived: dict[str, list[str]] = defaultdict(list)
        """Agents that ever came, by room name."""
        self.most: dict[str, int] = defaultdict(int)
        """The most agents that were ever in a room at once."""
        self._livekit = livekit
        livekit.on_event.append(self._hear)

    def _hear(self, event: Event) -> None:
        room = event.room.name
        who = event.participant
        if event.event == "participant_joined" and who is not None and who.kind == "AGENT":
            self.arrived[room].append(who.identity)
        agents = [c for c in self._livekit.present(room) if c.agent is not None]
        self.most[room] = max(self.most[room], len(agents))

    def agents(self, room: str) -> list[str]:
        return [c.identity for c in self._livekit.present(room) if c.agent is not None]


class Site:
    """One gateway process with its pool, beside one LiveKit."""

    def __init__(
        self, livekit: FakeLiveKit, store: MemoryStore, settings: KeeperSettings, slots: int
    ) -> None:
        self.livekit = livekit
        self.store = store
        self.settings = settings
        self.slots = slots
        self.observer = Observer(livekit)
        self.metrics = Metrics()
        self.webhooks = True
        """Whether webhooks are delivered."""
        self.traces: Traces | None = None
        """Who hears of spans; set before it runs."""
        self.pool: FakePool
        self.keeper: Keeper
        livekit.on_event.append(self._webhook)

    @asynccontextmanager
    async def running(self, *, registered: bool = True) -> AsyncIterator[None]:
        """The gateway, from its start to its kill -9."""
        self.pool = FakePool(self.livekit, AGENT, slots=self.slots)
        self.keeper = Keeper(
            store=self.store,
            livekit=self.livekit,
            workers=self.pool,
            settings=self.settings,
            metrics=self.metrics,
            clock=wall_clock,
            changed=self.traces.changed if self.traces else lambda want, was: None,
            trace=self.traces.begin if self.traces else str,
        )
        told = TracedJobs(self.keeper, self.keeper, self.traces) if self.traces else self.keeper
        self.pool.attach(told, told)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self.keeper.run)
            tasks.start_soon(self.pool.run)
            if registered:
                self.pool.start()
            yield
            self.pool.crash()
            tasks.cancel_scope.cancel()

    async def ask(self, room: str = "r") -> Job:
        return await self.keeper.start_agent(Ask(room=room, agent=AGENT))

    async def state(self, job: Job) -> State:
        found = await self.keeper.job(job.want.id)
        assert found is not None
        return found.want.state

    def person(self, room: str = "r", identity: str = "p") -> Connection:
        return self.livekit.join(room, identity)

    async def until(self, condition: Callable[[], bool], within: float = 30.0) -> float:
        """Seconds until the condition held; fails after `within`."""
        began = anyio.current_time()
        with anyio.fail_after(within):
            while not condition():  # noqa: ASYNC110  (the world has no one event; its clock is virtual)
                await anyio.sleep(0.01)
        return anyio.current_time() - began

    async def served(self, room: str = "r", within: float = 30.0) -> str:
        """The identity of the room's one working agent, once it has one."""

        def working() -> bool:
            return any(
                j.offer.room == room and j.connection is not None and not j.deaf and not j.exited
                for j in self.pool.jobs.values()
            )

        await self.until(working, within)
        return self.observer.agents(room)[0]

    def _webhook(self, event: Event) -> None:
        if not self.webhooks or not hasattr(self, "keeper"):
            return
        who = event.participant
        self.keeper.hint(
            Hint(
                event=event.event,
                room=event.room.name,
                sid=event.room.sid,
                identity=who.identity if who is not None else "",
                person=who is not None and who.kind != "AGENT",
                reason=who.disconnect_reason if who is not None else "",
            )
        )


@asynccontextmanager
async def a_site(*, slots: int = 4, settings: KeeperSettings | None = None) -> AsyncIterator[Site]:
    async with FakeLiveKit(clock=wall_clock) as livekit:
        store = MemoryStore(wall_clock)
        yield Site(livekit, store, settings or replace(KeeperSettings(), default_agent=AGENT), slots)
