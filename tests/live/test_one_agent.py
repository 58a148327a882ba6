"""One room, one agent: however often it is asked for, by whomever, and whatever is dispatched beside it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
from livekit import api

from gateway.settings import Lane
from tests.live.conftest import Rooms
from tests.live.gateway import Gateway
from tests.live.observer import Observer
from tests.live.site import Site, tries

pytestmark = [pytest.mark.anyio, pytest.mark.needs("livekit-server")]

SERVED = 10.0
CALM = 2.0
"""Seconds in which a second agent would have come: from dispatch to agent it takes 0.4 (fact 4)."""


@pytest.fixture(scope="module")
async def gateway(site: Site, lane: Lane) -> AsyncIterator[Gateway]:
    async with site.gateway("tests.live.agents.talker:server", slots=6) as gateway:
        yield gateway


async def test_fifty_concurrent_posts_bring_one_agent(
    site: Site, gateway: Gateway, observer: Observer, rooms: Rooms
) -> None:
    """50 concurrent POSTs for one room: one agent ever, one call, 50 true answers with one jobId."""
    room = rooms("fifty")
    async with site.person(room) as person:
        called = "created" if site.lane == "dispatch" else "direct"
        before = await gateway.metric("roomkeeper_dispatches_total", outcome=called)
        answers = await asyncio.gather(*(gateway.ask(room) for _ in range(50)))
        assert len({answer.job["jobId"] for answer in answers}) == 1
        assert sum(not answer.job["deduplicated"] for answer in answers) == 1
        await person.ask(timeout=SERVED)
        await asyncio.sleep(CALM)
        assert len(observer.ever_present(room)) == 1
        assert person.max_agents == 1
        assert await gateway.metric("roomkeeper_dispatches_total", outcome=called) == before + 1


async def test_joined_means_that_the_agent_answers(
    site: Site, gateway: Gateway, observer: Observer, rooms: Rooms
) -> None:
    """`joined` is said with the identity of an agent that is in the room and listens (I7)."""
    room = rooms("joined")
    async with site.person(room) as person:
        job = (await gateway.ask(room, wait=SERVED)).job
        assert job["state"] == "joined"
        answer = await person.ask(timeout=1)
        assert answer.identity == job["agentIdentity"]
        await observer.wait_for_only(room, answer.identity, timeout=1)


async def test_an_agent_asked_for_early_is_there_when_the_person_joins(
    site: Site, gateway: Gateway, observer: Observer, rooms: Rooms
) -> None:
    """A POST for a room where nobody is yet brings the agent; whoever joins then is answered at once."""
    room = rooms("early")
    await gateway.ask(room, wait=SERVED)
    await observer.wait_for_agents(room, 1, timeout=2)
    async with site.person(room) as person:
        await person.ask(timeout=3)


async def test_of_dispatches_behind_our_back_one_agent_is_let_in(
    site: Site, gateway: Gateway, observer: Observer, rooms: Rooms
) -> None:
    """Two bare CreateDispatch calls, which bring two agents on a stock LiveKit (fact 5), bring one here."""
    room = rooms("behind")
    request = api.CreateAgentDispatchRequest(agent_name=gateway.agent, room=room)
    async with site.person(room) as person, site.api() as livekit:
        await asyncio.gather(*(livekit.agent_dispatch.create_dispatch(request) for _ in range(2)))
        await person.ask(timeout=SERVED)
        await asyncio.sleep(CALM)
        assert len(observer.ever_present(room)) == 1


async def test_a_dispatch_beside_a_living_agent_lets_nobody_in(
    site: Site, gateway: Gateway, observer: Observer, rooms: Rooms
) -> None:
    """A bare CreateDispatch for a room that has its agent changes nothing."""
    room = rooms("beside")
    async with site.person(room) as person, site.api() as livekit:
        job = (await gateway.ask(room, wait=SERVED)).job
        await livekit.agent_dispatch.create_dispatch(
            api.CreateAgentDispatchRequest(agent_name=gateway.agent, room=room)
        )
        await asyncio.sleep(CALM)
        assert observer.ever_present(room) == {job["agentIdentity"]}
        await person.ask(timeout=1)


async def test_a_stop_before_the_agent_has_joined_leaves_no_zombie(
    site: Site, gateway: Gateway, observer: Observer, rooms: Rooms
) -> None:
    """Start and stop within the 0.4 s that a join takes: no agent stays, at whatever moment (fact 53)."""
    count = tries(full=20, bounded=20)
    tried = [rooms("stopped") for _ in range(count)]
    for number, room in enumerate(tried):
        await gateway.ask(room)
        await asyncio.sleep(0.4 * number / count)
        answer = await gateway.ask(room, "stop_agent")
        assert answer.job["state"] == "stopped"
    await asyncio.sleep(CALM)
    assert {room: agents for room in tried if (agents := observer.agents(room))} == {}
    assert gateway.jobs() == []


async def test_a_stop_ends_the_agent_and_a_start_brings_another(
    site: Site, gateway: Gateway, observer: Observer, rooms: Rooms
) -> None:
    """After `stop_agent` the room is empty of agents; a later POST is a new job with a new agent."""
    room = rooms("again")
    async with site.person(room) as person:
        first = (await gateway.ask(room, wait=SERVED)).job
        await gateway.ask(room, "stop_agent")
        await observer.wait_for_agents(room, 0, timeout=3)
        second = (await gateway.ask(room, wait=SERVED)).job
        assert second["jobId"] != first["jobId"]
        assert (await person.ask(timeout=2)).identity != first["agentIdentity"]


async def test_a_restart_brings_another_agent_in_place_of_the_first(
    site: Site, gateway: Gateway, observer: Observer, rooms: Rooms
) -> None:
    """`restart_agent` replaces the agent, one at a time."""
    room = rooms("restart")
    async with site.person(room) as person:
        first = (await gateway.ask(room, wait=SERVED)).job["agentIdentity"]
        await gateway.ask(room, "restart_agent")
        other = await observer.wait_for_other_agent(room, first, timeout=SERVED)
        assert (await person.ask(timeout=3)).identity == other
