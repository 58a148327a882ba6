"""Replicas that share a Redis share the counts; without it each goes on by itself."""

from __future__ import annotations

import time

import pytest

from gateway.errors import TooManyRequests
from gateway.http.rates import Rates, open_rates
from gateway.metrics import Metrics
from gateway.settings import RateSettings, StoreSettings
from tests.redis_server import RedisServer

pytestmark = [pytest.mark.anyio, pytest.mark.needs("redis-server")]

RATE = RateSettings(by_address="4/hour")


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


async def let_in(rates: Rates, count: int) -> int:
    admitted = 0
    for _ in range(count):
        try:
            await rates.count_address("203.0.113.9")
            admitted += 1
        except TooManyRequests:
            pass
    return admitted


async def test_two_replicas_let_in_as_many_as_one() -> None:
    """Else each replica would add to what one may ask."""
    with RedisServer() as redis:
        store = StoreSettings(url=f"redis://127.0.0.1:{redis.port}/0")
        async with open_rates(RATE, store, Metrics()) as first, open_rates(RATE, store, Metrics()) as second:
            assert await let_in(first, 3) + await let_in(second, 3) + await let_in(first, 3) == 4


@pytest.mark.alone
async def test_a_redis_that_stands_still_holds_up_nobody_either() -> None:
    """One who waits for the count, and from then on none."""
    with RedisServer() as redis:
        store = StoreSettings(url=f"redis://127.0.0.1:{redis.port}/0")
        async with open_rates(RATE, store, Metrics()) as rates:
            assert await let_in(rates, 1) == 1
            redis.freeze()
            began = time.monotonic()
            assert await let_in(rates, 9) == 4
            assert time.monotonic() - began < 1.0
            redis.thaw()


@pytest.mark.alone
async def test_without_redis_a_replica_counts_by_itself_and_holds_up_nobody() -> None:
    """A rate is no reason to refuse a caller; nor is it lifted."""
    with RedisServer() as redis:
        store = StoreSettings(url=f"redis://127.0.0.1:{redis.port}/0")
        async with open_rates(RATE, store, Metrics()) as rates:
            assert await let_in(rates, 2) == 2
            redis.kill()
            began = time.monotonic()
            assert await let_in(rates, 9) == 4
            assert time.monotonic() - began < 1.0
