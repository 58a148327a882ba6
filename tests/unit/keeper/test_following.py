"""Whoever follows a job hears of each change, whichever replica they ask."""

from __future__ import annotations

import itertools

import anyio
import pytest

from gateway.keeper.model import Job, State
from tests.unit.keeper.site import AGENT, Site, a_site

pytestmark = pytest.mark.anyio


async def follow(site: Site, job: Job, heard: list[Job]) -> None:
    async for now in site.keeper.follow(job.want.id):
        heard += [now]


def states(heard: list[Job]) -> list[str]:
    """Without repeats: the reason may change, too."""
    return [state for state, _ in itertools.groupby(job.want.state.value for job in heard)]


async def test_a_follower_hears_of_every_state_at_once_and_of_the_end() -> None:
    """In order, and nothing twice."""
    async with a_site() as site, site.running(), anyio.create_task_group() as tasks:
        site.person()
        heard: list[Job] = []
        tasks.start_soon(follow, site, await site.ask(), heard)
        await site.served()
        await anyio.sleep(0.1)
        assert states(heard) == ["waiting", "dispatched", "joined"]
        await site.keeper.stop_agent("r", AGENT)
        with anyio.fail_after(1):
            while heard[-1].want.state is not State.STOPPED:  # noqa: ASYNC110  (the list tells nobody)
                await anyio.sleep(0.01)
        assert states(heard) == ["waiting", "dispatched", "joined", "stopped"]


async def test_a_follower_hears_how_the_line_moves() -> None:
    """Nothing is written when one's place changes."""
    async with a_site() as site, site.running(registered=False), anyio.create_task_group() as tasks:
        await site.ask("first")
        job = await site.ask("second")
        heard: list[Job] = []
        tasks.start_soon(follow, site, job, heard)
        await anyio.sleep(1)
        await site.keeper.stop_agent("first", AGENT)
        await anyio.sleep(2)
        assert [place for place, _ in itertools.groupby(job.place for job in heard)] == [2, 1]
        await site.keeper.stop_agent("second", AGENT)


async def test_a_follower_stays_while_the_store_is_away() -> None:
    """And hears what has come of it when it is back."""
    async with a_site() as site, site.running(), anyio.create_task_group() as tasks:
        site.person()
        job = await site.ask()
        await site.served()
        await anyio.sleep(1)
        heard: list[Job] = []
        tasks.start_soon(follow, site, job, heard)
        await anyio.sleep(1)
        site.store.away = True
        await anyio.sleep(10)
        site.pool.die(site.pool.of("r"))
        await anyio.sleep(1)
        site.store.away = False
        await anyio.sleep(10)
        assert states(heard) == ["joined", "replacing", "dispatched", "joined"]
        await site.keeper.stop_agent("r", AGENT)


async def test_followers_are_let_go_when_the_process_ends() -> None:
    """Else its last requests would never be answered."""
    async with a_site() as site, site.running():
        job = await site.ask()
        with anyio.fail_after(6):
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(follow, site, job, [])
                await anyio.sleep(5)
                site.keeper.close()
