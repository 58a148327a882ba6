"""The load that livekit-server sees says exactly whether one more job fits."""

from __future__ import annotations

import pytest

from pool.capacity import load_of
from pool.compat import LOAD_THRESHOLD
from pool.ports import SOON_WARM, Capacity


@pytest.mark.parametrize("slots", [1, 2, 3, 7, 40, 1000])
def test_full_is_above_the_threshold_and_one_free_slot_below(slots: int) -> None:
    """For every number of jobs that run or start (fact 50)."""
    for taken in range(slots + 1):
        running = taken // 2
        capacity = Capacity(
            slots=slots, running=running, starting=taken - running, warm=slots - running, node_id="ND_1"
        )
        assert (load_of(capacity) < LOAD_THRESHOLD) == (taken < slots)


def test_a_draining_worker_is_full() -> None:
    """Whatever its slots say."""
    assert load_of(Capacity(slots=3, warm=3, node_id="ND_1", draining=True)) == 1.0


def test_a_paused_worker_is_full_and_has_nothing_free() -> None:
    """Its gate could not answer."""
    paused = Capacity(slots=3, warm=3, node_id="ND_1", paused=True)
    assert load_of(paused) == 1.0
    assert paused.free == 0


def test_a_slot_that_gets_warm_is_open_for_livekit_and_not_free_for_the_keeper() -> None:
    """livekit-server hears of a freed slot before anybody who would dispatch into it (fact 52)."""
    capacity = Capacity(slots=3, running=2, warm=0, node_id="ND_1")
    assert load_of(capacity) < LOAD_THRESHOLD
    assert capacity.free == 0


def test_a_slot_is_free_when_a_process_for_it_comes_quickly() -> None:
    """A job waits for it in the worker, for less than LiveKit would have waited for other workers' bids."""
    capacity = Capacity(slots=3, running=1, starting=1, warm=0, quick=True, node_id="ND_1")
    assert capacity.free == 1


def test_a_worker_whose_jobs_never_join_is_full() -> None:
    """LiveKit asks another one."""
    withheld = Capacity(slots=3, warm=3, node_id="ND_1", distrusted=True, withheld=True)
    assert (load_of(withheld), withheld.free) == (1.0, 0)


def test_load_grows_with_every_job() -> None:
    """livekit-server prefers the emptier worker."""
    loads = [load_of(Capacity(slots=5, running=n, warm=5 - n, node_id="ND_1")) for n in range(6)]
    assert loads == sorted(set(loads))


def test_a_distrusted_worker_has_one_free_slot() -> None:
    """Until its job has joined, the keeper must not call for more: they would be dropped."""
    distrusted = Capacity(slots=8, running=1, warm=7, distrusted=True, node_id="ND_1")
    assert distrusted.free == 1


def test_only_so_many_jobs_may_wait_for_a_process() -> None:
    """They start four at a time: the last of many would be given up before it has one."""
    assert Capacity(slots=40, warm=1, quick=True, node_id="ND_1").free == 1 + SOON_WARM
