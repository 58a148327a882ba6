"""kill -9 of the gateway and of livekit-server: afterwards each room has one agent, and never had two."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterator

import pytest

from tests.live.conftest import Rooms
from tests.live.gateway import Gateway
from tests.live.observer import Observer
from tests.live.processes import survivors
from tests.live.site import FULL, Site

pytestmark = [pytest.mark.anyio, pytest.mark.needs("livekit-server")]

SERVED = 15.0
AFTER_A_SLOT = 2.0
"""Seconds from a free slot to the next room's agent."""


@pytest.fixture(scope="module")
def site() -> Iterator[Site]:
    """A server of this module's own, since it is killed here."""
    site = Site()
    with site.livekit:
        yield site


@pytest.fixture
async def gateway(site: Site) -> AsyncIterator[Gateway]:
    async with site.gateway("tests.live.agents.talker:server", slots=4) as gateway:
        yield gateway
    site.livekit.start()


async def test_a_gateway_killed_with_an_agent_in_the_room_has_one_again_after_its_restart(
    site: Site, gateway: Gateway, observer: Observer, rooms: Rooms
) -> None:
    """kill -9 of the gateway: its jobs die with it; restarted, it puts one agent back without being asked."""
    room = rooms("gateway-killed")
    async with site.person(room) as person:
        await gateway.ask(room)
        first = await person.ask(timeout=SERVED)
        orphans = gateway.kill()
        assert await asyncio.to_thread(survivors, orphans, timeout=5.0) == []
        await gateway.start()
        other = await observer.wait_for_other_agent(room, first.identity, timeout=SERVED)
        assert (await person.ask(timeout=3)).identity == other


async def test_a_request_answered_before_the_kill_is_served_after_the_restart(
    site: Site, gateway: Gateway, observer: Observer, rooms: Rooms
) -> None:
    """kill -9 after the answer and before the dispatch, LiveKit being away: nothing is forgotten (I2)."""
    asked = [rooms("promised") for _ in range(3)]
    site.livekit.kill()
    answers = [(await gateway.ask(room)).job for room in asked]
    assert {a["state"] for a in answers} == {"waiting"}
    gateway.kill()
    site.livekit.start()
    await gateway.start()
    for room in asked:
        await observer.wait_for_agents(room, 1, timeout=SERVED)
    for room, answer in zip(asked, answers, strict=True):
        assert (await gateway.ask(room)).job["jobId"] == answer["jobId"]


async def test_a_request_is_served_wherever_the_kill_falls(
    site: Site, gateway: Gateway, observer: Observer, rooms: Rooms
) -> None:
    """kill -9 at moments between the answer and the join: after the restart the room has one agent."""
    for after in (0.0, 0.05, 0.3):
        room = rooms("anywhere")
        await gateway.ask(room)
        await asyncio.sleep(after)
        gateway.kill()
        await gateway.start()
        async with site.person(room) as person:
            await person.ask(timeout=SERVED)
            await observer.wait_for_agents(room, 1, timeout=1)


async def test_requests_made_before_the_worker_is_registered_wait_and_are_served_in_order(
    site: Site, observer: Observer, rooms: Rooms
) -> None:
    """Whoever asks before the worker is registered has a place, and the one slot within 2 s of its turn.

    The order is that of the asks, and not, as here it is the reverse, that of the rooms' names.
    """
    async with site.gateway("tests.live.agents.talker:server", slots=1) as gateway:
        gateway.kill()
        gateway.launch()
        asked = [rooms("early") for _ in range(3)][::-1]
        first = await gateway.ask_until_taken(asked[0], timeout=SERVED)
        answers = [first, *[(await gateway.ask(room)).job for room in asked[1:]]]
        jobs = [(await gateway.job(answer["jobId"])).job for answer in answers]
        assert [(j["state"], j["place"]) for j in jobs] == [("waiting", 1), ("waiting", 2), ("waiting", 3)]
        await gateway.wait_until("/readyz", 200, timeout=SERVED)
        for number, room in enumerate(asked):
            since = time.monotonic()
            served = await observer.wait_for_agents(room, 1, timeout=AFTER_A_SLOT + 1)
            assert served.at - since < AFTER_A_SLOT
            assert all(not observer.ever_present(later) for later in asked[number + 1 :])
            await gateway.wait_for_state(jobs[number]["jobId"], "joined", timeout=1)
            await gateway.ask(room, "stop_agent")  # frees the slot, and the next one's time begins
        arrivals = [observer.first_arrival(room) for room in asked]
        assert arrivals == sorted(arrivals)


async def test_requests_made_while_livekit_is_away_are_served_when_it_is_back(
    site: Site, gateway: Gateway, observer: Observer, rooms: Rooms
) -> None:
    """LiveKit away: requests are taken and wait; once the worker is registered again all are served."""
    site.livekit.kill()
    asked = [rooms("away") for _ in range(3)]
    assert [(await gateway.ask(room)).job["state"] for room in asked] == ["waiting"] * 3
    site.livekit.start()
    for room in asked:
        await observer.wait_for_agents(room, 1, timeout=SERVED)


@pytest.mark.parametrize("down", [1.0, 10.0, 40.0] if FULL else [1.0, 40.0])
async def test_after_a_restart_of_livekit_one_agent_answers(
    site: Site, gateway: Gateway, observer: Observer, rooms: Rooms, down: float
) -> None:
    """livekit-server killed and back with a person in the room: one agent, never a second (fact 80).

    After 40 s every client has given up, the agent's too, and the person joins anew (S19).
    """
    room = rooms("livekit-killed")
    async with site.person(room) as person:
        await gateway.ask(room)
        await person.ask(timeout=SERVED)
        await asyncio.to_thread(site.livekit.restart, down=lambda: time.sleep(down))
        await person.ask(timeout=30)
        await asyncio.sleep(3)  # a second agent would have come by now
        assert len(observer.agents(room)) == 1
        await person.ask(timeout=3)
