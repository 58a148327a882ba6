"""An agent that dies is replaced, one that ends on purpose is not."""

from __future__ import annotations

import asyncio
import itertools
import time

import pytest
from livekit import api

from tests.live.agents.leaver import LEAVE
from tests.live.agents.raiser import RAISE
from tests.live.agents.talker import GOODBYE
from tests.live.conftest import Rooms
from tests.live.observer import Observer
from tests.live.site import Site, tries

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.needs("livekit-server"),
    pytest.mark.usefixtures("lane"),
]

RAISED = "roomkeeper_jobs_ended_total"
"""Of those that raised, also when it was before the keeper had seen the agent in the room."""
SERVED = 10.0
REPLACED = 3.0
"""Seconds within which a dead agent's successor is heard."""
FINISHED = 5.0
"""Seconds within which an end on purpose is told as such: the agent may be saying its last words."""
CALM = 2.0


async def test_a_killed_agent_is_replaced(site: Site, observer: Observer, rooms: Rooms) -> None:
    """kill -9 of the job process with a person in the room: another agent's track within 3 s, every time."""
    async with site.gateway("tests.live.agents.beeper:server", slots=2) as gateway:
        for _ in range(tries(full=20, bounded=5)):
            room = rooms("killed")
            async with site.person(room) as person:
                await gateway.ask(room)
                victim = await person.agent_track(timeout=SERVED)
                (process,) = gateway.jobs()
                process.kill()
                track = await person.agent_track(other_than=victim.identity, timeout=REPLACED)
                await observer.wait_for_only(room, track.identity, timeout=2)
            await site.end(room)
            await gateway.warm(2)
        called = "created" if site.lane == "dispatch" else "direct"
        assert await gateway.metric("roomkeeper_dispatches_total", outcome=called) >= tries(20, 5)


async def test_an_agent_that_raises_is_replaced(site: Site, observer: Observer, rooms: Rooms) -> None:
    """An exception in the entrypoint looks like a clean end to LiveKit (facts 12, 49), and is none."""
    async with site.gateway("tests.live.agents.raiser:server", slots=2) as gateway:
        room = rooms("raised")
        async with site.person(room) as person:
            await gateway.ask(room)
            first = await person.agent_track(timeout=SERVED)
            await observer.wait_for_only(room, first.identity, timeout=1)
            await person.tell(RAISE)
            other = await person.agent_track(other_than=first.identity, timeout=REPLACED)
            await observer.wait_for_only(room, other.identity, timeout=1)
            await asyncio.sleep(CALM)
            assert observer.ever_present(room) == {first.identity, other.identity}


async def test_an_agent_that_raises_at_once_is_tried_again_without_haste(
    site: Site, observer: Observer, rooms: Rooms
) -> None:
    """While each agent raises after joining they come with growing pauses; the first that does not stays."""
    async with site.gateway("tests.live.agents.raiser:server", slots=2) as gateway, site.api() as livekit:
        room = rooms("raising")
        await livekit.room.create_room(api.CreateRoomRequest(name=room, metadata=RAISE))
        async with site.person(room) as person:
            job = (await gateway.ask(room)).job
            ends = []
            for number in range(1, 6):
                await gateway.wait_for_metric(RAISED, at_least=number, timeout=SERVED, reason="raised")
                ends.append(time.monotonic())
            pauses = [later - earlier for earlier, later in itertools.pairwise(ends)]
            assert pauses[-1] > pauses[0] + 1, pauses
            await livekit.room.update_room_metadata(api.UpdateRoomMetadataRequest(room=room, metadata=""))
            track = await person.agent_track(timeout=SERVED)
            joined = await gateway.wait_for_state(job["jobId"], "joined", timeout=1)
            assert joined["agentIdentity"] == track.identity
            await asyncio.sleep(CALM)
            assert observer.agents(room) == {track.identity}


async def test_an_agent_that_ends_on_purpose_is_called_back_by_a_post_only(
    site: Site, observer: Observer, rooms: Rooms
) -> None:
    """`ctx.shutdown()` is an end by its own will (I5): nobody comes until somebody asks."""
    async with site.gateway("tests.live.agents.leaver:server", slots=2) as gateway:
        room = rooms("left")
        async with site.person(room) as person:
            job = (await gateway.ask(room, wait=SERVED)).job
            first = await person.agent_track(timeout=SERVED)
            await person.tell(LEAVE)
            await observer.wait_for_agents(room, 0, timeout=3)
            await gateway.wait_for_state(job["jobId"], "finished", timeout=FINISHED)
            await asyncio.sleep(CALM)
            assert observer.ever_present(room) == {job["agentIdentity"]} == {first.identity}
            assert (await gateway.ask(room)).job["jobId"] != job["jobId"]
            await person.agent_track(other_than=first.identity, timeout=SERVED)


async def test_a_session_that_ends_itself_is_finished_and_comes_back_by_a_post_only(
    site: Site, observer: Observer, rooms: Rooms
) -> None:
    """An agent that closes its session by itself is not called back, and a POST brings one that answers."""
    async with site.gateway("tests.live.agents.talker:server", slots=2) as gateway:
        room = rooms("goodbye")
        async with site.person(room) as person:
            job = (await gateway.ask(room, wait=SERVED)).job
            await person.say(GOODBYE)
            await gateway.wait_for_state(job["jobId"], "finished", timeout=FINISHED)
            await asyncio.sleep(CALM)
            assert observer.ever_present(room) == {job["agentIdentity"]}
            await gateway.ask(room)
            assert (await person.ask(timeout=SERVED)).identity != job["agentIdentity"]
