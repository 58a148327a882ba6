"""The clock of another machine, as seen from here."""

from __future__ import annotations

import random

import pytest

from gateway.store.clock import FollowedClock


class Here:
    """Our own clock, moved by hand."""

    def __init__(self) -> None:
        self.now = 5000.0

    def __call__(self) -> float:
        return self.now


def test_the_other_clock_is_met_within_half_a_round_trip() -> None:
    """Nobody knows better."""
    here = Here()
    clock = FollowedClock(4999.0, 5000.0, 1_000_000.3, here)
    assert clock() == pytest.approx(1_000_000.8)


def test_the_quickest_of_the_last_looks_counts() -> None:
    """A look that took long says little."""
    here, rng = Here(), random.Random(1)
    clock = FollowedClock(here.now, here.now, 10_000.0, here)
    for number in range(200):
        here.now += 0.5
        slow, quick = rng.uniform(0.0, 0.4) if number % 10 else 0.0, rng.uniform(0.0, 0.001)
        clock.looked(here.now - slow - quick, here.now, here.now + 5000.0 - quick)
        assert clock() == pytest.approx(here.now + 5000.0, abs=0.01)


def test_the_clock_never_goes_back() -> None:
    """Whatever the looks say."""
    here, rng = Here(), random.Random(2)
    clock = FollowedClock(here.now, here.now, 10_000.0, here)
    last = clock()
    for _ in range(2000):
        here.now += rng.uniform(0.0, 1.0)
        began = here.now - rng.uniform(0.0, 0.5)
        clock.looked(began, here.now, here.now + rng.uniform(-100.0, 100.0))
        assert clock() >= last
        last = clock()


def test_a_clock_that_was_set_a_bit_forward_is_followed_at_once() -> None:
    """A failover to a machine whose clock is ahead by some seconds."""
    here = Here()
    clock = FollowedClock(here.now, here.now + 0.001, 10_000.0, here)
    here.now += 1.0
    clock.looked(here.now - 0.3, here.now, 10_015.0)
    assert clock() == pytest.approx(10_015.0, abs=0.2)


@pytest.mark.parametrize("by", [600.0, -600.0])
def test_a_clock_that_was_set_by_a_lot_is_believed_after_a_while(by: float) -> None:
    """The leader mostly has set it right again by then; without one, the time is what the server says."""
    here = Here()
    clock = FollowedClock(here.now, here.now, 10_000.0, here)
    for _ in range(8):
        here.now += 0.5
        clock.looked(here.now, here.now, here.now + 5000.0 + by)
        assert clock() == pytest.approx(here.now + 5000.0)
    here.now += 0.5
    clock.looked(here.now, here.now, here.now + 5000.0)
    for _ in range(12):
        here.now += 0.5
        clock.looked(here.now, here.now, here.now + 5000.0 + by)
    here.now += 0.5
    assert (clock() > here.now + 5500.0) is (by > 0)


def test_a_clock_that_was_set_back_is_waited_for_at_half_the_pace() -> None:
    """Time goes on, so that time-outs still end, and meets the other one."""
    here = Here()
    clock = FollowedClock(here.now, here.now, 10_000.0, here)
    clock.looked(here.now, here.now, 9_990.0)
    assert clock() == pytest.approx(10_000.0)
    here.now += 10.0
    assert clock() == pytest.approx(10_005.0)
    here.now += 30.0
    assert clock() == pytest.approx(10_030.0)
