"""Agents that misbehave: cannot be cancelled, crash for ever, block in on_request, or are nowhere."""

from __future__ import annotations

import asyncio
import time

import psutil

from tests.processes.agents.crasher import CRASH
from tests.processes.agents.ponderer import BLOCK
from tests.processes.building import stage
from tests.processes.outcome import Outcome, percentile
from tests.processes.setup import Setup
from tests.processes.stage import CALM, Stage
from tests.processes.table import row

GIVE_UP = 40
GIVE_UP_IN_CI = 8
FINISHED = 420.0
"""Seconds after which an agent that has left its room must have given its slot back."""
DEAD, NOBODY = 200, "nobody"
TURNS = 4
SETTLED = 5.0
"""Seconds: the first dispatches of a name are given up after 4."""
SEEN_OFF = 12.0
"""Seconds: agents of other workers' names are looked out for 10 s after a stop; that is no time alone."""
WARM_UP = 3
"""Calls that count for neither: the first ones after a start are slower."""
RATIO = 1.5


@row("stubborn", "an agent that swallows CancelledError is restarted and stopped", n=3)
async def stubborn(outcome: Outcome) -> None:
    """Another one comes when it has left. Its process is ended when the SDK's own time is up (fact 86)."""
    async with stage(Setup(module="stubborn", slots=8), outcome) as here:
        pids: list[int] = []
        for _ in range(outcome.n):
            (room,) = await here.serve(1)
            former = here.agent_of(room)
            since = time.monotonic()
            await here.replica.ask(room, "restart_agent")
            await here.heal(room, since=since, limit=30, former=[former])
            pids += [here.pid_of(former), here.pid_of(here.agent_of(room))]
            await here.stop(room)
            await asyncio.sleep(CALM)  # who was stopped does not come back (I5)
            await here.end(room)
        stopped = time.monotonic()
        while left := [pid for pid in pids if psutil.pid_exists(pid)]:
            if time.monotonic() - stopped > FINISHED:
                outcome.violate("I2", f"processes {left} keep their slots {FINISHED:g} s after the stop")
                break
            await asyncio.sleep(1)
        outcome.set("seconds_until_the_last_slot_was_free", time.monotonic() - stopped)


@row("crash-loop", "an agent that raises each time in one room, beside healthy rooms", n=2, bounded=1)
async def crash_loop(outcome: Outcome) -> None:
    """It backs off and gives up at the deadline; the other rooms keep theirs, and new ones are served."""
    give_up = GIVE_UP_IN_CI if outcome.bounded else GIVE_UP
    env = {"ROOMKEEPER_GIVE_UP_AFTER": str(give_up)}
    async with stage(Setup(module="crasher", env=env), outcome) as here:
        healthy = await here.serve(2)
        for _ in range(outcome.n):
            before = here.agents_of(healthy)
            crashing = here.name(f"{CRASH}room")
            await here.join(crashing)
            job = await here.ask(crashing)
            began = time.monotonic()
            while (state := (await here.replica.job(job["jobId"])).job["state"]) != "gave_up":
                if time.monotonic() - began > give_up + 20:
                    outcome.violate("I2", f"{state} {give_up + 20} s after the ask, and not given up")
                    break
                fresh = here.name("fresh")
                await here.join(fresh)
                since = time.monotonic()
                await here.ask(fresh)
                await here.heal(fresh, since=since, limit=5)
                await here.end(fresh)
            outcome.add("agents_that_crashed", _arrivals(here, crashing))
            here.must_be_uncut(healthy, before)
            await here.end(crashing)


def _arrivals(here: Stage, room: str) -> int:
    return len({agent.identity for sample, _ in here.record.history(room) for agent in sample.agents})


@row("blocking-request", "the user's on_request blocks its replica's event loop for 5 s", n=6, bounded=1)
async def blocking_request(outcome: Outcome) -> None:
    """Its heartbeat stops, its agents answer when asked: nobody loses one. The room is served in the end."""
    env = {"PONDER": "5", "PONDER_BLOCKS": "1"}
    setup = Setup(module="ponderer", replicas=3, slots=3, redis=True, env=env)
    async with stage(setup, outcome) as here:
        rooms = await here.serve(4)
        for _ in range(outcome.n):
            before = here.agents_of(rooms)
            blocking = here.name(f"{BLOCK}room")
            await here.join(blocking)
            since = time.monotonic()
            await here.ask(blocking)
            await here.heal(blocking, since=since, limit=60)
            await here.calm([*rooms, blocking])
            here.must_be_uncut(rooms, before)
            await here.end(blocking)


@row("dead-name-200", "200 rooms that want a name nobody serves, beside a name that is served", n=60)
async def dead_name(outcome: Outcome) -> None:
    """The healthy name's p99 stays within 1.5 times what it is alone (fact 83): in turns, so that both meet
    the same machine."""
    alone: list[float] = []
    async with stage(Setup(watched="alive"), outcome) as here:
        await _times(here, WARM_UP)
        for tries in _shares(outcome.n, TURNS):
            alone += await _times(here, tries)
            dead = [here.name("dead") for _ in range(DEAD)]
            for room in dead:
                await here.replica.try_ask(room, agent=NOBODY)
            await asyncio.sleep(SETTLED)
            outcome.heals.extend(await _times(here, tries))
            for room in dead:
                await here.replica.post(room, agent=NOBODY, kind="stop_agent")
            await asyncio.sleep(SEEN_OFF)
    beside = outcome.heals
    for share in (50, 99):
        outcome.set(f"p{share}_alone", percentile(alone, share / 100))
        outcome.set(f"p{share}_ratio", percentile(beside, share / 100) / percentile(alone, share / 100))
    if outcome.figures["p99_ratio"] > RATIO:
        outcome.violate("I2", f"p99 is {outcome.figures['p99_ratio']:.2f} times what it is alone")


def _shares(whole: int, parts: int) -> list[int]:
    """As even as can be, none of them 0."""
    return [n for n in (whole * (i + 1) // parts - whole * i // parts for i in range(parts)) if n]


async def _times(here: Stage, count: int) -> list[float]:
    times = []
    for _ in range(count):
        room = here.name("alive")
        await here.join(room)
        since = time.monotonic()
        await here.ask(room)
        times.append((await here.people[room].agent_track(timeout=20)).at - since)
        await here.end(room)
    return times
