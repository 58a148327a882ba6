"""Clocks that are wrong: a gateway's against LiveKit's, and Redis' against everybody's."""

from __future__ import annotations

import asyncio
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from tests.processes.outcome import Outcome
from tests.processes.stage import Setup, stage
from tests.processes.table import row

SOURCE = Path(__file__).parents[1] / "skew.c"


@contextmanager
def wrong_clocks() -> Iterator[Callable[[int], Mapping[str, str]]]:
    """Yields what makes the environment in which a process's wall clock is wrong by so many seconds."""
    compiler = shutil.which("cc")
    if compiler is None:
        raise RuntimeError("no C compiler (cc) is on PATH: apt-get install gcc libc6-dev")
    with tempfile.TemporaryDirectory(prefix="skew-") as folder:
        library = Path(folder) / "skew.so"
        subprocess.run([compiler, "-shared", "-fPIC", "-O1", "-o", library, SOURCE], check=True)
        yield lambda seconds: {"LD_PRELOAD": str(library), "SKEW": str(seconds)}


@row("clock-45s", "two gateways' clocks 45 s fast and slow against LiveKit's: nothing happens", n=10)
async def clock_a_bit_off(outcome: Outcome) -> None:
    """LiveKit's leeway is 60 s (fact 85)."""
    with wrong_clocks() as wrong_by:
        setup = Setup(replicas=2, redis=True, envs={0: wrong_by(45), 1: wrong_by(-45)})
        await _served(setup, outcome)


async def _served(setup: Setup, outcome: Outcome) -> None:
    """Whichever of the first two is asked."""
    async with stage(setup, outcome) as here:
        for number in range(outcome.n):
            room = here.name()
            await here.join(room)
            since = time.monotonic()
            await here.ask(room, first=here.replicas[number % 2])
            await here.heal(room, since=since, limit=10)
            await here.calm([room])
            await here.end(room)


@row("clock-10min", "a gateway's clock 10 min fast, another's slow: not ready, others serve", n=10)
async def clock_far_off(outcome: Outcome) -> None:
    """They say why, take part in nothing, and what was asked of them is served by the third."""
    with wrong_clocks() as wrong_by:
        envs = {0: wrong_by(600), 1: wrong_by(-600)}
        setup = Setup(replicas=3, redis=True, envs=envs, unready=frozenset(envs))
        await _refused(setup, outcome)


async def _refused(setup: Setup, outcome: Outcome) -> None:
    async with stage(setup, outcome) as here:
        for number in range(outcome.n):
            wrong = here.replicas[number % 2]
            answer = await wrong.http.get("/readyz")
            if answer.status_code != 503 or "clock" not in answer.text:
                outcome.violate("I7", f"/readyz of a gateway 10 min off: {answer.status_code} {answer.text}")
            room = here.name()
            await here.join(room)
            since = time.monotonic()
            await here.ask(room, first=wrong)
            await here.heal(room, since=since, limit=15)
            await here.calm([room])
            await here.end(room)


@row(
    "clock-store",
    "Redis' clock 10 min fast, then slow, against the gateways': nothing happens",
    n=10,
)
async def clock_of_the_store(outcome: Outcome) -> None:
    """Times in the store are the store's."""
    with wrong_clocks() as wrong_by:
        for seconds in (600, -600):
            setup = Setup(replicas=2, redis=True, redis_env=wrong_by(seconds))
            await _undisturbed(setup, outcome, (outcome.n + 1) // 2)


async def _undisturbed(setup: Setup, outcome: Outcome, tries: int) -> None:
    async with stage(setup, outcome) as here:
        rooms = await here.serve(2)
        before = here.agents_of(rooms)
        for _ in range(tries):
            room = here.name()
            await here.join(room)
            since = time.monotonic()
            await here.ask(room)
            await here.heal(room, since=since, limit=10)
            await here.end(room)
        await asyncio.sleep(5)
        await here.calm(rooms)
        here.must_be_uncut(rooms, before)
