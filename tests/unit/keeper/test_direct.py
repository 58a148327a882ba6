"""The direct lane: which jobs the leader launches itself, and that no wall is lower for it."""

from __future__ import annotations

from dataclasses import replace

import anyio
import pytest

from gateway.keeper.fleet import Fleet
from gateway.keeper.model import Pulse, Replica, State
from gateway.settings import KeeperSettings
from pool.ports import Capacity
from tests.fakes.keeper import FakeWorkers
from tests.unit.keeper.site import AGENT, Site, a_site

pytestmark = pytest.mark.anyio

DIRECT = replace(KeeperSettings(), default_agent=AGENT, launch="direct")


def calls(site: Site, outcome: str) -> float:
    value = site.metrics.registry.get_sample_value("roomkeeper_dispatches_total", {"outcome": outcome})
    return value or 0.0


async def test_livekit_is_not_asked() -> None:
    """The agent is there 200 ms sooner (fact 67), as good as any other."""
    async with a_site(settings=DIRECT) as site, site.running():
        site.person()
        await anyio.sleep(5)
        began = anyio.current_time()
        job = await site.ask()
        await site.served()
        assert anyio.current_time() - began < 0.2
        await anyio.sleep(1)
        assert await site.state(job) is State.JOINED
        assert (calls(site, "direct"), calls(site, "created")) == (1, 0)
        assert site.livekit.calls["CreateDispatch"] == 0


async def test_a_burst_takes_no_more_than_the_slots() -> None:
    """All are judged in the same moment: each finds what the ones before it have taken."""
    async with a_site(slots=3, settings=DIRECT) as site, site.running():
        await anyio.sleep(5)
        most = 0
        async with anyio.create_task_group() as asking:
            for number in range(12):
                site.person(f"r{number}")
                asking.start_soon(site.ask, f"r{number}")
        for _ in range(200):
            most = max(most, len(site.pool.jobs))
            await anyio.sleep(0.01)
        assert most == 3
        assert calls(site, "direct") == 3


async def test_what_nobody_claimed_goes_by_livekit() -> None:
    """It may find another worker."""
    async with a_site(settings=DIRECT) as site, site.running():
        site.person()
        await anyio.sleep(5)
        site.pool.declines = True
        await site.ask()
        await site.until(lambda: calls(site, "created") >= 1, within=60)
        assert calls(site, "direct") == 2  # a failure in between may have been bad luck
        site.pool.declines = False
        await site.served(within=60)


async def test_a_drain_ends_the_lane() -> None:
    """Other replicas have workers yet."""
    async with a_site(settings=DIRECT) as site, site.running():
        await anyio.sleep(5)
        site.pool.drain()
        site.person()
        await site.ask()
        await anyio.sleep(10)
        assert calls(site, "direct") == 0


@pytest.mark.parametrize(
    ("own", "other", "takes"),
    [
        pytest.param((8, 0), None, True, id="alone"),
        pytest.param((8, 8), None, False, id="alone and full"),
        pytest.param((8, 2), (8, 2), True, id="as busy as the other"),
        pytest.param((8, 3), (8, 2), False, id="busier than the other"),
        pytest.param((8, 3), (2, 1), True, id="less busy by share"),
        pytest.param((8, 3), (2, 2), True, id="the other one is full"),
    ],
)
def test_the_leader_fills_up_no_sooner_than_the_others(
    own: tuple[int, int], other: tuple[int, int] | None, takes: bool
) -> None:
    """(slots, running)."""

    def capacity(slots: int, running: int) -> Capacity:
        return Capacity(slots=slots, running=running, warm=slots - running, node_id="ND_1")

    fleet = Fleet("me", "host", FakeWorkers(capacity(*own), AGENT), lambda: 100.0)
    others = [Replica(id="other", agent=AGENT, capacity=capacity(*other), beat_at=100.0)] if other else []
    fleet.take(Pulse(now=100.0, generation="g", leader="me", epoch=1, replicas=others), 100.0)
    assert fleet.takes_next(AGENT) is takes
    assert not fleet.takes_next("another agent")
