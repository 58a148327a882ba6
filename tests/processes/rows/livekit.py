"""livekit-server is down for a while, or one node of two dies for good."""

from __future__ import annotations

import asyncio
import time

from tests.processes.building import stage
from tests.processes.outcome import Outcome
from tests.processes.setup import Setup
from tests.processes.stage import Stage
from tests.processes.table import row

BACK = 30.0
"""Seconds after LiveKit's return: the worker's back-off takes up to 10 (fact 64), agents that return by
themselves are waited for 12."""


@row(
    "livekit-down-5", "livekit-server killed, back after 5 s; people reconnect by themselves", n=6, bounded=1
)
async def down_short(outcome: Outcome) -> None:
    """Agents and people come back by themselves (fact 80): the same agents, not others beside them."""
    async with stage(Setup(), outcome) as here:
        rooms = await here.serve(3)
        for _ in range(outcome.n):
            before = here.agents_of(rooms)
            since = await _down(here, 5.0)
            await here.heal_all(rooms, since=since, limit=BACK)
            await here.calm(rooms)
            here.must_be_uncut(rooms, before)


@row("livekit-down-60", "the same, 60 s; people load the page again", n=2)
async def down_long(outcome: Outcome) -> None:
    await _down_for_long(outcome, 60.0)


@row("livekit-down-180", "the same, 180 s", n=1)
async def down_very_long(outcome: Outcome) -> None:
    await _down_for_long(outcome, 180.0)


async def _down_for_long(outcome: Outcome, seconds: float) -> None:
    """Everybody gave up meanwhile; whoever comes back asks again, as pages do, and has one agent."""
    async with stage(Setup(slots=8), outcome) as here:
        rooms = await here.serve(6)
        for _ in range(outcome.n):
            since = await _down(here, seconds)
            await asyncio.gather(*(here.join(room) for room in rooms))
            await asyncio.gather(*(here.ask(room) for room in rooms))
            await here.heal_all(rooms, since=since, limit=BACK)
            await here.calm(rooms)


@row("livekit-and-redis", "livekit-server restarted while no replica reaches Redis, 8 s in all", n=4)
async def down_with_the_store(outcome: Outcome) -> None:
    """Agents are ended, since nobody could tell whether they still hold their rooms. Rooms whose people are
    back have one again: nothing takes them for ended."""
    setup = Setup(replicas=2, slots=6, redis=True, proxied=frozenset({"redis"}))
    async with stage(setup, outcome) as here:
        rooms = await here.serve(3)
        for _ in range(outcome.n):
            async with here.pause(rooms):
                await asyncio.gather(*(here.links[r.number, "redis"].cut() for r in here.replicas))
                await asyncio.sleep(4)
                await _down(here, 0.0)
                await asyncio.sleep(4)
                await asyncio.gather(*(here.links[r.number, "redis"].heal() for r in here.replicas))
            await here.heal_all(rooms, since=time.monotonic(), limit=BACK)
            await here.calm(rooms)


async def _down(here: Stage, seconds: float) -> float:
    """Returns when it was back."""
    here.livekit.kill()
    await here.record.wait_until_blind(timeout=5)
    await asyncio.sleep(seconds)
    await asyncio.to_thread(here.livekit.start)
    return time.monotonic()


@row(
    "livekit-node-killed",
    "kill -9 of one livekit-server in a two-node cluster, with rooms on it",
    n=4,
    bounded=1,
)
async def node_killed(outcome: Outcome) -> None:
    """People load the page again at the surviving node, where the load balancer now sends everybody; their
    rooms are brought there. Then the other one dies, with all of them. Heals are heard by the person."""
    setup = Setup(replicas=2, slots=8, redis=True, nodes=2, proxied=frozenset({"livekit"}))
    async with stage(setup, outcome) as here:
        rooms = await here.serve(6)
        for number in range(outcome.n):
            dead = (number + 1) % 2
            since = time.monotonic()
            here.nodes[dead].kill()
            hit = rooms if number else [*rooms[dead::2], *here.rooms_of(here.replicas[dead], rooms)]
            async with here.pause(hit):
                for replica in here.replicas:
                    await here.links[replica.number, "livekit"].lead_to(here.nodes[1 - dead].port)
                await asyncio.gather(*(here.join(room, 1 - dead) for room in rooms))
                await asyncio.gather(*(here.ask(room) for room in rooms))
                await asyncio.gather(*(here.heard(room, since=since, limit=BACK) for room in rooms))
            await asyncio.sleep(5)
            await here.calm(rooms)
            await asyncio.to_thread(here.nodes[dead].start)
