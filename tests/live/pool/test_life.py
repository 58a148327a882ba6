"""The pool's own life: no process outlives it, and LiveKit's restarts do not end it."""

from __future__ import annotations

import asyncio
import importlib
import os
import signal
import subprocess
import sys
from collections.abc import Iterator

import psutil
import pytest

from pool.ports import JobEventKind as Kind
from tests.live.pool.stage import AGENT, job_processes, running
from tests.live.processes import descendants, kill_all, survivors
from tests.livekit_server import LiveKitServer

pytestmark = [pytest.mark.anyio, pytest.mark.needs("livekit-server")]


@pytest.fixture
def own_server() -> Iterator[LiveKitServer]:
    """A server that the test may restart."""
    with LiveKitServer() as server:
        yield server


async def test_closing_leaves_no_process(livekit_server: LiveKitServer) -> None:
    """Idle processes, a running job, one that swallows its cancellation, the forkserver: all gone in time."""
    async with running(livekit_server, "tests.live.agents.stubborn", slots=2) as stage:
        room = await stage.call()
        await stage.keeper.event(room, Kind.OPEN)
        jobs = job_processes()
        assert len(jobs) == 2
        forkserver = jobs[0].parent()
        assert forkserver is not None
        async with asyncio.timeout(6):
            await stage.pool.close(grace=0.5)
        assert survivors([*jobs, forkserver], timeout=0.5) == []
        assert stage.keeper.kinds(stage.keeper.job_in(room))[-1] is Kind.EXITED


async def job_pid(worker: asyncio.StreamReader) -> int:
    """The pid that the worker prints once its job is in the room."""
    async for line in worker:
        if line.startswith(b"job "):
            return int(line.removeprefix(b"job "))
    raise AssertionError("the worker ended")


@pytest.mark.parametrize(
    ("agent", "stop"),
    [
        ("tests.live.agents.beeper", False),
        ("tests.live.agents.beeper", True),
        ("tests.live.agents.stubborn", False),
        ("tests.live.pool.agents.blocker", False),
    ],
)
async def test_jobs_die_with_a_killed_worker(livekit_server: LiveKitServer, agent: str, stop: bool) -> None:
    """kill -9 of the worker: within 3 s no child is left, be it stopped, blocked or stubborn (fact 13)."""
    command = [sys.executable, "-m", "tests.live.pool.worker", livekit_server.url, agent]
    worker = await asyncio.create_subprocess_exec(*command, stdout=subprocess.PIPE)
    children: list[psutil.Process] = []
    try:
        assert worker.stdout is not None
        async with asyncio.timeout(30):
            pid = await job_pid(worker.stdout)
        children = descendants(worker.pid)[1:]
        assert pid in {child.pid for child in children}
        if stop:
            os.kill(pid, signal.SIGSTOP)
        worker.kill()
        await worker.wait()
        assert survivors(children, timeout=3) == []
    finally:
        kill_all(children)
        if worker.returncode is None:
            worker.kill()
            await worker.wait()


async def test_a_lost_server_is_noticed_and_the_job_lives_on(own_server: LiveKitServer) -> None:
    """While livekit-server is away the pool has no capacity; back, it registers anew and the job is open."""
    async with running(own_server, "tests.live.agents.beeper", slots=2) as stage:
        room = await stage.call()
        await stage.keeper.event(room, Kind.OPEN)
        node = stage.pool.capacity().node_id
        own_server.kill()
        await stage.keeper.until(lambda: not stage.pool.capacity().registered, timeout=3)
        assert stage.pool.capacity().free == 0
        own_server.start()
        await stage.keeper.until(lambda: stage.pool.capacity().registered, timeout=15)
        assert stage.pool.capacity().node_id != node
        await stage.keeper.event(room, Kind.OPEN, count=2, timeout=15)
        assert Kind.RECONNECTING in stage.keeper.kinds(stage.keeper.job_in(room))


async def test_a_server_that_ends_by_itself_is_run_again(livekit_server: LiveKitServer) -> None:
    """An AgentServer whose `run()` returns or raises serves again after a moment (fact 65)."""
    async with running(livekit_server, "tests.live.agents.beeper", slots=1) as stage:
        server = importlib.import_module("tests.live.agents.beeper").server
        await server.aclose()
        await stage.keeper.until(lambda: stage.pool.capacity().warm == 0)
        await stage.keeper.until(lambda: stage.pool.capacity().free == 1, timeout=15)
        room = await stage.call()
        await stage.keeper.event(room, Kind.OPEN)


async def test_the_echo_agent_is_open_with_no_session(livekit_server: LiveKitServer) -> None:
    """The built-in agent joins under the pool's name and publishes its track at once."""
    async with running(livekit_server, "pool.agents.echo:server", slots=1) as stage:
        assert stage.pool.agent == AGENT
        room = await stage.call()
        person = await stage.person(room)
        await stage.keeper.event(room, Kind.OPEN)
        await person.agent_track(timeout=5)
        await person.leave()
