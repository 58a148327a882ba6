"""What workers can take together, and what of it counts for whom."""

from __future__ import annotations

import pytest

from gateway.keeper.fleet import Fleet
from gateway.keeper.model import Pulse, Replica
from gateway.keeper.strength import Strength
from pool.none import NoPool
from pool.ports import Capacity

NODE = "ND_1"
TAKES = Capacity(slots=4, running=1, starting=1, warm=2, node_id=NODE)
DRAINS = Capacity(slots=2, running=2, node_id=NODE, draining=True)
WITHHELD = Capacity(slots=3, running=1, node_id=NODE, distrusted=True, withheld=True)


def together(*workers: Capacity) -> Strength:
    strength = Strength()
    for worker in workers:
        strength = strength.with_worker(worker)
    return strength


@pytest.mark.parametrize("order", [1, -1])
def test_workers_that_drain_count_for_nothing(order: int) -> None:
    """Neither their calls nor their slots, in whichever order they are met."""
    both = together(*[TAKES, DRAINS][::order])
    assert (both.workers, both.slots, both.busy, both.calls, both.smallest) == (2, 4, 2, 2, 4)
    assert both.free == TAKES.free == 1
    assert not both.draining


def test_a_fleet_of_which_all_drain_drains() -> None:
    """Its calls are nobody's reason for another worker."""
    all_of_them = together(DRAINS, DRAINS)
    assert all_of_them.draining
    assert (all_of_them.calls, all_of_them.smallest, all_of_them.slots) == (0, 0, 0)


def test_what_a_distrusted_worker_withholds_is_told_apart() -> None:
    """Its calls run; its free slots are no slots, unless it drains: then nobody misses them."""
    both = together(TAKES, WITHHELD)
    assert (both.calls, both.withheld, both.slots, both.free) == (3, 2, 4, 1)
    gone = Capacity(slots=3, running=1, node_id=NODE, withheld=True, draining=True)
    assert together(TAKES, gone).withheld == 0


def test_calls_of_a_worker_that_is_away_count() -> None:
    """LiveKit restarts, and registers it again in a moment: its calls run all the while."""
    strength = Strength().with_worker(Capacity(slots=4, running=3, warm=1))
    assert (strength.calls, strength.slots) == (3, 0)


def test_a_gateway_without_workers_is_no_worker() -> None:
    """Beside it "every worker is draining" stays true."""
    assert together(NoPool("a").capacity()) == Strength()


@pytest.mark.parametrize(
    ("other", "serves"),
    [
        (TAKES, True),
        (Capacity(slots=4, running=4, node_id=NODE), True),  # full: a call may end in time
        (DRAINS, False),
        (WITHHELD, False),
        (Capacity(slots=4, warm=4), False),  # not registered
        (Capacity(node_id=NODE), False),
        (None, False),
    ],
)
def test_who_may_take_a_call_over(other: Capacity | None, serves: bool) -> None:
    """Another replica's worker that takes jobs, for the same agent."""
    fleet = Fleet("me", "host", NoPool("a"), lambda: 100.0)
    others = [] if other is None else [Replica(id="other", agent="a", capacity=other, beat_at=100.0)]
    fleet.take(Pulse(now=100.0, generation="g", leader="me", epoch=1, replicas=others), sent_at=100.0)
    assert fleet.others_serve("a") is serves
    assert not fleet.others_serve("b")
