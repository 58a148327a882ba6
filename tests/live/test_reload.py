"""The reload (fact 82): a person leaves, is back, and is answered. A stock agent is deaf by then."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator

import pytest

from tests.live.conftest import Rooms
from tests.live.gateway import Gateway
from tests.live.observer import Observer
from tests.live.site import Site, tries

pytestmark = [pytest.mark.anyio, pytest.mark.needs("livekit-server")]

SERVED = 10.0
ANSWERED = 2.0
"""Seconds after the return within which one agent is there and answers."""
CLOSED = 5.0
"""Seconds from the person's leave to the closed session, about 3 (fact 82), and to its being told."""
AT_ONCE = 4


@pytest.fixture(scope="module")
async def gateway(site: Site) -> AsyncIterator[Gateway]:
    async with site.gateway("tests.live.agents.talker:server", slots=2 * AT_ONCE) as gateway:
        await gateway.warm(2 * AT_ONCE)
        yield gateway


@pytest.mark.parametrize("post", [False, True], ids=["silent", "post"])
@pytest.mark.parametrize("away", [1.0, 5.0, 15.0])
async def test_whoever_comes_back_is_answered_by_one_agent(
    site: Site, gateway: Gateway, observer: Observer, rooms: Rooms, away: float, post: bool
) -> None:
    """Back after 1, 5 or 15 s, asking again or not: within 2 s one agent is in the room and answers."""
    left = tries(full=20, bounded=2)
    while left > 0:
        batch = min(AT_ONCE, left)
        took = await asyncio.gather(
            *(reload(site, gateway, observer, rooms("reload"), away, post) for _ in range(batch))
        )
        assert max(took) <= ANSWERED, took
        left -= batch


async def reload(
    site: Site, gateway: Gateway, observer: Observer, room: str, away: float, post: bool
) -> float:
    """One person's reload; returns the seconds from the return to the answer."""
    person = site.person(room)
    async with person:
        await gateway.ask(room)
        await person.ask(timeout=SERVED)
    await asyncio.sleep(away)
    async with person:
        back = time.monotonic()
        if post:
            await gateway.ask(room)
        answer = await person.ask(timeout=SERVED)
        await observer.wait_for_only(room, answer.identity, timeout=1)
    await site.end(room)
    return answer.at - back


async def test_joined_is_not_said_while_the_agent_is_deaf(
    site: Site, gateway: Gateway, observer: Observer, rooms: Rooms
) -> None:
    """Once its session has closed, an agent that is still in the room does not count as joined (I7)."""
    room = rooms("deaf")
    async with site.person(room) as person:
        job = (await gateway.ask(room, wait=SERVED)).job
        await person.ask(timeout=2)
    deaf = await gateway.wait_for_state(job["jobId"], "replacing", timeout=CLOSED)
    assert deaf["jobId"] == job["jobId"]
    assert observer.agents(room) == {job["agentIdentity"]}
