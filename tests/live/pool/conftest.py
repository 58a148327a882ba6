"""A server as it comes: a room outlives its people by 20 s (fact 15), so that an agent can be deaf in it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.livekit_server import LiveKitServer


@pytest.fixture(scope="session")
def livekit_server() -> Iterator[LiveKitServer]:
    with LiveKitServer() as server:
        yield server
