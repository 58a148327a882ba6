"""What the contract suites share: the stores, each behind the same few handles. A suite says by its fixture
`kind` over which of them it runs.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from gateway.keeper.ports import LEASE, Store
from tests.contract.store_worlds import StoreWorld, memory_world, redis_world, sqlite_world
from tests.redis_server import RedisServer


@pytest.fixture(scope="session")
def redis_server() -> Iterator[RedisServer]:
    """One server for all tests that do not restart it; mark them `needs("redis-server")`."""
    with RedisServer() as server:
        yield server


@pytest.fixture
def lease() -> float:
    """Seconds; tests that wait for a lapse take a short one."""
    return LEASE


@pytest.fixture
async def world(
    kind: str, lease: float, tmp_path: Path, request: pytest.FixtureRequest
) -> AsyncIterator[StoreWorld]:
    match kind:
        case "memory":
            opened = memory_world(lease)
        case "sqlite":
            opened = sqlite_world(tmp_path / "store.db")
        case _:
            opened = redis_world(request.getfixturevalue("redis_server"), lease)
    async with opened as world:
        yield world


@pytest.fixture
async def store(world: StoreWorld) -> Store:
    return await world.link()
