"""The simulation's tests run many histories: without a log."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import structlog

from tests.simulation.clock import quiet


@pytest.fixture(autouse=True)
def no_log() -> Iterator[None]:
    quiet()
    yield
    structlog.reset_defaults()
