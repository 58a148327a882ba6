"""Who leads, as one replica can tell from its heartbeats."""

from __future__ import annotations

import math

from gateway.keeper.fleet import CATCHES_UP, FORGETFUL, MARGIN, Fleet
from gateway.keeper.model import Pulse, Replica
from gateway.keeper.ports import LEASE
from gateway.keeper.strength import Strength
from pool.ports import Capacity
from tests.fakes.livekit import FakeLiveKit
from tests.fakes.pool import FakePool
from tests.unit.keeper.test_plan import want

NOW = 1_800_000_000.0


class Clock:
    def __init__(self) -> None:
        self.now = NOW

    def __call__(self) -> float:
        return self.now


class Beats:
    """A replica `me`, and the answers to its heartbeats."""

    def __init__(self, node: str = "") -> None:
        """`node`: LiveKit's, where our own worker is registered."""
        self.clock = Clock()
        workers = FakePool(FakeLiveKit(clock=self.clock), "a")
        workers.capacity = lambda: Capacity(slots=1, node_id=node)  # type: ignore[method-assign]
        self.fleet = Fleet("me", "host", workers, self.clock)
        self.changed = False
        """What the last heartbeat's answer said of the others."""

    def beat(
        self,
        *,
        leader: str = "me",
        epoch: int = 1,
        took: float = 0.01,
        other_at: float | None = None,
        generation: str = "g",
        node: str = "",
        age: float = math.inf,
    ) -> None:
        """`other_at`: when another replica beat last; `node`: LiveKit's, where its worker is registered."""
        sent = self.clock.now
        self.clock.now += took
        others = []
        if other_at is not None:
            capacity = Capacity(slots=1, node_id=node)
            others = [Replica(id="other", host="h", agent="a", capacity=capacity, beat_at=other_at)]
        self.fleet.told_all(sent)
        self.changed = self.fleet.take(
            Pulse(
                now=self.clock.now,
                generation=generation,
                leader=leader,
                epoch=epoch,
                replicas=others,
                age=age,
            ),
            sent,
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


def test_a_replica_that_is_back_is_not_lapsed_for_ever_because_it_takes_jobs() -> None:
    """Each of them changes its capacity, of which we hear by a note before the next heartbeat tells."""
    beats = Beats()
    heard = beats.clock.now
    for _ in range(10):
        beats.beat(other_at=heard)
        beats.wait(0.5)
    back = beats.clock.now
    beats.fleet.hear(Replica(id="other", host="h", agent="a", capacity=Capacity(slots=2), beat_at=back))
    beats.beat(other_at=back)
    assert beats.fleet.alive("other")


def test_after_a_gap_of_our_own_nobody_is_taken_for_lapsed_at_once() -> None:
    """The store was away for the others as well: they have a lease's time to be heard."""
    beats = Beats()
    beats.beat(other_at=beats.clock.now)
    heard = beats.clock.now
    beats.wait(LEASE + 5.0)
    beats.beat(other_at=heard)
    assert beats.fleet.alive("other")
    assert beats.fleet.silent("other"), "what it could not tell meanwhile is waited for"
    for _ in range(round(LEASE / 0.5) + 1):
        beats.wait(0.5)
        beats.beat(other_at=heard)
    assert not beats.fleet.alive("other")


def test_a_node_of_which_nobody_has_told_lately_is_not_there() -> None:
    """After the store was away all others count as living, and LiveKit may have restarted meanwhile."""
    beats = Beats()
    heard = beats.clock.now
    beats.beat(other_at=heard, node="ND_old")
    assert beats.fleet.nodes() == {"ND_old"}
    beats.wait(LEASE + 5.0)
    beats.beat(other_at=heard, node="ND_old")
    assert beats.fleet.alive("other")
    assert beats.fleet.nodes() == frozenset()


def test_a_node_of_which_nobody_has_told_lately_has_not_restarted_for_all_we_know() -> None:
    """Our own worker is registered with another node: that tells nothing about rooms of theirs (I4)."""
    beats = Beats(node="ND_b")
    heard = beats.clock.now
    beats.beat(other_at=heard, node="ND_a")
    pinned = want(sid="RM_1", node="ND_a")
    assert beats.fleet.node(pinned) == "ND_a"
    beats.wait(LEASE + 5.0)
    beats.beat(other_at=heard, node="ND_a")
    assert beats.fleet.node(pinned) == ""
    beats.wait(0.5)
    beats.beat(other_at=beats.clock.now, node="ND_c")
    assert beats.fleet.node(pinned) == "ND_b"


def test_a_slow_way_to_the_store_makes_nothing_out_of_date() -> None:
    """Heartbeats that take a second, each of them, are answered all the same; after a gap not at once."""
    beats = Beats()
    for _ in range(5):
        beats.beat(took=1.2)
        assert not beats.fleet.out_of_date
        beats.wait(1.0)
        assert not beats.fleet.out_of_date
    beats.wait(LEASE)
    assert beats.fleet.out_of_date
    beats.beat()
    assert beats.fleet.out_of_date
    for _ in range(round(CATCHES_UP / 0.5) + 1):
        beats.wait(0.5)
        beats.beat()
    assert not beats.fleet.out_of_date


def test_a_store_that_forgot_is_forgetful_for_a_while() -> None:
    """A store that never forgets (SQLite) is as old as can be."""
    beats = Beats()
    told = []
    for age in [math.inf, *(0.5 * n for n in range(30))]:
        beats.beat(generation="g" if age == math.inf else "h", age=age)
        told.append(beats.fleet.forgetful)
        beats.wait(0.5)
    assert (told[0], told[1], told[-1]) == (False, True, False)


def test_whoever_comes_just_after_the_store_forgot_knows_that_it_is_forgetful() -> None:
    """Another replica may be about to put back what this one has never seen."""
    beats = Beats()
    beats.beat(age=5.0)
    assert beats.fleet.forgetful
    beats.wait(FORGETFUL - 5.0)
    assert not beats.fleet.forgetful


def test_a_worker_that_reports_itself_full_counts_for_nothing_and_is_there_all_the_same() -> None:
    """It comes back by itself; nobody is sent there meanwhile."""
    full = Capacity(slots=4, warm=4, running=1, node_id="ND_1", paused=True)
    strength = Strength().with_worker(full)
    assert (strength.slots, strength.busy, strength.free) == (0, 0, 0)
    assert strength.registered


def test_a_heartbeat_tells_what_the_others_can_take_now() -> None:
    """A worker that came and registered between two of our heartbeats has told of it before it was known
    here: those who wait for it must not wait for the next comparison."""
    beats, changes = Beats(), list[bool]()
    beats.beat()
    beats.fleet.hear(Replica(id="other", host="h", agent="a", capacity=Capacity(slots=1, node_id="n")))
    for node in ("n", "n", "m"):
        beats.beat(other_at=beats.clock.now, node=node)
        changes.append(beats.changed)
    assert changes == [True, False, True]
