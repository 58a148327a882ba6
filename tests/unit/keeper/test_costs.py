"""What the keeper spends: cost follows what changed, not how many rooms there are."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace

import anyio
import pytest

from gateway.keeper.keeper import Keeper
from gateway.keeper.notes import Hint
from gateway.metrics import Metrics
from gateway.settings import KeeperSettings, Lane
from tests.fakes.livekit_parts import Call, Fault
from tests.fakes.pool import FakePool
from tests.unit.keeper.site import AGENT, Site, a_site, wall_clock

pytestmark = pytest.mark.anyio

ROOMS = 30
NO_RESYNC = replace(KeeperSettings(), default_agent=AGENT, resync_interval=10_000.0)


@asynccontextmanager
async def settled(settings: KeeperSettings | None = None, rooms: int = ROOMS) -> AsyncIterator[Site]:
    """Rooms with a person and an agent each, at rest."""
    async with a_site(slots=rooms, settings=settings) as site, site.running():
        for number in range(rooms):
            site.person(f"r{number}")
            await site.ask(f"r{number}")
        for number in range(rooms):
            await site.served(f"r{number}")
        await anyio.sleep(15)
        yield site


def looks(site: Site) -> int:
    """Looks at rooms so far: each reads who is there, and nothing else does."""
    return site.livekit.calls["ListParticipants"]


async def test_a_look_at_a_settled_room_is_two_calls_and_two_steps() -> None:
    """LiveKit tells the room and who is in it, the store its wants and its claims."""
    async with settled(NO_RESYNC, rooms=1) as site:
        on_the_way: list[float] = []

        async def count() -> None:
            on_the_way.append(anyio.current_time())

        before = site.livekit.calls.copy()
        site.store.on_the_way = count
        site.keeper.hint(Hint(event="room_finished", room="r0"))
        await anyio.sleep(0.25)
        calls = site.livekit.calls - before
        assert calls["ListParticipants"] == 1
        assert calls["ListRooms"] <= 2  # one may be the readiness probe's
        steps = len(on_the_way) / 2  # there, and back
        assert steps <= 2 + 1  # one may be a heartbeat


@pytest.mark.parametrize("launch", ["dispatch", "direct"])
async def test_an_agent_on_its_way_is_not_held_up_by_looks(launch: Lane) -> None:
    """Each of its steps is told, by its process and by webhooks: one look when it is asked for, one when it
    is there."""
    settings = replace(NO_RESYNC, launch=launch)
    async with a_site(settings=settings) as site, site.running():
        await site.ask("first")
        await site.served("first")
        site.person("r0")
        await anyio.sleep(15)  # the new leader's own looks are over
        before = looks(site)
        await site.ask("r0")
        await site.served("r0")
        await anyio.sleep(3)
        assert looks(site) - before <= 2


async def test_a_late_word_of_an_agent_that_is_there_makes_no_haste() -> None:
    """LiveKit's webhook comes when the agent itself has told long ago."""
    async with settled(NO_RESYNC, rooms=1) as site:
        before, (mine,) = looks(site), site.observer.agents("r0")
        site.keeper.hint(Hint(event="participant_joined", room="r0", identity=mine))
        await anyio.sleep(0.5)
        assert looks(site) == before
        site.keeper.hint(Hint(event="participant_joined", room="r0", identity="another"))
        await anyio.sleep(0.1)
        assert looks(site) == before + 1


async def test_a_room_of_which_nobody_wants_anything_is_not_looked_at() -> None:
    """Its agent ended by itself, and told so; LiveKit tells that it left, and that the room has ended."""
    async with settled(NO_RESYNC, rooms=1) as site:
        before = looks(site)
        site.pool.finish(site.pool.of("r0"))
        await anyio.sleep(1)
        site.livekit.leave(next(c for c in site.livekit.present("r0") if c.person))  # it ends after a while
        await anyio.sleep(30)
        assert looks(site) == before
        await site.ask("r0")  # and is looked at as soon as somebody does
        await site.served("r0")


async def test_people_who_come_and_go_in_a_settled_room_need_no_look() -> None:
    """Their agent is there and listens; should it not any more, it tells."""
    async with settled(NO_RESYNC) as site:
        before = looks(site)
        for turn in range(10):
            visitors = [site.person(f"r{number}", f"visitor-{turn}") for number in range(ROOMS)]
            await anyio.sleep(1)
            for visitor in visitors:
                site.livekit.leave(visitor)
        await anyio.sleep(5)
        assert looks(site) == before


async def test_somebody_who_comes_back_while_a_look_is_under_way_is_not_missed() -> None:
    """The look saw the room empty; that somebody came since is looked at again, though all seemed settled."""
    async with settled(NO_RESYNC, rooms=1) as site:
        person = next(c for c in site.livekit.present("r0") if c.person)
        site.livekit.leave(person)
        await anyio.sleep(1)
        site.livekit.hook = lambda call: (
            Fault(reply_delay=1.0) if call == Call("ListParticipants", "r0") else None
        )
        site.pool.close_session(site.pool.of("r0"), "participant_disconnected")
        await anyio.sleep(0.5)  # its look has seen nobody, and does not know yet
        site.person("r0", "back")
        site.livekit.hook = lambda call: None
        await anyio.sleep(4)
        assert len(site.observer.agents("r0")) == 1
        assert site.pool.of("r0").working


async def test_a_resync_looks_at_what_changed() -> None:
    """People came and went everywhere, every webhook was lost: settled rooms are looked at in turn only."""
    async with settled() as site:
        await anyio.sleep(70)  # a new leader looks at each room once
        site.webhooks = False
        before = looks(site)
        for number in range(ROOMS):
            site.person(f"r{number}", "another")
        await anyio.sleep(60)
        assert looks(site) - before <= ROOMS / 10 + 6


async def test_every_room_has_its_turn() -> None:
    """Our own settled rooms within ten minutes, whatever was not told."""
    async with settled(rooms=10) as site:
        looked: set[str] = set()
        await anyio.sleep(70)
        site.livekit.hook = lambda call: looked.add(call.room) if call.method == "ListParticipants" else None
        await anyio.sleep(620)
        assert looked == {f"r{number}" for number in range(10)}


async def test_a_new_leader_leaves_alone_what_the_one_before_it_left_in_order() -> None:
    """It reads the books and compares them with one list of LiveKit's."""
    async with settled() as site:
        pool = FakePool(site.livekit, AGENT, slots=ROOMS)
        other = Keeper(
            store=site.store.link(),
            livekit=site.livekit.link(),
            workers=pool,
            settings=site.settings,
            metrics=Metrics(),
            clock=wall_clock,
        )
        pool.attach(other, other)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(other.run)
            tasks.start_soon(pool.run)
            pool.start()
            await anyio.sleep(5)
            before = looks(site)
            site.pool.drain()  # it gives up the lead to one that is fitter
            await anyio.sleep(5)
            assert looks(site) - before <= ROOMS / 6 + 1
            dying = site.pool.of("r7")
            site.pool.die(dying)
            await site.until(lambda: [j for j in pool.jobs.values() if j.working] != [], 5)
            tasks.cancel_scope.cancel()
