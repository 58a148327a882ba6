"""What the contract suites share: one redis-server."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.redis_server import RedisServer


@pytest.fixture(scope="session")
def redis_server() -> Iterator[RedisServer]:
    """One server for all tests that do not restart it; mark them `needs("redis-server")`."""
    with RedisServer() as server:
        yield server
