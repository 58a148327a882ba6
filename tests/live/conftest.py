"""Fixtures of the live tier: real livekit-server, real worker processes, real WebRTC clients, one loop."""

from __future__ import annotations

import warnings
from collections.abc import AsyncIterator, Iterator

import pytest

from tests.live.observer import Observer
from tests.live.site import Site

# LiveKit's dev secret is short, and meant to be.
warnings.filterwarnings("ignore", message="The HMAC key is")


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    """livekit.rtc is asyncio's."""
    return "asyncio"


@pytest.fixture(scope="session")
def site() -> Iterator[Site]:
    """A server for the tests that leave it running."""
    site = Site()
    with site.livekit:
        yield site


@pytest.fixture
async def observer(site: Site) -> AsyncIterator[Observer]:
    """An observer of that server."""
    async with site.observer() as observer:
        yield observer
