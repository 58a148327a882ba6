"""The agent's own session opens, closes and fails: in the room is not enough (I7)."""

from __future__ import annotations

import anyio
import pytest

from gateway.keeper.model import State
from gateway.settings import KeeperSettings
from tests.unit.keeper.site import AGENT, a_site

pytestmark = pytest.mark.anyio


async def test_an_agent_that_closes_its_own_session_has_finished_though_it_stays() -> None:
    """I5, I7: closed by its own will is an end, and a closed session is not `joined`."""
    async with a_site() as site, site.running():
        site.person()
        job = await site.ask()
        await site.served()
        await anyio.sleep(1)
        site.pool.close_session(site.pool.of("r"), "user_initiated")
        await anyio.sleep(1)
        assert await site.state(job) is State.REPLACING
        await anyio.sleep(30)
        assert await site.state(job) is State.FINISHED
        assert site.observer.agents("r") == []
        assert len(site.observer.arrived["r"]) == 1


async def test_an_agent_that_opens_another_session_goes_on() -> None:
    """Some hand over from one session to the next."""
    async with a_site() as site, site.running():
        site.person()
        job = await site.ask()
        first = await site.served()
        await anyio.sleep(1)
        running = site.pool.of("r")
        site.pool.close_session(running, "user_initiated")
        await anyio.sleep(2)
        site.pool.open_session(running)
        await anyio.sleep(30)
        assert await site.state(job) is State.JOINED
        assert site.observer.agents("r") == [first]


async def test_an_ask_after_the_agent_closed_its_session_brings_another_one() -> None:
    """I5: somebody asked after that end."""
    async with a_site() as site, site.running():
        site.person()
        await site.ask()
        first = await site.served()
        await anyio.sleep(1)
        site.pool.close_session(site.pool.of("r"), "user_initiated")
        await anyio.sleep(1)
        again = await site.ask()
        await site.until(lambda: site.observer.agents("r") not in ([first], []), within=2)
        await anyio.sleep(1)
        assert await site.state(again) is State.JOINED
        assert site.observer.most["r"] == 1


async def test_a_session_that_closes_with_an_error_again_and_again_is_a_crash_loop() -> None:
    """Replaced at once the first time, then with a back-off, then given up."""
    settings = KeeperSettings(default_agent=AGENT, give_up_after=60)
    async with a_site(settings=settings) as site, site.running():
        site.person()
        job = await site.ask()
        with anyio.move_on_after(180):
            while True:
                await site.served(within=1000)
                await anyio.sleep(0.5)
                site.pool.close_session(site.pool.of("r"), "error")
                await anyio.sleep(0.5)
        assert await site.state(job) is State.GAVE_UP
        assert 4 < len(site.observer.arrived["r"]) < 15
        assert site.observer.most["r"] == 1


async def test_an_agent_whose_session_never_opens_is_replaced_and_in_the_end_given_up() -> None:
    """In the room is not enough, and nothing waits for ever (I2, I7)."""
    settings = KeeperSettings(default_agent=AGENT, give_up_after=120)
    async with a_site(settings=settings) as site, site.running():
        site.pool.on_enter = lambda job: "hang"
        site.person()
        job = await site.ask()
        await anyio.sleep(60)
        assert len(site.observer.arrived["r"]) == 2
        await anyio.sleep(120)
        assert await site.state(job) is State.GAVE_UP
        assert site.observer.agents("r") == []
        assert site.observer.most["r"] == 1
