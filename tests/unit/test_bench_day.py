"""The simulated day keeps its books: whatever is decided about workers, no room and no worker gets lost."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from bench.day import Make, need, play, policies
from bench.day_fleet import GIVE_UP_AFTER, SLOTS, WARM_START, Fleet, Played
from bench.day_policies import CPU_TARGET, Fixed, HpaOnCpu, HpaOnRooms, Keda, Seen, wanted
from bench.day_traffic import DAYS, HOUR, LONGEST_CALL, Call, calls

MORNING = [call for call in calls(DAYS[1], 7) if 8 * HOUR <= call.at <= 10 * HOUR]
"""A Monday's, with the mail in it."""
NAMES = [make().name for make in policies([MORNING])]


@pytest.fixture(scope="module", params=range(len(NAMES)), ids=NAMES)
def make(request: pytest.FixtureRequest) -> Make:
    found: Make = list(policies([MORNING]))[request.param]
    return found


@pytest.fixture(scope="module")
def played(make: Make) -> Played:
    return play(make, MORNING)


def a_worker(played: Played) -> Iterator[tuple[float, int, int]]:
    """Of each worker: time, a step of its calls, and which worker."""
    for room in played.rooms:
        if room.began is not None:
            yield room.began, 1, id(room.worker)
            yield room.ended, -1, id(room.worker)


def test_every_room_is_served_or_given_up(played: Played) -> None:
    """Never both, never neither; nobody is served before they came, or after they went."""
    assert [room.call for room in played.rooms] == MORNING
    for room in played.rooms:
        assert room.gave_up is (room.began is None)
        if room.began is not None:
            assert 0 <= room.began - room.call.at <= GIVE_UP_AFTER


def test_the_line_is_first_come_first_served(played: Played) -> None:
    """In the order of the calls."""
    began = [room.began for room in played.rooms if room.began is not None]
    assert began == sorted(began)


def test_no_worker_ends_with_a_call_or_takes_one_too_soon(played: Played) -> None:
    """A drain keeps its calls; a worker that starts takes none."""
    for room in played.rooms:
        if room.worker is not None:
            assert room.began is not None
            assert room.worker.ready <= room.began
            assert room.worker.ended is None or room.ended <= room.worker.ended


def test_no_worker_has_more_calls_than_slots(played: Played) -> None:
    """At any time; one that ends in a moment frees its slot for one that begins."""
    running: dict[int, int] = {}
    for _, step, worker in sorted(a_worker(played)):
        running[worker] = running.get(worker, 0) + step
        assert 0 <= running[worker] <= SLOTS


def test_the_same_day_has_the_same_end(make: Make, played: Played) -> None:
    """Nothing in it is left to chance."""
    again = play(make, calls_again := [Call(call.at, call.lasts) for call in MORNING])
    assert calls_again == MORNING
    assert [room.began for room in again.rooms] == [room.began for room in played.rooms]
    assert again.worker_seconds == played.worker_seconds


def test_calls_follow_the_days_curve_and_no_drain_must_cut_them() -> None:
    """More on a Monday than on a Tuesday, most at noon, and the same for the same seed."""
    tuesday, monday = (calls(day, 1) for day in DAYS)
    assert monday == calls(DAYS[1], 1)
    assert len(monday) > len(tuesday) > 10_000
    assert sum(9 * HOUR < call.at < 10 * HOUR for call in monday) > 2000
    assert max(call.lasts for call in monday) <= LONGEST_CALL


def test_one_worker_more_than_needed_keeps_nobody_waiting() -> None:
    """The peak in hindsight is enough, and one less is not."""
    most, _ = need([MORNING])
    enough = Fleet(Fixed("", most)).play(MORNING)
    short = Fleet(Fixed("", most - 1)).play(MORNING)
    assert all(room.began == room.call.at for room in enough.rooms)
    assert any(room.began != room.call.at for room in short.rooms)


def seen(now: float = 0.0, **changes: int) -> Seen:
    figures = {"active": 0, "waiting": 0, "slots": SLOTS, "ready": 1, "replicas": 1, **changes}
    return Seen(now=now, **figures)


def on_rooms() -> HpaOnRooms:
    return HpaOnRooms(name="", metric=wanted(lambda seen: 1))


@pytest.mark.parametrize(
    ("replicas", "active", "gets"),
    [
        pytest.param(10, 80, 10, id="11 are wanted: within the tolerance"),
        pytest.param(10, 88, 12, id="12 are: it adds two"),
        pytest.param(2, 70, 6, id="four more at once"),
        pytest.param(8, 200, 16, id="twice as many at once"),
    ],
)
def test_an_hpa_adds_workers_by_kubernetes_rules(replicas: int, active: int, gets: int) -> None:
    """A tolerance of 10 %; at most doubled, or four more."""
    assert on_rooms().replicas(seen(replicas=replicas, active=active)) == gets


def test_an_hpa_removes_workers_after_five_calm_minutes_only() -> None:
    """And never the last."""
    hpa = on_rooms()
    assert hpa.replicas(seen(0.0, active=30, replicas=4)) == 4
    assert hpa.replicas(seen(285.0, replicas=4)) == 4
    assert hpa.replicas(seen(300.0, replicas=4)) == 1


def test_an_hpa_on_cpu_does_not_see_the_line() -> None:
    """Full workers take what they take, however many rooms wait."""
    hpa = HpaOnCpu(name="", cpu_busy=CPU_TARGET)
    assert hpa.replicas(seen(active=SLOTS, waiting=100)) == 1


def test_keda_goes_to_zero_and_back() -> None:
    """Down after its cooldown, up at its next look."""
    keda = Keda("", wanted(lambda seen: 0))
    assert keda.replicas(seen(0.0, active=1)) == 1
    assert keda.replicas(seen(30.0)) == 1
    assert keda.replicas(seen(300.0)) == 0
    assert keda.replicas(seen(315.0, waiting=1, replicas=0, ready=0)) == 0
    assert keda.replicas(seen(330.0, waiting=1, replicas=0, ready=0)) == 1


def test_from_zero_a_room_waits_for_a_look_and_a_start() -> None:
    """The machine of the worker before is still there: 30 s for the look at most, 15 s to the sync, and the
    start."""
    twice = [Call(0.0, 60.0), Call(700.0, 60.0)]
    rooms = Fleet(Keda("", wanted(lambda seen: 0))).play(twice).rooms
    assert rooms[1].began is not None
    assert WARM_START < rooms[1].began - rooms[1].call.at <= WARM_START + 45
