"""SIGSTOP: a machine that stands still with all its processes, and a gateway that does so alone."""

from __future__ import annotations

import asyncio
import time

from tests.processes.building import stage
from tests.processes.outcome import Outcome
from tests.processes.setup import Setup
from tests.processes.stage import Stage
from tests.processes.table import row

REPLACED_WITHIN = 15.0
"""Seconds from the freeze to another agent: as for a replica that died, and the witness asks twice."""
AFTER_THAW = 8.0

THREE = Setup(replicas=3, slots=4, redis=True)


@row("freeze-5", "SIGSTOP of one of three replicas with its jobs, 5 s", n=5, bounded=1, limit=15)
async def freeze_short(outcome: Outcome) -> None:
    await _freeze(outcome, 5.0)


@row("freeze-30", "the same, 30 s", n=3, limit=15)
async def freeze_long(outcome: Outcome) -> None:
    await _freeze(outcome, 30.0)


@row("freeze-gateway-5", "SIGSTOP of one gateway alone, 5 s: its agents go on talking", n=6)
async def freeze_gateway_short(outcome: Outcome) -> None:
    await _freeze_gateway(outcome, 5.0)


@row("freeze-gateway-30", "the same, 30 s", n=3)
async def freeze_gateway_long(outcome: Outcome) -> None:
    await _freeze_gateway(outcome, 30.0)


async def _freeze(outcome: Outcome, seconds: float) -> None:
    """Others take the rooms, or the thawed agents are found in time; afterwards there is one."""
    async with stage(THREE, outcome) as here:
        for _ in range(outcome.n):
            rooms = await here.serve(6)
            victim = max(here.replicas, key=lambda r: len(here.rooms_of(r, rooms)))
            hit = here.rooms_of(victim, rooms)
            before = here.agents_of(hit)
            since = time.monotonic()
            async with here.pause(hit):
                frozen = victim.freeze()
                healing = asyncio.create_task(_heals(here, hit, since))
                await asyncio.sleep(seconds)
                victim.thaw(frozen)
            await healing
            await asyncio.sleep(AFTER_THAW)
            await here.calm(rooms)
            outcome.add("rooms_hit", len(hit))
            outcome.add("agents_replaced", here.cut(hit, before))
            await here.end_all(rooms)


async def _heals(here: Stage, rooms: list[str], since: float) -> None:
    for room in rooms:  # the witness must first have seen that nobody works there
        await here.record.wait(room, lambda s: not s.working(), timeout=2)
    await here.heal_all(rooms, since=since, limit=REPLACED_WITHIN)


async def _freeze_gateway(outcome: Outcome, seconds: float) -> None:
    """No agent is lost: they answer, though nobody speaks for them."""
    async with stage(THREE, outcome) as here:
        rooms = await here.serve(6)
        for _ in range(outcome.n):
            before = here.agents_of(rooms)
            victim = max(here.replicas, key=lambda r: len(here.rooms_of(r, rooms)))
            async with here.pause(here.rooms_of(victim, rooms)):
                frozen = victim.freeze(tree=False)
                await asyncio.sleep(seconds)
                victim.thaw(frozen)
            await asyncio.sleep(AFTER_THAW)
            await here.calm(rooms)
            here.must_be_uncut(rooms, before)
