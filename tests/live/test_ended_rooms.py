"""A room that ended stays ended, whatever was still to be tried for it (I4, fact 8)."""

from __future__ import annotations

import asyncio
import time

import pytest

from tests.live.agents.raiser import RAISE
from tests.live.conftest import Rooms
from tests.live.observer import Observer
from tests.live.site import Site

pytestmark = [pytest.mark.anyio, pytest.mark.needs("livekit-server")]

RAISED = "roomkeeper_jobs_ended_total"
"""Of those that raised, also when it was before the keeper had seen the agent in the room."""
SERVED = 10.0
ENDED = 5.0
"""Seconds from the last person's leave to the room's end: one, and LiveKit's own pace."""
FINISHED = 3.0
"""Seconds from the room's end to `finished`."""
FAILURES = 5
"""So many failures in a row make the pause before the next try longer than a room's end takes."""
RETRIED = 20.0
"""Seconds within which that next try comes."""
CALM = 5.0
"""Longer than it takes to call a dispatch lost and make another one (fact 4)."""


def seen_after(observer: Observer, room: str, moment: float) -> set[str]:
    """The agents that were in the room at any time after `moment`."""
    return {identity for s in observer.timeline(room) if s.at > moment for identity in s.identities}


async def test_a_room_that_ends_with_its_agent_in_it_is_not_created_anew(
    site: Site, observer: Observer, rooms: Rooms
) -> None:
    """The room is deleted under a working agent: no retry creates it; a later POST is a new job."""
    async with site.gateway("tests.live.agents.talker:server", slots=2) as gateway:
        room = rooms("ended")
        async with site.person(room):
            job = (await gateway.ask(room, wait=SERVED)).job
            await observer.wait_for_only(room, job["agentIdentity"], timeout=1)
            await site.end(room)
            await observer.wait_for_agents(room, 0, timeout=3)
        await gateway.wait_for_state(job["jobId"], "finished", timeout=FINISHED)
        assert await site.sightings(room, seconds=CALM) == set()
        assert observer.ever_present(room) == {job["agentIdentity"]}
        assert (await gateway.ask(room)).job["jobId"] != job["jobId"]


async def test_a_room_that_ends_while_a_retry_is_pending_gets_no_agent(
    site: Site, observer: Observer, rooms: Rooms
) -> None:
    """Agents raise again and again; the person leaves and the room ends before the next try: it never comes.

    A second room in the same trouble, whose person stays, shows that the try was due.
    """
    async with site.gateway("tests.live.agents.raiser:server", slots=4) as gateway:
        left, stayed = rooms("raising-left"), rooms("raising-stayed")
        for room in (left, stayed):
            await site.create(room, metadata=RAISE)
        async with site.person(stayed):
            async with site.person(left):
                jobs = [(await gateway.ask(room)).job["jobId"] for room in (left, stayed)]
                await gateway.wait_for_metric(RAISED, at_least=2 * FAILURES, timeout=20, reason="raised")
                for job in jobs:  # one of them may be a try ahead of the other
                    await gateway.wait_for_state(job, "replacing", "waiting", timeout=5)
                raised = await gateway.metric(RAISED, reason="raised")
            await site.wait_for_end(left, timeout=ENDED)
            ended = time.monotonic()
            # No try came before the end: it is still pending.
            assert await gateway.metric(RAISED, reason="raised") == raised
            sids, _ = await asyncio.gather(
                site.sightings(left, seconds=RETRIED + CALM),
                gateway.wait_for_metric(RAISED, at_least=raised + 1, timeout=RETRIED, reason="raised"),
            )
            assert sids == set()
            assert seen_after(observer, left, ended) == set()
            assert (await gateway.job(jobs[0])).job["state"] == "finished"
            assert (await gateway.job(jobs[1])).job["state"] != "finished"


async def test_a_room_that_ends_while_it_waits_in_line_gets_no_agent(
    site: Site, observer: Observer, rooms: Rooms
) -> None:
    """All slots taken, a room waits in line and ends: the slot that frees then does not bring it back."""
    async with site.gateway("tests.live.agents.talker:server", slots=1) as gateway:
        taken, waiting = rooms("taken"), rooms("waiting")
        await gateway.ask(taken, wait=SERVED)
        await site.create(waiting)
        async with site.person(waiting):
            job = (await gateway.ask(waiting, wait=0.5)).job
            assert (job["state"], job["place"]) == ("waiting", 1)
        await site.wait_for_end(waiting, timeout=ENDED)
        await gateway.wait_for_state(job["jobId"], "finished", timeout=FINISHED)
        await gateway.ask(taken, "stop_agent")
        await gateway.warm(1)
        assert await site.sightings(waiting, seconds=CALM) == set()
        assert observer.ever_present(waiting) == set()
        assert (await gateway.job(job["jobId"])).job["state"] == "finished"
