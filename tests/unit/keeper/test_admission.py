"""The waiting line and the windows of unconfirmed dispatches."""

from __future__ import annotations

from gateway.keeper.admission import Admission
from gateway.keeper.fleet import Fleet
from gateway.keeper.model import Want
from pool.ports import Capacity, Launch


class Workers:
    """A pool that is nothing but its figures."""

    agent = "ours"

    def __init__(self, *, warm: int = 10, running: int = 0) -> None:
        self.figures = Capacity()
        self.set(warm=warm, running=running)

    def set(self, *, warm: int = 10, running: int = 0) -> None:
        self.figures = Capacity(slots=10, warm=warm, running=running, node_id="ND_1")

    def capacity(self) -> Capacity:
        return self.figures

    def runs(self, job_id: str) -> bool:
        return False

    def inside(self) -> list[str]:
        return []

    def launch(self, launch: Launch) -> bool:
        raise AssertionError("the line launches no jobs")

    def end(self, job_id: str, *, kill: bool = False) -> None:
        raise AssertionError("the line ends no jobs")

    def pause(self, paused: bool) -> None:
        raise AssertionError("the line pauses nobody")


def fleet(workers: Workers) -> Fleet:
    """A fleet of one."""
    return Fleet("replica", "", workers, clock=lambda: 0.0)


def want(n: int, agent: str = "ours") -> Want:
    return Want(
        id=f"w{n}", room=f"r{n}", agent=agent, created_at=1.0, asked_at=1.0, since=1.0, lacking_since=1.0
    )


def test_as_many_go_as_there_are_free_slots_and_the_rest_stand_in_line() -> None:
    """A dispatch into a full pool would be dropped in silence (fact 3)."""
    line = Admission(fleet(Workers(warm=2)), wake=lambda room: None, clock=lambda: 0.0)
    answers = [line.enter(want(n)) for n in range(4)]
    assert answers[:2] == [None, None]
    assert answers[2] is not None
    assert [line.place(want(n)) for n in range(4)] == [None, None, 1, 2]


def test_nobody_overtakes_who_waits_longer() -> None:
    """First come, first served."""
    workers = Workers(warm=0)
    line = Admission(fleet(workers), wake=lambda room: None, clock=lambda: 0.0)
    assert line.enter(want(1)) is not None
    workers.set(warm=1)
    assert line.enter(want(2)) is not None
    assert line.enter(want(1)) is None


def test_a_freed_slot_wakes_who_may_go_and_nobody_else() -> None:
    """In order, and no stampede."""
    woken: list[str] = []
    workers = Workers(warm=0)
    line = Admission(fleet(workers), wake=woken.append, clock=lambda: 0.0)
    for n in range(5):
        line.enter(want(n))
    workers.set(warm=2)
    line.wake_next()
    assert woken == ["r0", "r1"]


def test_who_leaves_the_line_makes_the_others_move_up() -> None:
    """A stop while waiting leaves no gap."""
    line = Admission(fleet(Workers(warm=0)), wake=lambda room: None, clock=lambda: 0.0)
    for n in range(3):
        line.enter(want(n))
    line.leave(want(0))
    assert [line.place(want(n)) for n in range(3)] == [None, 1, 2]


def test_a_name_that_nobody_serves_ends_at_one_probe() -> None:
    """It must not jam LiveKit's launcher for the others (fact 83)."""
    line = Admission(fleet(Workers()), wake=lambda room: None, clock=lambda: 0.0)
    sent = [n for n in range(50) if line.enter(want(n, "nobody")) is None]
    assert len(sent) == 4
    for n in sent:
        line.lost(want(n, "nobody"))
    assert len([n for n in range(100, 150) if line.enter(want(n, "nobody")) is None]) == 0
    waiting = [n for n in range(4, 50) if line.enter(want(n, "nobody")) is None]
    assert len(waiting) == 1


def test_a_dead_name_leaves_room_for_a_living_one() -> None:
    """The cap of all names is wider than any dead name's window."""
    line = Admission(fleet(Workers()), wake=lambda room: None, clock=lambda: 0.0)
    for n in range(50):
        line.enter(want(n, "nobody"))
    assert line.enter(want(100)) is None


def test_names_asked_for_at_random_delay_nobody_of_ours() -> None:
    """Any participant may name an agent; ours does not stand behind them."""
    line = Admission(fleet(Workers()), wake=lambda room: None, clock=lambda: 0.0)
    sent = [n for n in range(40) if line.enter(want(n, f"nobody-{n}")) is None]
    assert len(sent) == 8
    assert line.enter(want(100)) is None


def test_a_name_that_is_served_again_gets_its_window_back() -> None:
    """Losses shrink it, confirmations widen it."""
    line = Admission(fleet(Workers()), wake=lambda room: None, clock=lambda: 0.0)
    for n in range(3):
        line.enter(want(n, "theirs"))
        line.lost(want(n, "theirs"))
    for n in range(10, 13):
        line.enter(want(n, "theirs"))
        line.confirmed(want(n, "theirs"))
    assert len([n for n in range(20, 30) if line.enter(want(n, "theirs")) is None]) == 4


def test_the_reason_to_wait_is_said_in_words() -> None:
    """An operator sees why a room has no agent."""
    workers = Workers(running=10, warm=0)
    line = Admission(fleet(workers), wake=lambda room: None, clock=lambda: 0.0)
    assert line.enter(want(1)) == "all 10 slots are taken"
    workers.set(warm=0)
    assert line.enter(want(1)) == "no process is warm yet"
    workers.figures = Capacity(slots=10, warm=10)
    assert line.enter(want(1)) == "no worker is registered with LiveKit"


def test_who_asked_first_goes_first_whoever_is_looked_at_first() -> None:
    """The line is made by the asks, not by the passes."""
    line = Admission(fleet(Workers(warm=1)), wake=lambda room: None, clock=lambda: 0.0)
    line.queue(want(1))
    line.queue(want(2))
    assert line.enter(want(2)) is not None
    assert line.enter(want(1)) is None


def test_a_want_that_cannot_go_holds_up_nobody_for_long() -> None:
    """Its room's node does not answer; the others are served, and its place is kept."""
    now = 0.0
    line = Admission(fleet(Workers(warm=1)), wake=lambda room: None, clock=lambda: now)
    line.queue(want(1))
    line.queue(want(2))
    now = 2.0
    assert line.enter(want(2)) is None
    assert line.place(want(1)) == 1
