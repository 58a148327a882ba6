"""The stores behind the same few handles, for suites that run over several of them; and the rows they use."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from gateway.keeper.model import Ask, Claim, Replica, Want
from gateway.keeper.ports import Store
from gateway.settings import StoreSettings
from gateway.store import redis, sqlite
from gateway.store.clock import steady_clock
from pool.ports import Capacity
from tests.fakes.store import MemoryStore
from tests.redis_server import RedisServer


@dataclass(frozen=True)
class StoreWorld:
    """One store, empty at first."""

    link: Callable[[], Awaitable[Store]]
    """Another replica's way to it."""
    wipe: Callable[[], object]
    """FLUSHALL."""


@asynccontextmanager
async def memory_world(lease: float) -> AsyncIterator[StoreWorld]:
    server = MemoryStore(steady_clock(), lease=lease)

    async def link() -> Store:
        return server.link()

    yield StoreWorld(link, server.wipe)


@asynccontextmanager
async def sqlite_world(path: Path) -> AsyncIterator[StoreWorld]:
    async with sqlite.open_store(StoreSettings(path=path), steady_clock()) as store:

        async def link() -> Store:
            return store

        yield StoreWorld(link, lambda: None)


@asynccontextmanager
async def redis_world(server: RedisServer, lease: float) -> AsyncIterator[StoreWorld]:
    server.call("FLUSHALL")
    settings = StoreSettings(url=server.url)
    async with AsyncExitStack() as stack:
        # Its generation begins with a lease that is over at once: only tests about that wait for one.
        first = await stack.enter_async_context(redis.open_store(settings, lease=0.001))
        await first.beat(replica("first"), lead=False)
        await first.retire("first")

        async def link() -> Store:
            return await stack.enter_async_context(redis.open_store(settings, lease=lease))

        yield StoreWorld(link, lambda: server.call("FLUSHALL"))


NOW = 1_795_000_000.0


def want(want_id: str = "w1", room: str = "r", agent: str = "a", at: float = NOW, sid: str = "") -> Want:
    return Want(
        id=want_id, room=room, agent=agent, sid=sid, created_at=at, asked_at=at, since=at, lacking_since=at
    )


def claim(job_id: str = "j1", *, of: Want, sid: str = "RM_1") -> Claim:
    return Claim(
        room=of.room,
        agent=of.agent,
        want_id=of.id,
        generation=of.generation,
        sid=sid,
        job_id=job_id,
        identity=f"agent-{job_id}",
        since=NOW,
    )


async def asked(store: Store, fresh: Want, *, epoch: int | None = None) -> Want:
    stored, _ = await store.ask(Ask(room=fresh.room, agent=fresh.agent), fresh=fresh, epoch=epoch)
    return stored


def replica(replica_id: str, slots: int = 1) -> Replica:
    return Replica(id=replica_id, host="h", agent="a", capacity=Capacity(slots=slots))
