"""A worker whose jobs never get into their rooms takes none for a while, and then one at a time."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest
from prometheus_client import CollectorRegistry

from pool import trust
from pool.metrics import PoolMetrics
from pool.trust import LONGEST_REST, MOST_FAILURES, Trust

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    """The pool is asyncio's, as livekit-agents is."""
    return "asyncio"


class Scene:
    def __init__(self) -> None:
        self.changes = 0
        self.registry = CollectorRegistry()
        self.trust = Trust(PoolMetrics(self.registry), changed=self.change)

    def change(self) -> None:
        self.changes += 1

    def fail(self, times: int) -> None:
        for _ in range(times):
            self.trust.failed()

    @property
    def distrusted(self) -> float | None:
        return self.registry.get_sample_value("roomkeeper_distrusted")


@pytest.fixture
def scene(monkeypatch: pytest.MonkeyPatch) -> Scene:
    """Rests last hundredths of a second."""
    monkeypatch.setattr(trust, "FIRST_REST", 0.01)
    return Scene()


async def test_it_takes_jobs_until_some_in_a_row_failed(scene: Scene) -> None:
    """One or two may be the room's fault."""
    scene.fail(MOST_FAILURES - 1)
    assert not scene.trust.withholds(arriving=5)
    scene.trust.joined()
    scene.fail(MOST_FAILURES - 1)
    assert not scene.trust.withholds(arriving=5)
    assert scene.distrusted == 0
    scene.fail(1)
    assert scene.trust.withholds(arriving=0)
    assert scene.distrusted == 1


async def test_after_its_rest_it_takes_one_at_a_time(scene: Scene) -> None:
    """And as many as before once one has joined. Whoever waits is told."""
    scene.fail(MOST_FAILURES)
    told = scene.changes
    while scene.trust.withholds(arriving=0):  # noqa: ASYNC110  (its own timer ends it)
        await asyncio.sleep(0.005)
    assert scene.changes > told
    assert scene.trust.withholds(arriving=1)
    scene.trust.joined()
    assert not scene.trust.withholds(arriving=1)
    assert scene.distrusted == 0


async def test_each_further_failure_is_a_longer_rest_up_to_a_bound(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """However many there were; each is one job that was tried."""
    scene, rests = Scene(), list[float]()
    loop = asyncio.get_running_loop()
    ended: list[Callable[[], None]] = []

    def call_later(delay: float, call: Callable[[], None]) -> None:
        rests.append(delay)
        ended.append(call)

    monkeypatch.setattr(loop, "call_later", call_later)
    scene.fail(MOST_FAILURES)
    for _ in range(2000):
        ended.pop()()
        scene.fail(1)
    monkeypatch.undo()
    assert rests[:5] == [15, 30, 60, 120, 120]
    assert set(rests[4:]) == {LONGEST_REST}
