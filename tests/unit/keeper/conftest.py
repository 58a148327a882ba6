"""The keeper's tests run under trio's virtual clock: a test of minutes takes milliseconds."""

from __future__ import annotations

import pytest
import trio.testing


@pytest.fixture
def anyio_backend() -> tuple[str, dict[str, object]]:
    return "trio", {"clock": trio.testing.MockClock(autojump_threshold=0)}
