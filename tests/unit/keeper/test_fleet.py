"""Who leads, as one replica can tell from its heartbeats."""

from __future__ import annotations

import pytest

from gateway.keeper.fleet import CATCHES_UP, MARGIN, Fleet
from gateway.keeper.model import Pulse, Replica
from gateway.keeper.ports import LEASE
from pool.ports import Capacity
from tests.fakes.livekit import FakeLiveKit
from tests.fakes.pool import FakePool

NOW = 1_800_000_000.0


class Clock:
    def __init__(self) -> None:
        self.now = NOW

    def __call__(self) -> float:
        return self.now


class Beats:
    """A replica `me`, and the answers to its heartbeats."""

    def __init__(self) -> None:
        self.clock = Clock()
        workers = FakePool(FakeLiveKit(clock=self.clock), "a")
        self.fleet = Fleet("me", "host", workers, self.clock)

    def beat(
        self, *, leader: str = "me", epoch: int = 1, took: float = 0.01, other_at: float | None = None
    ) -> None:
        """`other_at`: when another replica beat last."""
        sent = self.clock.now
        self.clock.now += took
        others = []
        if other_at is not None:
            others = [Replica(id="other", host="h", agent="a", capacity=Capacity(slots=1), beat_at=other_at)]
        self.fleet.told_all(sent)
        self.fleet.take(
            Pulse(now=self.clock.now, generation="g", leader=leader, epoch=epoch, replicas=others), sent
        )

    def leads(self) -> bool:
        return self.fleet.epoch is not None

    def wait(self, seconds: float) -> None:
        self.clock.now += seconds


def test_a_lead_without_a_gap_is_one_term() -> None:
    """Nothing is taken up twice for nothing."""
    beats = Beats()
    for _ in range(20):
        beats.beat()
        beats.wait(0.5)
    assert beats.fleet.term == 1


def test_a_lead_that_was_unsure_for_a_moment_is_taken_up_anew() -> None:
    """In that moment this replica dropped what it was told, though the store never gave the lead away."""
    beats = Beats()
    beats.beat()
    beats.wait(LEASE - MARGIN + 0.1)
    assert not beats.leads()
    beats.beat()
    assert beats.leads()
    assert beats.fleet.term == 2


def test_an_answer_that_takes_too_long_leaves_a_gap() -> None:
    """The lease counts from when the heartbeat was sent."""
    beats = Beats()
    beats.beat()
    beats.beat(took=LEASE - MARGIN + 0.1)
    assert not beats.leads()
    beats.beat()
    assert beats.fleet.term >= 2


def test_whoever_led_before_led_until_its_last_heartbeat_at_least() -> None:
    """What was asked since then may have been seen by nobody."""
    beats = Beats()
    beats.beat()
    last = beats.clock.now
    beats.wait(20.0)
    beats.beat(epoch=2)
    assert beats.fleet.watched_until == pytest.approx(last, abs=0.1)


def test_another_leader_may_have_been_dead_for_a_lease() -> None:
    """Its row stays until that has run out."""
    beats = Beats()
    beats.beat(leader="other", other_at=NOW)
    last = beats.clock.now
    beats.wait(0.5)
    beats.beat(epoch=2, other_at=NOW)
    assert beats.fleet.watched_until == pytest.approx(last - LEASE, abs=0.1)


def test_a_replica_that_is_back_has_news() -> None:
    """How far its jobs have come is in the store a moment later."""
    beats = Beats()
    heard = beats.clock.now
    for _ in range(10):
        beats.beat(other_at=heard)
        beats.wait(0.5)
    assert not beats.fleet.alive("other")
    assert beats.fleet.silent("other")
    beats.beat(other_at=beats.clock.now)
    assert beats.fleet.alive("other")
    assert beats.fleet.silent("other")
    for _ in range(round(CATCHES_UP / 0.5) + 1):
        beats.wait(0.5)
        beats.beat(other_at=beats.clock.now)
    assert not beats.fleet.silent("other")


def test_nobody_watches_rooms_while_livekit_does_not_answer() -> None:
    """What was asked meanwhile is about the rooms that there are when it does again."""
    beats = Beats()
    beats.fleet.note_livekit(answered=True)
    seen = beats.clock.now
    for _ in range(10):
        beats.wait(0.5)
        beats.fleet.note_livekit(answered=False)
        beats.beat()
    beats.wait(LEASE)
    beats.beat(epoch=2)
    assert beats.fleet.watched_until == pytest.approx(seen)
    beats.fleet.note_livekit(answered=True)
    assert beats.fleet.watched_until == pytest.approx(seen)
    for _ in range(10):
        beats.beat(epoch=2)
        beats.wait(0.5)
    last = beats.clock.now
    beats.wait(LEASE)
    beats.beat(epoch=3)
    assert beats.fleet.watched_until == pytest.approx(last, abs=0.6)
