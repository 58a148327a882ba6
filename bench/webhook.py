"""Webhooks per second on one core: our route with the keeper attached, beside a floor and the SDK's receiver.

The servers have the first core, the load (wrk) and livekit-server the second. All ids and bodies are distinct
within a round and between rounds: nothing is answered from memory. Rooms have no wants; beside it, at 200/s,
rooms that have an agent.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import os
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import httpx

from bench.events import KEY, PATH, SECRET, participant_joined, rooms_without_wants
from bench.figures import percentile
from bench.report import Row
from tests.live.gateway import REPOSITORY, Gateway
from tests.live.site import Site
from tests.livekit_server import free_port

NAME = "webhook"
N = 3
"""Rounds for each variant."""
RECEIVERS = ("floor", "starlette_sdk", "fastapi_sdk")
SECONDS = 4
WARM_UP_SECONDS = 1
POOL = 100_000
"""Webhooks for one round: more than `ours` can take in `SECONDS`."""
CONNECTIONS = 32
RATE = 200
RATE_SECONDS = 5
WANTED_ROOMS = 4
SERVER_CPU, LOAD_CPU = 0, 1
SCRIPT = Path(__file__).with_name("load.lua")


@dataclass
class Rounds:
    per_s: list[float] = field(default_factory=list)
    p99_ms: list[float] = field(default_factory=list)
    requests: int = 0
    failed: int = 0


async def run(n: int = N) -> tuple[Sequence[Row], Sequence[str]]:
    _need_wrk()
    with pinned(LOAD_CPU):
        async with contextlib.AsyncExitStack() as stack:
            gateway = await stack.enter_async_context(_ours())
            urls = {"ours": gateway.url}
            for name in RECEIVERS:
                urls[name] = await stack.enter_async_context(_receiver(name))
            tallies = await _rounds(n, urls)
            rows = [_row(name, tally) for name, tally in tallies.items()]
            rows.append(await _with_wants(gateway))
    return rows, [
        f"{n} rounds of {SECONDS} s each, the variants in turn, {CONNECTIONS} connections; medians",
        f"servers on core {SERVER_CPU}, wrk on core {LOAD_CPU}; uvicorn, uvloop, httptools, no access log",
        f"ours_with_wants: {RATE}/s for {RATE_SECONDS} s to {WANTED_ROOMS} rooms that have their agent",
    ]


async def _rounds(n: int, urls: dict[str, str]) -> dict[str, Rounds]:
    tallies = {name: Rounds() for name in urls}
    order = list(urls)
    rooms = rooms_without_wants()
    with tempfile.TemporaryDirectory(prefix="bench-webhook-") as folder:
        events = Path(folder) / "events"
        for turn in range(n):
            _write(events, rooms, POOL)
            for name in order[turn % len(order) :] + order[: turn % len(order)]:
                await _wrk(urls[name], WARM_UP_SECONDS, _write(Path(folder) / "warm", rooms, POOL // 4))
                result = await _wrk(urls[name], SECONDS, events)
                if name == "ours" and result["requests"] > POOL:
                    raise RuntimeError(f"more than {POOL} webhooks, and repeated ones are cheap: raise POOL")
                tally = tallies[name]
                tally.per_s.append((result["requests"] - result["failed"]) / result["seconds"])
                tally.p99_ms.append(result["p99_ms"])
                tally.requests += int(result["requests"])
                tally.failed += int(result["failed"])
    return tallies


async def _wrk(url: str, seconds: int, events: Path) -> dict[str, float]:
    """One run of wrk; what its script found."""
    options = ["-t1", f"-c{CONNECTIONS}", f"-d{seconds}s", "-s", str(SCRIPT)]
    command = ["wrk", *options, f"{url}{PATH}", "--", str(events)]
    done = await asyncio.create_subprocess_exec(*command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    output, _ = await done.communicate()
    for line in output.decode().splitlines():
        if line.startswith("RESULT "):
            found: dict[str, float] = json.loads(line.removeprefix("RESULT "))
            return found
    raise RuntimeError(f"wrk failed:\n{output.decode()}")


async def _with_wants(gateway: Gateway) -> Row:
    """Our p99 at a steady pace, for rooms that the keeper looks after."""
    rooms = [f"bench-wanted-{number}" for number in range(WANTED_ROOMS)]
    for room in rooms:
        state = (await gateway.ask(room, wait=10)).job["state"]
        if state != "joined":
            raise RuntimeError(f"{room} is {state}: no agent to measure with")
    count = RATE * RATE_SECONDS
    events = [participant_joined(room) for room in itertools.islice(itertools.cycle(rooms), count)]
    limits = httpx.Limits(max_connections=16)
    async with httpx.AsyncClient(base_url=gateway.url, limits=limits, timeout=10) as client:
        began = time.monotonic()

        async def send(number: int) -> tuple[float, bool]:
            await asyncio.sleep(began + number / RATE - time.monotonic())
            authorization, body = events[number]
            sent = time.monotonic()
            answer = await client.post(PATH, content=body, headers={"authorization": authorization})
            return time.monotonic() - sent, answer.status_code == 200

        answers = await asyncio.gather(*(send(number) for number in range(count)))
    return {
        "variant": "ours_with_wants",
        "n": count,
        "lost": sum(not ok for _, ok in answers),
        "per_s": RATE,
        "p99_ms": round(1000 * percentile([seconds for seconds, _ in answers], 0.99), 2),
    }


def _row(name: str, tally: Rounds) -> Row:
    return {
        "variant": name,
        "n": tally.requests,
        "lost": tally.failed,
        "per_s": round(statistics.median(tally.per_s)),
        "p99_ms": round(statistics.median(tally.p99_ms), 2),
    }


@contextlib.asynccontextmanager
async def _ours() -> AsyncIterator[Gateway]:
    """The gateway as in production, its pool idle."""
    site = Site(key=KEY, secret=SECRET)
    with site.livekit:
        gateway = site.gateway("tests.live.agents.beeper:server", slots=WANTED_ROOMS, command="start")
        try:
            with pinned(SERVER_CPU):
                gateway.launch()
            await gateway.wait_until("/readyz", 200, timeout=30)
            await gateway.warm(WANTED_ROOMS)
            yield gateway
        finally:
            await gateway.close()


@contextlib.asynccontextmanager
async def _receiver(name: str) -> AsyncIterator[str]:
    """One of `bench.receivers` on uvicorn; yields its URL."""
    port = free_port(socket.SOCK_STREAM)
    options = ["--loop", "uvloop", "--http", "httptools", "--no-access-log", "--log-level", "warning"]
    command = [sys.executable, "-m", "uvicorn", f"bench.receivers:{name}", "--port", str(port), *options]
    with pinned(SERVER_CPU):
        process = await asyncio.create_subprocess_exec(*command, cwd=REPOSITORY)
    try:
        await asyncio.to_thread(_wait_for_port, port, 15.0)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.kill()
        await process.wait()


def _wait_for_port(port: int, timeout: float) -> None:
    deadline = time.monotonic() + timeout
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)
        else:
            return


def _write(path: Path, rooms: Iterator[str], count: int) -> Path:
    with path.open("w") as out:
        for room in itertools.islice(rooms, count):
            authorization, body = participant_joined(room)
            out.write(f"{authorization}\t{body}\n")
    return path


@contextlib.contextmanager
def pinned(cpu: int) -> Iterator[None]:
    """What this thread starts meanwhile runs on that core only."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {cpu})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def _need_wrk() -> None:
    if shutil.which("wrk") is None:
        raise SystemExit("wrk is not on PATH: install it (Debian, Ubuntu: apt-get install wrk)")
    if len(os.sched_getaffinity(0)) < 2:
        raise SystemExit("two cores are needed: one for the server, one for the load")
