"""Slots on a real server: as many jobs as slots, none lost when one frees, exactly that many processes."""

from __future__ import annotations

import asyncio
import contextlib
from pathlib import Path

import pytest

from pool.ports import JobEventKind as Kind
from tests.live.pool.stage import job_processes, new_room, running
from tests.live.processes import kill_all
from tests.livekit_server import LiveKitServer

pytestmark = [pytest.mark.anyio, pytest.mark.needs("livekit-server")]
BEEPER = "tests.live.agents.beeper"
PUSHED = 0.3
"""Seconds within which LiveKit has heard of a change."""


async def test_a_burst_fills_the_slots_exactly(livekit_server: LiveKitServer) -> None:
    """Eight dispatches at once on three slots: three are accepted, not two and not four (fact 50)."""
    async with running(livekit_server, BEEPER, slots=3) as stage:
        await asyncio.gather(*(stage.call() for _ in range(8)))
        await stage.keeper.until(lambda: stage.keeper.count(Kind.OPEN) == 3)
        with contextlib.suppress(AssertionError):
            await stage.keeper.until(lambda: len(stage.keeper.offers) > 3, timeout=1)
        assert len(stage.keeper.offers) == 3
        capacity = stage.pool.capacity()
        assert (capacity.running, capacity.starting, capacity.warm, capacity.free) == (3, 0, 0, 0)
        assert len(job_processes()) == 3  # fact 51: no process for a job that cannot come


async def test_a_slot_that_frees_is_taken_again_at_once(livekit_server: LiveKitServer) -> None:
    """Ten times: a job ends, capacity says that a slot is free, a dispatch comes: none is lost (fact 52)."""
    async with running(livekit_server, BEEPER, slots=2) as stage:
        rooms = [await stage.call() for _ in range(2)]
        await stage.keeper.until(lambda: stage.keeper.count(Kind.OPEN) == 2)
        for _ in range(10):
            stage.pool.end(stage.keeper.job_in(rooms.pop(0)))
            await stage.keeper.until(lambda: stage.pool.capacity().free == 1)
            rooms.append(await stage.call())
            await stage.keeper.event(rooms[-1], Kind.OPEN, timeout=3)
        assert stage.keeper.count(Kind.OPEN) == 12
        assert len(job_processes()) == 2


async def test_capacity_is_told_at_every_change(livekit_server: LiveKitServer) -> None:
    """What the listener heard last is what the pool says when asked."""
    async with running(livekit_server, BEEPER, slots=2) as stage:
        room = await stage.call()
        await stage.keeper.event(room, Kind.OPEN)
        assert stage.keeper.capacities[-1] == stage.pool.capacity()
        assert stage.pool.capacity().free == 1
        assert any(c.starting == 1 for c in stage.keeper.capacities)


async def test_killed_idle_processes_are_replaced(livekit_server: LiveKitServer) -> None:
    """All warm processes killed: the pool says that nothing is warm, and soon is as it was (fact 63)."""
    async with running(livekit_server, BEEPER, slots=3) as stage:
        kill_all(job_processes())
        await stage.keeper.until(lambda: any(c.registered and c.warm == 0 for c in stage.keeper.capacities))
        await stage.warm(3)
        assert len(job_processes()) == 3


async def test_a_setup_that_fails_is_not_tried_thirty_times_a_second(
    livekit_server: LiveKitServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is warm, so nothing is free, and the tries come more and more slowly (fact 63)."""
    tries = tmp_path / "tries"
    monkeypatch.setenv("TRIES", str(tries))
    async with running(livekit_server, "tests.live.pool.agents.unready", slots=2, await_warm=0) as stage:
        async with asyncio.timeout(30):  # until the first processes have started
            while not tries.exists():  # noqa: ASYNC110  (a file tells nobody)
                await asyncio.sleep(0.02)
        with contextlib.suppress(AssertionError):
            await stage.keeper.until(lambda: stage.pool.capacity().free, timeout=4)
        assert stage.pool.capacity().free == 0
    assert 2 <= len(tries.read_text().splitlines()) <= 20


async def test_a_draining_pool_takes_nothing_and_waits_for_its_jobs(livekit_server: LiveKitServer) -> None:
    """From the first moment no job is taken; what is left is counted; a second call waits again."""
    async with running(livekit_server, BEEPER, slots=2) as stage:
        room = await stage.call()
        await stage.keeper.event(room, Kind.OPEN)
        draining = asyncio.create_task(stage.pool.drain(0.5))
        late = new_room()
        await stage.call(late)
        assert await draining == 1
        assert stage.pool.capacity().draining
        assert stage.pool.capacity().free == 0
        stage.pool.end(stage.keeper.job_in(room))
        assert await stage.pool.drain(5) == 0
        assert stage.keeper.job_in(late) == ""


async def test_a_paused_pool_is_not_asked_and_takes_again_at_once(livekit_server: LiveKitServer) -> None:
    """LiveKit hears of both within moments (fact 52); the call that runs goes on."""
    async with running(livekit_server, BEEPER, slots=2) as stage:
        room = await stage.call()
        await stage.keeper.event(room, Kind.OPEN)
        stage.pool.pause(True)
        await asyncio.sleep(PUSHED)
        await stage.call()
        await asyncio.sleep(1)
        assert len(stage.keeper.offers) == 1
        assert stage.pool.runs(stage.keeper.job_in(room))
        stage.pool.pause(False)
        await asyncio.sleep(PUSHED)
        await stage.keeper.event(await stage.call(), Kind.OPEN)
