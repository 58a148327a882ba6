"""How many processes are kept warm."""

from __future__ import annotations

from pool.ports import WarmPolicy
from pool.warm import REMEMBERED, WINDOW, Warm


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def warm(policy: WarmPolicy) -> tuple[Warm, Clock]:
    clock = Clock()
    return Warm(policy, clock), clock


def test_all_is_whatever_there_are_slots_for() -> None:
    """The caller bounds it by the free slots."""
    assert warm("all")[0].wanted() > 10_000


def test_a_number_is_that_number() -> None:
    """Whatever comes."""
    kept, _ = warm(3)
    for _ in range(10):
        kept.launched()
    assert kept.wanted() == 3


class TestRate:
    def test_one_is_warm_when_nobody_has_come(self) -> None:
        """The first caller must not wait either."""
        assert warm("rate")[0].wanted() == 1

    def test_one_more_than_the_largest_burst(self) -> None:
        """A later, smaller one does not make it forget the larger one."""
        kept, clock = warm("rate")
        for burst in (2, 5, 3):
            for _ in range(burst):
                kept.launched()
            clock.now += 2 * WINDOW
        assert kept.wanted() == 6

    def test_calls_that_come_one_by_one_are_no_burst(self) -> None:
        """There is time to warm another one in between."""
        kept, clock = warm("rate")
        for _ in range(50):
            kept.launched()
            clock.now += 1.1 * WINDOW
        assert kept.wanted() == 2

    def test_a_burst_is_forgotten_after_a_while(self) -> None:
        """And what came after it counts again."""
        kept, clock = warm("rate")
        for _ in range(5):
            kept.launched()
        clock.now += REMEMBERED - 10
        kept.launched()
        clock.now += 20
        assert kept.wanted() == 2
        clock.now += REMEMBERED
        assert kept.wanted() == 1
