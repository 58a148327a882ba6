"""Memory, silence, and workers whose jobs never join: seen, told, and ended."""

from __future__ import annotations

import asyncio
import os
import signal

import pytest

from pool.ports import JobEventKind as Kind
from tests.live.pool.stage import job_processes, running
from tests.livekit_server import LiveKitServer

pytestmark = [pytest.mark.anyio, pytest.mark.needs("livekit-server")]

BEEPER = "tests.live.agents.beeper"
MEMORY = "roomkeeper_process_memory_bytes"


async def until_processes(count: int) -> None:
    """Until so many job processes live, warm ones included."""
    async with asyncio.timeout(15):
        while len(job_processes()) != count:  # noqa: ASYNC110  (the system tells nobody)
            await asyncio.sleep(0.05)


async def test_every_process_is_weighed(livekit_server: LiveKitServer) -> None:
    """This one, the forkserver and Python's helper, those that are warm, and the one with a job."""
    async with running(livekit_server, BEEPER, slots=3) as stage:
        room = await stage.call()
        await stage.keeper.event(room, Kind.OPEN)
        await stage.warm(2)
        for kind, count in {"job": 1, "warm": 2, "forkserver": 2, "gateway": 1}.items():
            await stage.until("roomkeeper_processes", count, kind=kind)
            assert 2e6 < stage.sample(MEMORY, kind=kind) < 1e9, kind


async def test_a_process_above_the_limit_is_ended(livekit_server: LiveKitServer) -> None:
    """One with a job as well as a warm one; each slot gets another process."""
    async with running(livekit_server, BEEPER, slots=2, memory_limit=1_000_000) as stage:
        await stage.until("roomkeeper_job_processes_died_total", 2, when="warm")
        room = await stage.call()
        await stage.keeper.event(room, Kind.LAUNCHED)
        exited = await stage.keeper.event(room, Kind.EXITED)
        assert exited.detail == "-9"
        await stage.until("roomkeeper_job_processes_died_total", 1, when="job")
        assert stage.sample("roomkeeper_memory_limit_exceeded_total") >= 3
        await stage.warm(2)


@pytest.mark.parametrize("how", ["blocked", "stopped"])
async def test_a_job_that_does_not_answer_is_ended(livekit_server: LiveKitServer, how: str) -> None:
    """Its agent blocks the event loop, or its process was stopped; LiveKit would list it for 20 s more, or
    for ever."""
    agent = "tests.live.pool.agents.blocker" if how == "blocked" else BEEPER
    async with running(livekit_server, agent, slots=1, unresponsive_after=5.0) as stage:
        room = await stage.call()
        opened = await stage.keeper.event(room, Kind.OPEN)
        if how == "stopped":
            os.kill(opened.pid, signal.SIGSTOP)
        exited = await stage.keeper.event(room, Kind.EXITED, timeout=12)
        assert exited.detail == "-9"
        assert stage.sample("roomkeeper_unresponsive_jobs_total") == 1


async def test_a_job_that_answers_is_left_alone(livekit_server: LiveKitServer) -> None:
    """For longer than a silent one would be."""
    async with running(livekit_server, BEEPER, slots=1, unresponsive_after=5.0) as stage:
        room = await stage.call()
        await stage.keeper.event(room, Kind.OPEN)
        await asyncio.sleep(11)
        assert stage.keeper.count(Kind.EXITED) == 0
        assert stage.sample("roomkeeper_unresponsive_jobs_total") == 0


async def test_a_worker_whose_jobs_never_join_takes_no_more(livekit_server: LiveKitServer) -> None:
    """Each is stopped before it gets into its room: after three the worker reports itself full."""
    async with running(livekit_server, BEEPER, slots=4, enter_timeout=0.5) as stage:
        for process in job_processes():
            process.suspend()
        for _ in range(3):
            await stage.call()
        await stage.keeper.until(lambda: stage.keeper.count(Kind.EXITED) == 3)
        capacity = stage.pool.capacity()
        assert (capacity.withheld, capacity.free) == (True, 0)
        assert stage.sample("roomkeeper_distrusted") == 1


async def test_how_long_a_job_took_to_start_is_told(livekit_server: LiveKitServer) -> None:
    """From the assignment to the entrypoint."""
    async with running(livekit_server, BEEPER, slots=1) as stage:
        room = await stage.call()
        await stage.keeper.event(room, Kind.OPEN)
        assert stage.sample("roomkeeper_job_start_seconds_count") == 1
        assert 0 < stage.sample("roomkeeper_job_start_seconds_sum") < 1


async def test_fewer_warm_processes_than_slots(livekit_server: LiveKitServer) -> None:
    """As many as asked for; a burst on all slots is served all the same."""
    async with running(livekit_server, BEEPER, slots=4, await_warm=1, warm=1) as stage:
        for calls, processes in ((1, 2), (3, 4)):  # with all slots taken there is none to be warm for
            for room in [await stage.call() for _ in range(calls)]:
                await stage.keeper.event(room, Kind.OPEN)
            await until_processes(processes)


async def test_what_is_too_many_by_now_is_closed(
    livekit_server: LiveKitServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By `rate`, when the last burst was long ago."""
    monkeypatch.setattr("pool.supervisor.TRIM_EVERY", 0.5)
    monkeypatch.setattr("pool.warm.REMEMBERED", 4.0)
    async with running(livekit_server, BEEPER, slots=6, await_warm=1, warm="rate") as stage:
        for room in [await stage.call() for _ in range(3)]:
            await stage.keeper.event(room, Kind.OPEN)
        await until_processes(3 + 3)  # a burst of three, and one more, where slots allow it
        await until_processes(3 + 1)


async def test_job_processes_share_one_model(livekit_server: LiveKitServer) -> None:
    """An agent that loads a VAD in its setup gets the one that was built before the fork; it says which."""
    async with running(livekit_server, "tests.live.pool.agents.listener", slots=2, shared_vad=True) as stage:
        addresses = set()
        for room in [await stage.call() for _ in range(2)]:
            raised = await stage.keeper.event(room, Kind.RAISED)
            addresses.add(raised.detail)
        assert len(addresses) == 1
        assert next(iter(addresses)).startswith("Session")
