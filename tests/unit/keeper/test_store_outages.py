"""The store away, failing, or written by another version: nothing is promised, cut or doubled."""

from __future__ import annotations

import random
from contextlib import suppress

import anyio
import pytest

from gateway.keeper.model import Claim, Pulse, Replica, State
from gateway.keeper.ports import LEASE, RowUnreadable, StoreUnavailable
from tests.unit.keeper.site import a_site

pytestmark = pytest.mark.anyio


async def test_a_want_is_refused_while_the_store_is_away_and_served_when_it_is_back() -> None:
    """Nothing is promised that cannot be kept."""
    async with a_site() as site, site.running():
        site.person()
        site.store.away = True
        with pytest.raises(StoreUnavailable):
            await site.ask()
        site.store.away = False
        await site.ask()
        await site.served()


async def test_the_store_is_not_well_while_nothing_new_is_promised_since_it_forgot() -> None:
    """Or `/readyz` would call a gateway ready whose every POST is a 503. The same when it is new."""
    async with a_site() as site, site.running():
        await anyio.sleep(1)
        site.store.wipe()
        await anyio.sleep(1)  # a heartbeat has told
        since = anyio.current_time()
        while (store := site.keeper.reports.health()[0]).name == "store" and not store.ok:
            assert "put back" in store.why
            with suppress(StoreUnavailable):
                await site.ask()
                assert anyio.current_time() - since > LEASE - 2, "the next heartbeat tells that it is over"
            await anyio.sleep(0.5)
        await site.ask()
        assert LEASE - 2 < anyio.current_time() - since < LEASE + 1


async def test_heartbeats_tell_whether_the_store_answers() -> None:
    """Two a second, by result: what the alert on the store counts."""
    async with a_site() as site, site.running():

        def beats(result: str) -> float:
            labels = {"result": result}
            return site.metrics.registry.get_sample_value("roomkeeper_heartbeats_total", labels) or 0.0

        await anyio.sleep(10)
        assert beats("ok") >= 18
        assert beats("failed") == 0
        site.store.away = True
        await anyio.sleep(1)
        answered = beats("ok")
        await anyio.sleep(10)
        assert beats("ok") == answered
        assert beats("failed") >= 18


async def test_the_worker_reports_full_while_the_store_is_out_of_reach() -> None:
    """From when others must take this replica for lapsed: LiveKit then asks their workers first."""
    async with a_site() as site, site.running():
        site.person()
        await site.ask()
        await site.served()
        assert not site.pool.capacity().paused
        site.store.away = True
        await anyio.sleep(LEASE + 1)
        assert site.pool.capacity().paused
        site.store.away = False
        await anyio.sleep(1)
        assert not site.pool.capacity().paused
        await site.served()


async def test_a_job_whose_row_another_version_wrote_is_not_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    """The store answers, if only with what cannot be read: an agent that LiveKit lost in that time stays."""
    async with a_site() as site, site.running():
        site.person()
        await site.ask()
        first = await site.served()
        await anyio.sleep(1)

        async def unheard(me: Replica, *, lead: bool) -> Pulse:
            raise StoreUnavailable("away")

        async def unreadable(job_id: str) -> Claim | None:
            raise RowUnreadable("of another version")

        with monkeypatch.context() as patch:
            patch.setattr(site.store, "beat", unheard)
            patch.setattr(site.store, "claim_of", unreadable)
            await site.livekit.restart(down=2 * LEASE)
            await anyio.sleep(LEASE)
        await anyio.sleep(20)
        assert site.observer.agents("r") == [first]


async def test_nobody_is_said_to_have_joined_before_the_store_was_told_what_happened_meanwhile() -> None:
    """I7: an agent that died while the store was away is still joined in the books when that is back."""
    async with a_site() as site, site.running():
        site.person()
        job = await site.ask()
        await site.served()
        await anyio.sleep(1)
        site.store.away = True
        await anyio.sleep(3)
        site.pool.die(site.pool.of("r"))
        await anyio.sleep(3.1)
        site.store.away = False
        said = []
        for _ in range(100):
            with suppress(StoreUnavailable):
                said.append(await site.state(job))
            await anyio.sleep(0.02)
        assert said == [] or said[0] is not State.JOINED
        await site.until(lambda: len(site.observer.agents("r")) == 1)
        await anyio.sleep(1)
        assert await site.state(job) is State.JOINED, "it is said again when all has been told"


async def test_a_job_that_could_not_be_confirmed_is_no_end_on_purpose() -> None:
    """The store was away at that moment; the room still wants its agent (I3)."""
    async with a_site() as site, site.running():

        def lose_the_store(_: object) -> str:
            site.store.away = True
            site.pool.on_enter = lambda job: ""
            return ""

        site.pool.on_enter = lose_the_store
        site.person()
        job = await site.ask()
        await anyio.sleep(3)
        site.store.away = False
        await site.served()
        await anyio.sleep(3)
        assert await site.state(job) is State.JOINED
        assert site.observer.most["r"] == 1


async def test_when_a_store_that_failed_every_third_time_is_well_each_room_has_its_one_agent() -> None:
    """Whatever step fails, it is tried again, and nothing is doubled (I1, I2)."""
    async with a_site(slots=8) as site, site.running():
        rng = random.Random(7)
        rooms = [f"r{n}" for n in range(6)]
        for room in rooms:
            site.person(room)
            await site.ask(room)
        site.store.fails = lambda: rng.random() < 0.3
        await anyio.sleep(60)
        for room in rooms:
            with suppress(StopIteration):
                site.pool.die(site.pool.of(room))
        await anyio.sleep(60)
        site.store.fails = lambda: False
        await anyio.sleep(60)
        assert [len(site.observer.agents(room)) for room in rooms] == [1] * 6
        assert all(site.observer.most[room] == 1 for room in rooms)
