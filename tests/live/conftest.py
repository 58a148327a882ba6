"""Fixtures of the live tier: real livekit-server, real worker processes, real WebRTC clients, one loop."""

from __future__ import annotations

import warnings
from collections.abc import AsyncIterator, Callable, Generator, Iterator
from typing import get_args

import pytest

from gateway.settings import Lane
from tests.live.gateway import Gateway
from tests.live.observer import Observer
from tests.live.site import Site

# LiveKit's dev secret is short, and meant to be.
warnings.filterwarnings("ignore", message="The HMAC key is")

LOG_LINES = 80

Rooms = Callable[[str], str]
"""Makes a room's name that no other test uses, and has the observer watch it."""


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """The gateway's log goes with the report of a test that failed."""
    report = yield
    gateway = getattr(item, "funcargs", {}).get("gateway")
    if report.failed and isinstance(gateway, Gateway):
        report.sections.append(("the gateway's log", gateway.log_tail(LOG_LINES)))
    return report


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


@pytest.fixture(scope="module", params=get_args(Lane))
def lane(request: pytest.FixtureRequest, site: Site) -> Iterator[Lane]:
    """How the site's gateways call agents: what asks for it is run by each."""
    site.lane = request.param
    yield site.lane
    site.lane = "dispatch"


@pytest.fixture
async def observer(site: Site) -> AsyncIterator[Observer]:
    """An observer of that server."""
    async with site.observer() as observer:
        yield observer


@pytest.fixture
async def rooms(site: Site, observer: Observer) -> AsyncIterator[Rooms]:
    """Rooms that are watched from the start, never had two agents (I1), and are ended after the test."""
    made: list[str] = []

    def new(what: str) -> str:
        made.append(site.room(what))
        observer.watch(made[-1])
        return made[-1]

    yield new
    watched = [room for room in made if observer.watches(room)]
    doubled = [observer.describe(room) for room in watched if observer.ever_two(room)]
    site.livekit.start()  # a test that failed may have left it down
    await site.end(*made)
    assert not doubled, doubled
