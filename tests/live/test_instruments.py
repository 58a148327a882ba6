"""The instruments can fail: on a stock LiveKit and a stock worker they see what goes wrong there."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
from livekit import api

from tests.live.observer import Observer
from tests.live.site import Site
from tests.live.worker import StockWorker

pytestmark = [pytest.mark.anyio, pytest.mark.needs("livekit-server")]


@pytest.fixture(scope="module")
async def worker(site: Site) -> AsyncIterator[StockWorker]:
    async with StockWorker(site.livekit, "tests.live.agents.talker_uncapped") as worker:
        yield worker


async def dispatch(site: Site, worker: StockWorker, room: str) -> None:
    async with site.api() as livekit:
        await livekit.agent_dispatch.create_dispatch(
            api.CreateAgentDispatchRequest(agent_name=worker.agent, room=room)
        )


async def test_the_observer_and_a_person_see_two_agents(
    site: Site, observer: Observer, worker: StockWorker
) -> None:
    """Two dispatches bring two agents on a stock LiveKit (fact 5): the observer and the client count both."""
    room = site.room("two")
    observer.watch(room)
    async with site.person(room) as person:
        await asyncio.gather(*(dispatch(site, worker, room) for _ in range(2)))
        await observer.wait_for_agents(room, 2, timeout=10)
        assert observer.ever_two(room)
        first = await person.agent_track(timeout=10)
        await person.agent_track(other_than=first.identity, timeout=10)
        assert person.max_agents == 2


async def test_a_person_gets_an_answer_and_the_deaf_agent_gives_none(
    site: Site, observer: Observer, worker: StockWorker
) -> None:
    """A stock agent answers at first; after 5 s away it is listed and answers nothing (fact 82)."""
    room = site.room("deaf")
    observer.watch(room)
    person = site.person(room)
    async with person:
        await dispatch(site, worker, room)
        answer = await person.ask(timeout=10)
        assert {answer.identity} == observer.agents(room)
    await asyncio.sleep(5)
    async with person:
        with pytest.raises(AssertionError, match="no answer within"):
            await person.ask(timeout=2)
        assert {answer.identity} == observer.agents(room)


async def test_a_killed_agent_is_seen_as_a_ghost(site: Site, observer: Observer, worker: StockWorker) -> None:
    """The process that is in a room can be told from the others; killed, its agent stays listed (fact 12)."""
    room = site.room("ghost")
    observer.watch(room)
    before = set(worker.jobs())
    async with site.person(room) as person:
        await dispatch(site, worker, room)
        answer = await person.ask(timeout=10)
        (process,) = set(worker.jobs()) - before
        process.kill()
        process.wait(5)
        with pytest.raises(AssertionError, match="no 0 agents within"):
            await observer.wait_for_agents(room, 0, timeout=1)
        assert observer.agents(room) == {answer.identity}
