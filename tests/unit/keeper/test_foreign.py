"""Agents of workers that are not ours: kept by participants and dispatches alone."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace

import anyio
import pytest

from gateway.keeper.model import Ask, Job, State
from gateway.settings import KeeperSettings
from tests.fakes.livekit_parts import Connection, Fault
from tests.fakes.livekit_worker import StockWorker
from tests.unit.keeper.site import AGENT, Site, a_site

pytestmark = pytest.mark.anyio

NAME = "theirs"


@asynccontextmanager
async def a_site_with_their_worker(**rules: object) -> AsyncIterator[tuple[Site, StockWorker]]:
    settings = replace(KeeperSettings(), default_agent=AGENT, **rules)  # type: ignore[arg-type]
    async with a_site(settings=settings) as site:
        worker = StockWorker(site.livekit, NAME)
        async with site.running():
            site.person()
            yield site, worker


async def ask(site: Site) -> Job:
    return await site.keeper.start_agent(Ask(room="r", agent=NAME))


async def joined(site: Site, job: Job) -> str:
    await site.until(lambda: site.observer.agents("r") != [], within=5)
    await anyio.sleep(1)
    assert await site.state(job) is State.JOINED
    return site.observer.agents("r")[0]


def agent_of(worker: StockWorker) -> Connection:
    """The one agent that the worker has in a room."""
    [agent] = worker.agents.values()
    assert agent is not None
    return agent


def crash(site: Site, worker: StockWorker) -> None:
    """Its process is gone, and the worker knows that: LiveKit lists a ghost."""
    site.livekit.crash(agent_of(worker))
    worker.agents.clear()


async def ghost_gone(site: Site) -> None:
    """LiveKit has noticed that nobody is there (fact 12)."""
    await site.until(lambda: site.observer.agents("r") == [], within=25)


async def test_a_foreign_agent_is_called_and_seen() -> None:
    """`joined` means that it is listed (I7)."""
    async with a_site_with_their_worker() as (site, _):
        await joined(site, await ask(site))
        assert site.livekit.calls["CreateDispatch"] == 1


async def test_a_foreign_agent_that_crashed_is_replaced_and_its_ghost_waited_out() -> None:
    """LiveKit lists a ghost for 20 s (fact 12); nothing else tells that it is one."""
    async with a_site_with_their_worker() as (site, worker):
        job = await ask(site)
        first = await joined(site, job)
        crash(site, worker)
        await anyio.sleep(30)
        assert site.observer.agents("r") not in ([first], [])
        assert await site.state(job) is State.JOINED


async def test_a_foreign_agent_that_left_on_purpose_stays_away_until_somebody_asks() -> None:
    """I5, as far as the webhook told."""
    async with a_site_with_their_worker() as (site, worker):
        job = await ask(site)
        await joined(site, job)
        await ask(site)  # a reload before the end is no ask after it
        site.livekit.leave(agent_of(worker))
        await anyio.sleep(60)
        assert await site.state(job) is State.FINISHED
        assert site.observer.agents("r") == []
        await joined(site, await ask(site))


@pytest.mark.parametrize("after", [0.05, 0.25, 3.0])
async def test_a_stop_removes_a_foreign_agent_whenever_it_comes(after: float) -> None:
    """Also one that was on its way."""
    async with a_site_with_their_worker() as (site, _):
        job = await ask(site)
        await anyio.sleep(after)
        await site.keeper.stop_agent("r", NAME)
        await anyio.sleep(20)
        assert site.observer.agents("r") == []
        assert await site.state(job) is State.STOPPED


async def test_a_restart_replaces_a_foreign_agent() -> None:
    """The one before is removed first."""
    async with a_site_with_their_worker() as (site, _):
        job = await ask(site)
        first = await joined(site, job)
        await site.keeper.restart_agent(Ask(room="r", agent=NAME))
        await anyio.sleep(3)
        assert site.observer.agents("r") not in ([first], [])
        assert site.observer.most["r"] == 1
        assert await site.state(job) is State.JOINED


async def test_a_restart_of_a_foreign_agent_survives_a_look_that_told_nothing() -> None:
    """What was answered is carried out, also when LiveKit was away for a moment."""
    async with a_site_with_their_worker() as (site, _):
        job = await ask(site)
        first = await joined(site, job)
        site.livekit.hook = lambda call: Fault(lost="call")
        await site.keeper.restart_agent(Ask(room="r", agent=NAME))
        await anyio.sleep(1)
        site.livekit.hook = lambda call: None
        await site.until(lambda: site.observer.agents("r") not in ([first], []), within=10)


async def test_a_name_that_nobody_serves_is_given_up_and_jams_nobody() -> None:
    """200 rooms that want it, and one that wants ours (fact 83)."""
    async with a_site() as site, site.running():
        for number in range(200):
            await site.keeper.start_agent(Ask(room=f"dead-{number}", agent="nobody"))
        site.person("good")
        await site.ask("good")
        assert await site.until(lambda: site.observer.agents("good") != [], within=2) < 1
        await anyio.sleep(20)
        assert site.livekit.calls["CreateDispatch"] < 20
        await anyio.sleep(2 * site.settings.give_up_after)
        states = [w.state for w in await site.store.recent() if w.agent == "nobody"]
        assert len(states) == 200
        assert set(states) <= {State.GAVE_UP, State.FINISHED}  # finished: its probe's room ran empty
        assert states.count(State.GAVE_UP) > 100


async def test_a_foreign_agent_is_left_to_somebody_else_to_replace_for_as_long_as_the_setting_says() -> None:
    """LiveKit Cloud replaces crashed agents by itself (fact 10): one re-dispatcher, not two."""
    async with a_site_with_their_worker(redispatch_grace=15.0) as (site, worker):
        job = await ask(site)
        await joined(site, job)
        crash(site, worker)
        await ghost_gone(site)
        await anyio.sleep(14)
        assert site.livekit.calls["CreateDispatch"] == 1
        await anyio.sleep(5)
        assert site.livekit.calls["CreateDispatch"] == 2
        assert await site.state(job) is State.JOINED


async def test_a_foreign_agent_that_the_other_dispatcher_replaced_is_not_called_again() -> None:
    """Whoever brought it, it is the room's agent."""
    async with a_site_with_their_worker(redispatch_grace=15.0) as (site, worker):
        job = await ask(site)
        await joined(site, job)
        crash(site, worker)
        await ghost_gone(site)
        await anyio.sleep(5)
        await site.livekit.create_dispatch("r", NAME, metadata="", attributes={})  # Cloud's own
        await anyio.sleep(30)
        assert site.observer.most["r"] == 1
        assert site.livekit.calls["CreateDispatch"] == 2
        assert await site.state(job) is State.JOINED


async def test_foreign_agents_are_never_replaced_when_the_setting_says_so() -> None:
    """Somebody else's business altogether."""
    async with a_site_with_their_worker(foreign_replace="never") as (site, worker):
        job = await ask(site)
        await joined(site, job)
        await site.livekit.remove_participant("r", agent_of(worker).identity)
        await anyio.sleep(30)
        assert site.livekit.calls["CreateDispatch"] == 1
        assert await site.state(job) is State.FINISHED
