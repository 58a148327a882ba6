"""Agents that misbehave: cannot be cancelled, crash for ever, block in on_request, or are nowhere."""

from __future__ import annotations

import asyncio
import time

import psutil

from tests.processes.agents.crasher import CRASH
from tests.processes.agents.ponderer import BLOCK
from tests.processes.outcome import Outcome
from tests.processes.stage import Setup, Stage, stage
from tests.processes.table import row

GIVE_UP = 40
FINISHED = 420.0
"""Seconds after which an agent that has left its room must have given its slot back."""


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
            await here.replica.ask(room, "stop_agent")
            await here.record.wait(room, lambda s: not s.agents, timeout=30)
            await here.end(room)
        stopped = time.monotonic()
        while left := [pid for pid in pids if psutil.pid_exists(pid)]:
            if time.monotonic() - stopped > FINISHED:
                outcome.violate("I2", f"processes {left} keep their slots {FINISHED:g} s after the stop")
                break
            await asyncio.sleep(1)
        outcome.set("seconds_until_the_last_slot_was_free", time.monotonic() - stopped)


@row("crash-loop", "an agent that raises each time in one room, beside healthy rooms", n=2)
async def crash_loop(outcome: Outcome) -> None:
    """It backs off and gives up at the deadline; the other rooms keep theirs, and new ones are served."""
    env = {"ROOMKEEPER_GIVE_UP_AFTER": str(GIVE_UP)}
    async with stage(Setup(module="crasher", env=env), outcome) as here:
        healthy = await here.serve(2)
        for _ in range(outcome.n):
            before = here.agents_of(healthy)
            crashing = here.name(f"{CRASH}room")
            await here.join(crashing)
            job = await here.ask(crashing)
            began = time.monotonic()
            while (state := (await here.replica.job(job["jobId"])).job["state"]) != "gave_up":
                if time.monotonic() - began > GIVE_UP + 20:
                    outcome.violate("I2", f"{state} {GIVE_UP + 20} s after the ask, and not given up")
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


@row("blocking-request", "the user's on_request blocks its replica's event loop for 5 s", n=6)
async def blocking_request(outcome: Outcome) -> None:
    """Its heartbeat stops, its agents answer when asked: nobody loses one. The room is served in the end."""
    env = {"PONDER": "5", "PONDER_BLOCKS": "1"}
    setup = Setup(module="ponderer", replicas=3, slots=4, redis=True, env=env)
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


@row("dead-name-200", "200 rooms that want a name nobody serves, beside a name that is served", n=30)
async def dead_name(outcome: Outcome) -> None:
    """The healthy name's p99 stays within 1.5 times what it was alone (fact 83)."""
    async with stage(Setup(watched="alive"), outcome) as here:
        alone = await _times(here, outcome.n)
        for _ in range(200):
            await here.replica.try_ask(here.name("dead"), agent="nobody")
        await asyncio.sleep(5)
        beside = await _times(here, outcome.n)
        outcome.heals.extend(beside)
        outcome.set("p99_alone", max(alone))
        outcome.set("p99_ratio", max(beside) / max(alone))
        if max(beside) > 1.5 * max(alone):
            outcome.violate("I2", f"{max(beside):.2f} s beside 200 dead rooms, {max(alone):.2f} s alone")


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
