"""The processes tier runs on asyncio, which livekit.rtc needs."""

from __future__ import annotations

import warnings

import pytest

# LiveKit's dev secret is short, and meant to be.
warnings.filterwarnings("ignore", message="The HMAC key is")


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    return "asyncio"
