"""How often somebody may ask: requests by address, and by the participant whose token is sent. Operators are
not counted. Replicas that share a Redis share the counts; while it is away, each counts by itself.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import structlog
from limits import RateLimitItem, parse
from limits.aio.storage import MemoryStorage, RedisStorage, Storage
from limits.aio.strategies import SlidingWindowCounterRateLimiter
from limits.errors import StorageError

from gateway.errors import TooManyRequests
from gateway.metrics import Metrics
from gateway.settings import RateSettings, StoreSettings
from gateway.store.redis_link import pool_of

log = structlog.get_logger(__name__)

ANSWER_WITHIN = 0.25
"""Seconds that Redis may take for a count; nobody waits longer for being counted."""
CONNECTIONS = 8
ALONE_FOR = 5.0
"""Seconds for which this process counts by itself once Redis did not answer."""
SWEEP_EVERY = 10.0
"""Seconds between two looks for counts that have expired."""
PREFIX = "{roomkeeper}:rates"


class OwnCounts(MemoryStorage):
    """Looks for what has expired now and then. limits (5.8) looks through all counts at each new one: with
    30,000 addresses, one request more took 5 ms of everybody's time."""

    def __init__(self) -> None:
        super().__init__()
        self._sweep_at = 0.0

    async def _MemoryStorage__schedule_expiry(self) -> None:  # noqa: N802  (its private name, pinned by a test)
        if time.monotonic() >= self._sweep_at:
            self._sweep_at = time.monotonic() + SWEEP_EVERY
            for key in [key for key, until in self.expirations.items() if until <= time.time()]:
                for book in (self.storage, self.expirations, self.locks):
                    book.pop(key, None)


class Rates:
    """Raises TooManyRequests; nothing else."""

    def __init__(self, settings: RateSettings, metrics: Metrics, shared: Storage | None = None) -> None:
        """`shared`: where all replicas count; None where there is one."""
        self._by_address = parse(settings.by_address) if settings.by_address else None
        self._by_caller = parse(settings.by_caller) if settings.by_caller else None
        self._metrics = metrics
        self._own = SlidingWindowCounterRateLimiter(OwnCounts())
        self._shared = SlidingWindowCounterRateLimiter(shared) if shared is not None else None
        self._alone_until = 0.0

    async def count_address(self, address: str) -> None:
        await self._count(self._by_address, "address", address)

    async def count_caller(self, room: str, identity: str) -> None:
        await self._count(self._by_caller, "caller", room, identity)

    async def _count(self, rate: RateLimitItem | None, kind: str, *who: str) -> None:
        if rate is None:
            return
        if not await self._hit(rate, kind, *who):
            self._metrics.refused_for_rate.labels(kind).inc()
            raise TooManyRequests(
                f"More than {rate} from one {kind}: ask less often.", retry_after=_pause(rate)
            )

    async def _hit(self, rate: RateLimitItem, *key: str) -> bool:
        if self._shared is not None and time.monotonic() >= self._alone_until:
            try:
                async with asyncio.timeout(ANSWER_WITHIN):  # a connection may take longer, or none be free
                    return await self._shared.hit(rate, *key)
            except (StorageError, TimeoutError) as fault:
                self._alone_until = time.monotonic() + ALONE_FOR
                why = fault.storage_error if isinstance(fault, StorageError) else fault
                log.warning("rates_counted_alone", why=type(why).__name__)
        return await self._own.hit(rate, *key)


def _pause(rate: RateLimitItem) -> float:
    """Seconds until one more is let in, when they come evenly."""
    return rate.get_expiry() / rate.amount


@asynccontextmanager
async def open_rates(settings: RateSettings, store: StoreSettings, metrics: Metrics) -> AsyncIterator[Rates]:
    if not store.url:
        yield Rates(settings, metrics)
        return
    async with pool_of(store, CONNECTIONS, ANSWER_WITHIN) as pool:
        shared = RedisStorage(
            "redis://",  # the pool knows where
            wrap_exceptions=True,
            implementation="redispy",
            key_prefix=PREFIX,
            # limits 5.8 documents a pool, and types options as if there were none
            connection_pool=pool,  # type: ignore[arg-type]
        )
        yield Rates(settings, metrics, shared)
