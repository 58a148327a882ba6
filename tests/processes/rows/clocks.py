"""Clocks that are wrong: a gateway's against LiveKit's, and Redis' against everybody's."""

from __future__ import annotations

import asyncio
import time

from tests.processes.building import stage
from tests.processes.outcome import Outcome
from tests.processes.setup import Setup
from tests.processes.stage import Stage
from tests.processes.table import row
from tests.wrong_clock import WrongClock, wrong_clocks

STEP = 600
"""Seconds."""
GIVE_UP = 60
"""Seconds without an agent after which a want is given up: far less than the step."""
STOOD = 5.0
"""Seconds after a step in which whatever it did to leases and deadlines has shown."""
NOW = "return tonumber(redis.call('TIME')[1])"


@row("clock-45s", "two gateways' clocks 45 s fast and slow against LiveKit's: nothing happens", n=10)
async def clock_a_bit_off(outcome: Outcome) -> None:
    """LiveKit's leeway is 60 s (fact 85)."""
    with wrong_clocks() as wrong_by:
        setup = Setup(replicas=2, redis=True, envs={0: wrong_by(45).env, 1: wrong_by(-45).env})
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


@row("clock-10min", "a gateway's clock 10 min fast, another's slow: not ready, others serve", n=10, bounded=1)
async def clock_far_off(outcome: Outcome) -> None:
    """They say why, take part in nothing, and what was asked of them is served by the third."""
    with wrong_clocks() as wrong_by:
        envs = {0: wrong_by(600).env, 1: wrong_by(-600).env}
        setup = Setup(replicas=3, slots=2, redis=True, envs=envs, unready=frozenset(envs))
        await _refused(setup, outcome)


async def _refused(setup: Setup, outcome: Outcome) -> None:
    async with stage(setup, outcome) as here:
        for number in range(outcome.n):
            for wrong in here.replicas[:2]:
                answer = await wrong.http.get("/readyz")
                if answer.status_code != 503 or "clock" not in answer.text:
                    outcome.violate("I7", f"/readyz, 10 min off: {answer.status_code} {answer.text}")
            room = here.name()
            await here.join(room)
            since = time.monotonic()
            await here.ask(room, first=here.replicas[number % 2])
            await here.heal(room, since=since, limit=15)
            await here.calm([room])
            await here.end(room)


@row(
    "clock-store",
    "Redis' clock is set 10 min ahead, and back again, while calls go on and a room waits: nothing happens",
    n=6,
)
async def clock_of_the_store(outcome: Outcome) -> None:
    """No deadline is passed by it and none put off: nobody lapses, no want is given up (a minute would do),
    no agent loses its room, and requests are served, in line and by new agents."""
    with wrong_clocks() as wrong_by:
        clock = wrong_by(0)
        env = {"ROOMKEEPER_GIVE_UP_AFTER": str(GIVE_UP)}
        setup = Setup(replicas=2, slots=2, redis=True, redis_env=clock.env, env=env)
        async with stage(setup, outcome) as here:
            rooms = await here.serve(3)
            before = here.agents_of(rooms)
            for number in range(outcome.n):
                await _undisturbed_by_a_step(here, clock, 0 if number % 2 else STEP)
                await here.calm(rooms)
                here.must_be_uncut(rooms, before)
            for harm in ("gave_up", "jobs_cut", "replicas_lapsed"):
                if count := await here.total(f"roomkeeper_{harm}_total"):
                    outcome.violate("I3", f"{harm}: {count:g}, and nothing but a clock was set")


async def _undisturbed_by_a_step(here: Stage, clock: WrongClock, seconds: int) -> None:
    """One room has the last slot, another waits in line, a third is asked for after the step."""
    (last,) = await here.serve(1, "last")
    waits, after = here.name("waits"), here.name("after")
    await here.join(waits)
    await here.join(after)
    await here.ask(waits)
    clock.step_to(seconds)
    assert here.redis is not None
    if abs(int(here.redis.call("EVAL", NOW, "0")[1:]) - time.time() - seconds) > 2:
        raise RuntimeError(f"the clock of redis-server is not {seconds} s ahead")
    since = time.monotonic()
    await here.ask(after)
    here.outcome.set(
        "slowest_answer", max(here.outcome.figures.get("slowest_answer", 0.0), time.monotonic() - since)
    )
    await asyncio.sleep(STOOD)
    for former, following in ((last, waits), (waits, after)):
        since = time.monotonic()
        await here.end(former)
        await here.heal(following, since=since, limit=10)
    await here.end(after)
