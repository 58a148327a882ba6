"""kill -9 of the gateway at each call on a port, just before and just after it, over real SQLite and Redis.

An accepted request is served after the restart, and no room ever has two agents. The simulator cannot show
this: it never runs the adapters.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import pytest

from tests.live.gateway import Gateway
from tests.live.observer import Observer
from tests.live.site import FULL, Site
from tests.processes.crashing import MARK, WHERE
from tests.redis_server import RedisServer

pytestmark = [pytest.mark.anyio, pytest.mark.needs("livekit-server", "redis-server")]

SERVED = 25.0
"""Seconds: a start of the gateway, the lapse of the lead before it, a ghost, a dispatch."""
REACHED = 15.0
"""Seconds within which the scenario must come to the call."""

STORE = [
    *("ask", "want", "wants", "claims", "claim", "claim_of", "release"),
    *("update", "update:2", "update:3", "advance", "advance:2", "advance:3", "advance:4", "beat"),
]
LIVEKIT = ["rooms", "create_room", "create_dispatch", "participants", "remove_participant", "send_status"]
CALLS = [*(f"store.{call}" for call in STORE), *(f"livekit.{call}" for call in LIVEKIT)]
POINTS = [
    f"{call.partition(':')[0]}:{when}:{call.partition(':')[2] or 1}"
    for call in CALLS
    for when in ("before", "after")
]
IN_SHORT = [
    *("store.ask:before:1", "store.ask:after:1", "store.update:after:1", "livekit.create_dispatch:after:1"),
    *("store.claim:after:1", "store.advance:before:2", "livekit.remove_participant:after:1"),
]
"""What runs for each change; `make test-processes FULL=1` runs all."""


@pytest.fixture(scope="module")
def site() -> Iterator[Site]:
    site = Site(webhooks=False)
    with site.livekit:
        yield site


@pytest.fixture(scope="module")
def redis() -> Iterator[RedisServer]:
    with RedisServer() as redis:
        yield redis


@asynccontextmanager
async def a_mined_gateway(site: Site, store: str, point: str, mark: Path) -> AsyncIterator[Gateway]:
    env = {WHERE: point, MARK: str(mark), **({"ROOMKEEPER_STORE": store} if store else {})}
    gateway = Gateway(
        site.livekit, "tests.live.agents.beeper:server", slots=2, env=env, entry="tests.processes.crashing"
    )
    async with gateway:
        yield gateway


@pytest.mark.parametrize("store", ["sqlite", "redis"])
@pytest.mark.parametrize("point", POINTS if FULL else IN_SHORT)
async def test_a_gateway_killed_at_a_call_forgets_nothing_and_doubles_nobody(
    site: Site, redis: RedisServer, store: str, point: str, tmp_path: Path
) -> None:
    """I1 and I2 across a kill at any call."""
    mark, room = tmp_path / "crashed", site.room("crash-point")
    url = redis.url if store == "redis" else ""
    async with site.observer() as observer, a_mined_gateway(site, url, point, mark) as gateway:
        observer.watch(room)
        accepted = await ask(gateway, room)
        await until_killed(gateway, observer, room, mark)
        await gateway.start()
        if not accepted:  # the frontend was told so, and asks again
            await gateway.ask_until_taken(room, timeout=SERVED)
        await gateway_says_who_is_there(gateway, observer, room)
        assert not observer.ever_two(room), observer.describe(room)
    await site.end(room)


async def ask(gateway: Gateway, room: str) -> bool:
    """Whether the request was accepted; a gateway that dies under it did not answer."""
    try:
        return (await gateway.ask(room)).status < 300
    except httpx.TransportError:
        return False


async def until_killed(gateway: Gateway, observer: Observer, room: str, mark: Path) -> None:
    """Let an agent come, and kill its process, so that it is replaced: somewhere on that way is the call."""
    deadline = time.monotonic() + REACHED
    struck: set[int] = set()
    while not crashed(mark):
        assert time.monotonic() < deadline, f"the call was never made\n{gateway.log_tail()}"
        if observer.agents(room):
            for job in [job for job in gateway.jobs() if job.pid not in struck and not crashed(mark)]:
                struck.add(job.pid)
                job.kill()
        await asyncio.sleep(0.02)
    gateway.kill_what_is_left()


def crashed(mark: Path) -> bool:
    return mark.exists()


async def gateway_says_who_is_there(gateway: Gateway, observer: Observer, room: str) -> None:
    """One agent is there, and the gateway says so (I7)."""
    deadline = time.monotonic() + SERVED
    while True:
        job = (await gateway.ask(room)).job
        if job["state"] == "joined" and observer.agents(room) == {job["agentIdentity"]}:
            return
        assert time.monotonic() < deadline, f"{job}; there: {observer.agents(room)}\n{gateway.log_tail()}"
        await asyncio.sleep(0.1)
