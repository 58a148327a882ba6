"""Redis dies, is away, is emptied, or is out of one replica's reach, while calls go on."""

from __future__ import annotations

import asyncio
import os
import signal
import time

from tests.processes.building import stage
from tests.processes.outcome import Outcome
from tests.processes.setup import Setup
from tests.processes.stage import Stage
from tests.processes.table import row

HEALED = 20.0
"""Seconds after Redis' return: a new generation grants no claim for 3 s, dispatches then lost take 4."""


@row("redis-killed", "kill -9 of redis-server with its data on disk, started again at once", n=6, bounded=1)
async def killed(outcome: Outcome) -> None:
    await _away(outcome, 0.0, appendonly=True)


@row("redis-away-10", "the same, back after 10 s", n=3)
async def away(outcome: Outcome) -> None:
    await _away(outcome, 10.0, appendonly=True)


@row("redis-lost", "kill -9 of a redis-server that keeps nothing on disk, started again at once", n=6)
async def lost(outcome: Outcome) -> None:
    await _away(outcome, 0.0, appendonly=False)


async def _away(outcome: Outcome, seconds: float, *, appendonly: bool) -> None:
    """Calls go on; a request is refused, not forgotten; an agent killed meanwhile is replaced after."""
    setup = Setup(replicas=3, slots=3, redis=True, appendonly=appendonly)
    async with stage(setup, outcome) as here:
        rooms = await here.serve(6)
        assert here.redis is not None
        for number in range(outcome.n):
            before = here.agents_of(rooms)
            here.redis.kill()
            if seconds:
                outcome.add("requests_refused", await _refused(here))
            victim = rooms[number % len(rooms)]
            os.kill(here.pid_of(before.pop(victim)), signal.SIGKILL)
            await asyncio.sleep(seconds)
            here.redis.start()
            await _heals(here, victim, rooms, before)


async def _refused(here: Stage) -> int:
    """503 with Retry-After, and in time: never a promise that nobody can keep."""
    answers = await asyncio.gather(*(r.post(here.name("refused")) for r in here.replicas))
    refused = 0
    for answer in answers:
        if answer is not None and answer.status_code == 503 and "retry-after" in answer.headers:
            refused += 1
        elif answer is not None and answer.status_code < 300:
            here.outcome.violate("I2", f"accepted without a store: {answer.text}")
        else:
            said = "no answer" if answer is None else f"{answer.status_code} {dict(answer.headers)}"
            here.outcome.violate("refusal", f"not 503 with Retry-After: {said}")
    return refused


@row("redis-flushall", "FLUSHALL while calls go on", n=6, bounded=1)
async def flushed(outcome: Outcome) -> None:
    """What replicas know is told again: nothing doubled, nothing cut, and what dies later is replaced."""
    async with stage(Setup(replicas=3, slots=4, redis=True), outcome) as here:
        rooms = await here.serve(6)
        assert here.redis is not None
        for number in range(outcome.n):
            before = here.agents_of(rooms)
            here.redis.call("FLUSHALL")
            await asyncio.gather(*(here.ask(room) for room in rooms))  # as reconnecting pages do
            victim = rooms[number % len(rooms)]
            os.kill(here.pid_of(before.pop(victim)), signal.SIGKILL)
            await _heals(here, victim, rooms, before)


async def _heals(here: Stage, victim: str, rooms: list[str], before: dict[str, str]) -> None:
    """The killed agent is replaced, a new room served, everybody else left in peace."""
    since = time.monotonic()
    fresh = here.name("fresh")
    await here.join(fresh)
    await here.ask(fresh)
    await here.heal_all([victim, fresh], since=since, limit=HEALED)
    await here.calm([*rooms, fresh])
    here.must_be_uncut(list(before), before)
    await here.end(fresh)


@row("cut-from-redis", "one replica cut off from Redis, not from LiveKit, for 20 s", n=4, bounded=1)
async def cut_off(outcome: Outcome) -> None:
    """Its calls go on, and nobody takes them away: its heartbeat lapses, its agents are asked, and answer. A
    lapse is false when an agent that lives was taken from its room for it."""
    setup = Setup(replicas=3, slots=4, redis=True, proxied=frozenset({"redis"}))
    async with stage(setup, outcome) as here:
        rooms = await here.serve(6)
        for number in range(outcome.n):
            before = here.agents_of(rooms)
            victim = max(here.replicas, key=lambda r: len(here.rooms_of(r, rooms)))
            link = here.links[victim.number, "redis"]
            hit, asked = here.rooms_of(victim, rooms), await here.witnesses()
            async with here.pause(hit):
                await (link.hang() if number % 2 else link.cut())
                await asyncio.sleep(20)
                await link.heal()
            await asyncio.sleep(8)
            await here.calm(rooms)
            here.must_be_uncut(rooms, before)
            outcome.add("false_lapses", here.cut(hit, before))
            _count_the_asked(outcome, asked, await here.witnesses())


@row("flushall-unheard", "FLUSHALL while one replica's way to Redis hangs for 4 s", n=4, bounded=1)
async def flushed_unheard(outcome: Outcome) -> None:
    """The others lead before it can put back what it knows: its agents answer, and are left alone."""
    setup = Setup(replicas=3, slots=4, redis=True, proxied=frozenset({"redis"}))
    async with stage(setup, outcome) as here:
        rooms = await here.serve(6)
        assert here.redis is not None
        for number in range(outcome.n):
            before = here.agents_of(rooms)
            victim = here.replicas[number % len(here.replicas)]
            link = here.links[victim.number, "redis"]
            async with here.pause(here.rooms_of(victim, rooms)):
                await link.hang()
                here.redis.call("FLUSHALL")
                await asyncio.sleep(4)
                await link.heal()
            await asyncio.sleep(10)
            await here.calm(rooms)
            here.must_be_uncut(rooms, before)


def _count_the_asked(outcome: Outcome, before: dict[str, float], after: dict[str, float]) -> None:
    """Where nobody lapsed, nobody was asked, and the row shows nothing."""
    said = {answer: after[answer] - before[answer] for answer in after}
    outcome.add("agents_asked", sum(said.values()))
    outcome.add("answered_alive", said["alive"])
    if not said["alive"]:
        outcome.violate("failed", f"no agent of the lapsed replica was asked and answered: {said}")
