"""What the keeper relies on LiveKit for, held by the fake (asyncio, and trio's virtual clock) and by a real
livekit-server through the adapter. A module says by its fixtures `kind` and `server` what it runs over.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
from trio.testing import MockClock

from tests.contract.livekit_worlds import World, fake_world, real_world
from tests.livekit_server import LiveKitServer


@pytest.fixture(params=["fake", "fake-trio", pytest.param("real", marks=pytest.mark.needs("livekit-server"))])
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def anyio_backend(kind: str) -> tuple[str, dict[str, Any]]:
    if kind == "fake-trio":
        return "trio", {"clock": MockClock(autojump_threshold=0)}
    return "asyncio", {}


@pytest.fixture
def server(livekit_server: LiveKitServer) -> LiveKitServer:
    """One for all tests; whoever kills a server has its own."""
    return livekit_server


@pytest.fixture
async def world(
    kind: str, anyio_backend: tuple[str, dict[str, Any]], request: pytest.FixtureRequest
) -> AsyncIterator[World]:
    opened = real_world(request.getfixturevalue("server")) if kind == "real" else fake_world()
    async with opened as world:
        yield world
