"""kill -9: of a job, of a whole gateway, of one replica among three."""

from __future__ import annotations

import os
import random
import signal
import time
from collections.abc import Mapping

from tests.processes.building import stage
from tests.processes.crash import crash
from tests.processes.minefield import minefield
from tests.processes.outcome import Outcome
from tests.processes.points import OF_A_POST
from tests.processes.setup import Setup
from tests.processes.table import row

DIRECT = {"ROOMKEEPER_LAUNCH": "direct"}


@row("kill-job", "kill -9 of a job process", n=40, bounded=8, limit=5)
async def kill_job(outcome: Outcome) -> None:
    """A killed agent is replaced at once; the person stays in the room. Each try has a room of its own: where
    agents die again and again the keeper backs off, as it should (`crash-loop`)."""
    await _kill_jobs(outcome, {})


@row("kill-job-direct", "kill -9 of a job process, by the direct lane", n=40, bounded=2, limit=5)
async def kill_job_direct(outcome: Outcome) -> None:
    """The same where the leader launches its agents itself."""
    await _kill_jobs(outcome, DIRECT)


async def _kill_jobs(outcome: Outcome, env: Mapping[str, str]) -> None:
    async with stage(Setup(slots=4, env=env), outcome) as here:
        for _ in range(outcome.n):
            (room,) = await here.serve(1)
            former = here.agent_of(room)
            since = time.monotonic()
            os.kill(here.pid_of(former), signal.SIGKILL)
            await here.heal(room, since=since, limit=5, former=[former])
            await here.calm([room], seconds=1)
            await here.end(room)


@row(
    "kill-gateway", "kill -9 of the only gateway, worker pool and all; started again at once", n=8, bounded=1
)
async def kill_gateway(outcome: Outcome) -> None:
    """What was wanted is in the store: the next process serves it without being asked."""
    async with stage(Setup(slots=4), outcome) as here:
        for number in range(outcome.n):
            rooms = await here.serve(3)
            before = here.agents_of(rooms)
            since = time.monotonic()
            here.replica.die() if number % 2 else here.replica.kill()
            await here.replica.start()
            await here.heal_all(rooms, since=since, limit=30, former=before)
            await here.calm(rooms)
            await here.end_all(rooms)


@row(
    "kill-replica", "kill -9 of one of three replicas, each as on its own machine", n=12, bounded=1, limit=10
)
async def kill_replica(outcome: Outcome) -> None:
    """The heartbeat lapses, the agents leave LiveKit's question open, the ghosts are removed, the others take
    the rooms. Then it is started again."""
    await _kill_replicas(outcome, {})


@row(
    "kill-replica-direct",
    "kill -9 of one of three replicas, by the direct lane",
    n=12,
    bounded=1,
    limit=10,
)
async def kill_replica_direct(outcome: Outcome) -> None:
    """The leader launches in its own pool while no other is less busy; the others' agents come by LiveKit."""
    await _kill_replicas(outcome, DIRECT)


async def _kill_replicas(outcome: Outcome, env: Mapping[str, str]) -> None:
    setup = Setup(replicas=3, slots=4, redis=True, entry="tests.processes.apart", env=env)
    async with stage(setup, outcome) as here:
        for number in range(outcome.n):
            rooms = await here.serve(6)
            victim = max(here.replicas, key=lambda r: (len(here.rooms_of(r, rooms)), random.random()))
            hit = here.rooms_of(victim, rooms)
            before = here.agents_of(hit)
            since = time.monotonic()
            victim.die() if number % 2 else victim.kill()
            await here.heal_all(hit, since=since, limit=15, former=before)
            await victim.start()
            await victim.warm(1)
            outcome.add("rooms_hit", len(hit))
            await here.calm(rooms)
            await here.end_all(rooms)


@row(
    "kill-post",
    "kill -9 of the gateway at each call that a POST causes, before and after it, on SQLite and on Redis",
    n=2 * len(OF_A_POST),
)
async def kill_post(outcome: Outcome) -> None:
    """Whoever was answered 2xx is served after the restart, and asks no more; no answer: asked again. Nobody
    is in the room, so that nothing but the store tells of it. CI plays a few of these: test_crash_points."""
    everywhere = [(redis, point) for redis in (False, True) for point in OF_A_POST]
    played = [everywhere[i * len(everywhere) // outcome.n] for i in range(outcome.n)]
    outcome.set("accepted_lost", 0)
    for redis in (False, True):
        async with minefield(outcome, redis=redis) as field:
            for over_redis, point in played:
                if over_redis is redis:
                    await crash(field, point)
