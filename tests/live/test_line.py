"""The waiting line: more rooms than slots. Served in order, soon, and none lost."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator

import pytest

from gateway.settings import Lane
from tests.live.conftest import Rooms
from tests.live.gateway import Gateway
from tests.live.observer import Observer
from tests.live.site import Site, tries

pytestmark = [pytest.mark.anyio, pytest.mark.needs("livekit-server")]

SERVED = 10.0
SLOTS = 10
AFTER_A_SLOT = 2.0
"""Seconds from a freed slot to the next room's agent."""


@pytest.fixture(scope="module")
async def gateway(site: Site, lane: Lane) -> AsyncIterator[Gateway]:
    async with site.gateway("tests.live.agents.beeper:server", slots=SLOTS) as gateway:
        await gateway.warm(SLOTS)
        yield gateway


async def test_rooms_beyond_the_slots_wait_with_their_place_and_are_served_in_order(
    site: Site, gateway: Gateway, observer: Observer, rooms: Rooms
) -> None:
    """All slots taken: three more wait as 1, 2, 3; each freed slot serves the next one within 2 s.

    The order is that of the asks, and not, as here it is the reverse, that of the rooms' names.
    """
    taken = [rooms("taken") for _ in range(SLOTS)]
    await asyncio.gather(*(gateway.ask(room, wait=SERVED) for room in taken))
    line = [rooms("line") for _ in range(3)][::-1]
    answers = [(await gateway.ask(room, wait=0.5)).job for room in line]
    assert [(a["state"], a["place"]) for a in answers] == [("waiting", 1), ("waiting", 2), ("waiting", 3)]
    for number, room in enumerate(line):
        stopped = time.monotonic()
        await gateway.ask(taken[number], "stop_agent")
        served = await observer.wait_for_agents(room, 1, timeout=AFTER_A_SLOT + 1)
        assert served.at - stopped < AFTER_A_SLOT
        assert all(not observer.ever_present(later) for later in line[number + 1 :])
    arrivals = [observer.first_arrival(room) for room in line]
    assert arrivals == sorted(arrivals)


async def test_ten_slots_freed_and_taken_at_once_lose_nobody(
    site: Site, gateway: Gateway, observer: Observer, rooms: Rooms
) -> None:
    """All slots are freed and asked for again at once, over and over (stock: 4 of 4 lost, fact 52)."""
    present = [rooms("round") for _ in range(SLOTS)]
    await asyncio.gather(*(gateway.ask(room, wait=SERVED) for room in present))
    for _ in range(tries(full=20, bounded=4)):
        following = [rooms("round") for _ in range(SLOTS)]
        stops = [gateway.ask(room, "stop_agent") for room in present]
        starts = [gateway.ask(room, wait=2 * SERVED) for room in following]
        answers = await asyncio.gather(*stops, *starts)
        assert [a.job["state"] for a in answers[SLOTS:]] == ["joined"] * SLOTS
        for room in following:
            await observer.wait_for_agents(room, 1, timeout=1)
        assert not any(observer.ever_two(room) for room in present)
        observer.forget(*present)
        present = following
