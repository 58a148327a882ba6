"""What the keeper relies on in a store, held by every store: the suite runs over each of them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from gateway.keeper.ports import LEASE, Store
from tests.contract.store_worlds import StoreWorld, memory_world, redis_world, sqlite_world


@pytest.fixture(params=["memory", "sqlite", pytest.param("redis", marks=pytest.mark.needs("redis-server"))])
def kind(request: pytest.FixtureRequest) -> str:
    """Over which stores a module runs, unless it says otherwise."""
    return str(request.param)


@pytest.fixture
def anyio_backend(kind: str) -> str:
    return "asyncio" if kind == "redis" else "trio"


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
