"""How many workers are wanted, as the leader tells whatever scales them."""

from __future__ import annotations

from dataclasses import replace

import anyio
import pytest
from prometheus_client import generate_latest

from gateway.keeper.fleet import Fleet
from gateway.keeper.model import Pulse, Replica
from gateway.keeper.scaling import Demand, wanted_workers
from gateway.metrics import Metrics
from gateway.settings import KeeperSettings
from pool.none import NoPool
from pool.ports import Capacity
from tests.unit.keeper.site import AGENT, Site, a_site

pytestmark = pytest.mark.anyio

TO_ZERO = KeeperSettings(default_agent=AGENT, buffer=0, slots_per_worker=4)


def demand(site: Site) -> Demand:
    (found,) = site.keeper.scaling.demands()
    return found


@pytest.mark.parametrize(
    ("active", "waiting", "buffer", "wanted"),
    [(0, 0, 0, 0), (0, 0, 1, 1), (0, 1, 0, 1), (4, 0, 0, 1), (4, 0, 1, 2), (4, 1, 0, 2), (7, 9, 4, 5)],
)
def test_the_formula(active: int, waiting: int, buffer: int, wanted: int) -> None:
    """Rounded up: part of a worker is a worker."""
    assert wanted_workers(active=active, waiting=waiting, buffer=buffer, slots_per_worker=4) == wanted


async def test_those_who_wait_while_there_is_no_worker_want_some() -> None:
    """From zero: a worker has as many slots as the setting says while none runs."""
    async with a_site(settings=TO_ZERO) as site, site.running(registered=False):
        await anyio.sleep(1)
        assert demand(site).wanted_workers == 0
        for n in range(5):
            await site.ask(f"r{n}")
        assert (demand(site).waiting, demand(site).wanted_workers) == (5, 2)


async def test_a_buffer_in_percent_grows_with_the_load() -> None:
    """Rounded up, and none while nobody is there."""
    settings = replace(TO_ZERO, buffer_percent=50)
    async with a_site(slots=4, settings=settings) as site, site.running():
        await anyio.sleep(1)
        assert (demand(site).buffer, demand(site).wanted_workers) == (0, 0)
        for room in ("r1", "r2", "r3"):
            site.person(room)
            await site.ask(room)
            await site.served(room)
        assert (demand(site).active, demand(site).buffer, demand(site).wanted_workers) == (3, 2, 2)


async def test_who_was_called_for_and_who_is_there_count_once_each() -> None:
    """The figure must not dip while an agent is on its way, nor jump when it is there."""
    async with a_site(slots=4, settings=TO_ZERO) as site, site.running():
        await anyio.sleep(1)
        site.person()
        await site.ask()
        figures = set()
        while not site.observer.agents("r"):
            figures.add(demand(site).active + demand(site).waiting)
            await anyio.sleep(0.01)
        await anyio.sleep(1)
        assert figures == {1}
        assert (demand(site).active, demand(site).waiting) == (1, 0)


async def test_the_wait_is_that_of_the_room_that_lacks_its_agent_longest() -> None:
    """It begins with the ask and ends with the agent."""
    async with a_site(slots=1, settings=TO_ZERO) as site, site.running():
        await anyio.sleep(1)
        for room in ("r1", "r2"):
            site.person(room)
            await site.ask(room)
            await site.until(lambda: site.observer.agents("r1") != [])
        await anyio.sleep(10)
        assert demand(site).oldest_wait == pytest.approx(10, abs=1)
        site.pool.finish(site.pool.of("r1"))
        await site.served("r2", within=2)
        await site.until(lambda: demand(site).oldest_wait == 0, within=1)


async def test_a_want_that_waits_for_a_person_lacks_nothing() -> None:
    """Nobody is there who could miss the agent."""
    settings = replace(TO_ZERO, room_patterns=(("r*", AGENT),))
    async with a_site(settings=settings) as site, site.running():
        person = site.person()
        await site.served()
        site.livekit.leave(person)
        site.pool.die(site.pool.of("r"))
        await anyio.sleep(20)
        assert demand(site).oldest_wait == 0


async def test_slots_that_all_workers_withhold_want_no_other_worker() -> None:
    """Where every worker is distrusted the fault is not theirs: no number of workers would help."""
    async with a_site(slots=4, settings=TO_ZERO) as site, site.running():
        await anyio.sleep(1)
        site.pool.capacity = lambda: Capacity(  # type: ignore[method-assign]
            slots=4, running=1, node_id="n", distrusted=True, withheld=True
        )
        assert (demand(site).active, demand(site).wanted_workers) == (1, 1)


class TestWhoLeads:
    def fleet(self, *, may_lead: bool, other: Replica | None = None) -> Fleet:
        fleet = Fleet("me", "h", NoPool("a"), lambda: 100.0, may_lead=may_lead)
        others = [other] if other else []
        fleet.take(
            Pulse(now=100.0, generation="g", leader="", epoch=1, settled=True, age=0.0, replicas=others),
            100.0,
        )
        return fleet

    def test_a_worker_never_leads(self) -> None:
        """Not even alone: rooms are a gateway's."""
        assert not self.fleet(may_lead=False).should_lead

    def test_a_worker_is_no_fitter_leader(self) -> None:
        """A gateway that does not see LiveKit leads when nobody but workers is there."""
        worker = Replica(id="other", may_lead=False, beat_at=100.0)
        assert self.fleet(may_lead=True, other=worker).should_lead
        assert not self.fleet(may_lead=True, other=replace(worker, may_lead=True)).should_lead


async def test_metrics_are_told_by_the_leader_only() -> None:
    """Another replica does not know who waits: no figure is better than a wrong one."""
    async with a_site(settings=TO_ZERO) as site:
        metrics = Metrics()
        async with site.running(registered=False):
            metrics.tell_scaling(site.keeper.scaling.demands)
            assert b"roomkeeper_wanted_workers{" not in generate_latest(metrics.registry)
            await anyio.sleep(1)
            await site.ask()
            told = generate_latest(metrics.registry).decode()
        for line in (
            f'roomkeeper_wanted_workers{{agent="{AGENT}"}} 1.0',
            f'roomkeeper_agents_waiting{{agent="{AGENT}"}} 1.0',
            f'roomkeeper_slots_per_worker{{agent="{AGENT}"}} 4.0',
        ):
            assert line in told
