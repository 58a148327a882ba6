"""The waiting line as the keeper keeps it: in order, and nobody who is gone holds it up."""

from __future__ import annotations

import anyio
import pytest

from gateway.keeper.model import Job, State
from tests.fakes.livekit_parts import Call, Fault
from tests.unit.keeper.site import AGENT, Site, a_site

pytestmark = pytest.mark.anyio


async def test_a_request_before_any_worker_waits_and_is_served_when_one_registers() -> None:
    """Scale from zero: nothing is thrown away."""
    async with a_site() as site, site.running(registered=False):
        job = await site.ask()
        await anyio.sleep(20)
        waiting = await site.keeper.job(job.want.id)
        assert waiting is not None
        assert (waiting.want.state, waiting.place) == (State.WAITING, 1)
        assert "no worker" in waiting.want.reason
        site.pool.start()
        assert await site.until(lambda: site.observer.agents("r") != [], within=2) < 2


async def test_the_reason_is_that_of_now() -> None:
    """What is in the way may change while a room waits: the runbook says something else for each."""
    async with a_site(slots=1) as site, site.running():
        site.person("r0")
        await site.ask("r0")
        await site.served("r0")
        job = await site.ask("r1")
        await anyio.sleep(0.5)
        reasons = []
        for node in ("", "ND_2"):
            site.pool.registered(node)
            await anyio.sleep(site.settings.resync_interval + 1)
            waiting = await site.keeper.job(job.want.id)
            assert waiting is not None
            reasons.append((waiting.want.reason, waiting.place))
        assert reasons == [("no worker is registered with LiveKit", 1), ("all 1 slots are taken", 1)]


async def test_a_full_pool_serves_the_line_in_order() -> None:
    """First come, first served, as slots get free."""
    async with a_site(slots=1) as site, site.running():
        site.person("r0")
        await site.ask("r0")
        await site.served("r0")
        for n in (1, 2, 3):
            site.person(f"r{n}")
            job = await site.ask(f"r{n}")
            await anyio.sleep(0.5)
            waiting = await site.keeper.job(job.want.id)
            assert waiting is not None
            assert (waiting.want.state, waiting.place) == (State.WAITING, n)
        for n in (0, 1, 2):
            site.pool.finish(site.pool.of(f"r{n}"))
            await site.served(f"r{n + 1}", within=2)
        assert all(site.observer.most[f"r{n}"] == 1 for n in range(4))


async def test_a_request_that_waits_longer_than_an_empty_room_lasts_is_served_all_the_same() -> None:
    """Scale from zero takes minutes, and nobody may be in the room yet: nothing accepted is forgotten."""
    async with a_site() as site, site.running(registered=False):
        job = await site.ask()
        await anyio.sleep(site.settings.empty_timeout + 60)
        assert await site.state(job) is State.WAITING
        assert await site.livekit.rooms() == []
        site.pool.start()
        await site.until(lambda: site.observer.agents("r") != [], within=2)


async def test_an_error_of_create_room_costs_nobody_their_place() -> None:
    """The line is ordered by the asks, whatever happened since."""
    async with a_site(slots=1) as site, site.running():
        site.person("busy")
        await site.ask("busy")
        await site.served("busy")
        jobs = [await site.ask(f"early-{n}") for n in range(3)]
        site.livekit.hook = lambda call: Fault(lost="call") if call.method == "CreateRoom" else None
        site.pool.finish(site.pool.of("busy"))
        await anyio.sleep(1)
        with anyio.fail_after(1):  # while it is tried once more, the first one has no place
            while (await places(site, jobs)) != [1, 2, 3]:  # noqa: ASYNC110  (the line tells nobody)
                await anyio.sleep(0.01)


async def places(site: Site, jobs: list[Job]) -> list[int | None]:
    found = [await site.keeper.job(job.want.id) for job in jobs]
    return [job.place for job in found if job is not None]


async def test_a_stop_while_a_ghost_is_removed_holds_up_nobody() -> None:
    """Who is gone from the room is gone from the line."""
    async with a_site(slots=1) as site, site.running():
        site.person("a")
        await site.ask("a")
        await site.served("a")
        await anyio.sleep(2)
        site.livekit.hook = lambda call: Fault(delay=1.0) if call.method == "RemoveParticipant" else None
        site.pool.die(site.pool.of("a"))
        await anyio.sleep(0.5)
        await site.keeper.stop_agent("a", AGENT)
        await anyio.sleep(5)
        site.livekit.hook = lambda call: None
        await site.ask("b")
        await site.until(lambda: site.observer.agents("b") != [], within=2)


async def test_a_stop_while_the_room_is_being_made_holds_up_nobody() -> None:
    """The want ended while LiveKit was asked: its place is free."""
    async with a_site(slots=1) as site, site.running():

        def slow(call: Call) -> Fault | None:
            return Fault(lost="call", delay=5.0) if call.method == "CreateRoom" else None

        site.livekit.hook = slow
        await site.ask("a")
        await anyio.sleep(2)
        await site.keeper.stop_agent("a", AGENT)
        await anyio.sleep(20)
        site.livekit.hook = lambda call: None
        site.pool.timing.warm = 1e6
        site.person("b")
        await site.ask("b")
        await site.served("b")
        waiting = await site.ask("c")
        await anyio.sleep(1)
        found = await site.keeper.job(waiting.want.id)
        assert found is not None
        assert found.place == 1


async def test_a_stopped_want_leaves_the_line_at_once() -> None:
    """The others move up."""
    async with a_site() as site, site.running(registered=False):
        first, second = await site.ask("r1"), await site.ask("r2")
        await site.keeper.stop_agent("r1", AGENT)
        found = [await site.keeper.job(job.want.id) for job in (first, second)]
        assert [job.place for job in found if job is not None] == [None, 1]
