"""The same request a thousand times, and calls to LiveKit whose answer is lost or late."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import Callable

from tests.processes.building import stage
from tests.processes.meddler import Meddling, Rule
from tests.processes.outcome import Outcome
from tests.processes.setup import Setup
from tests.processes.stage import Stage
from tests.processes.table import row

POSTS = 1000
AT_ONCE = 60
CREATE = "/CreateDispatch"
LATENESS = (1.0, 3.0, 5.0, 7.0, 9.0, 12.0, 15.0)
"""Seconds; the gateway itself gives such a call up after 8."""


@row(
    "posts-1000",
    "1,000 identical POSTs over three replicas, 60 at a time",
    n=4,
    bounded=1,
    limit=5,
    alone=True,
)
async def thousand_posts(outcome: Outcome) -> None:
    """One job, one agent."""
    async with stage(Setup(replicas=3, slots=2, redis=True), outcome) as here:
        for _ in range(outcome.n):
            room = here.name()
            await here.join(room)
            dispatched = await here.total("roomkeeper_dispatches_total", outcome="created")
            since = time.monotonic()
            jobs = await _posts(here, room)
            outcome.add("posts", len(jobs))
            if len(set(jobs)) != 1:
                outcome.violate("I1", f"{len(set(jobs))} jobs for one room")
            await here.heal(room, since=since, limit=30)
            await here.calm([room])
            created = await here.total("roomkeeper_dispatches_total", outcome="created") - dispatched
            outcome.add("dispatches", created)
            await here.end(room)
        outcome.set("dispatches_per_request", outcome.figures["dispatches"] / outcome.figures["posts"])


@row(
    "create-lost", "the answer to CreateDispatch is lost, after it had its effect", n=20, bounded=3, limit=15
)
async def create_lost(outcome: Outcome) -> None:
    await _meddled(outcome, lambda _: Meddling(lose=True))


@row("create-late", "the answer to CreateDispatch comes 1 to 15 s late", n=14, limit=15)
async def create_late(outcome: Outcome) -> None:
    await _meddled(outcome, lambda number: Meddling(late=LATENESS[number % len(LATENESS)]))


@row("create-held", "CreateDispatch reaches LiveKit 1 to 15 s late", n=14, limit=30)
async def create_held(outcome: Outcome) -> None:
    await _meddled(outcome, lambda number: Meddling(hold=LATENESS[-1 - number % len(LATENESS)]))


async def _posts(here: Stage, room: str) -> list[str]:
    """The job ids that they were answered with."""
    turns, places = itertools.cycle(here.replicas), asyncio.Semaphore(AT_ONCE)

    async def post() -> str:
        async with places:
            return str((await here.ask(room, first=next(turns)))["jobId"])

    return await asyncio.gather(*(post() for _ in range(POSTS)))


def _once(meddling: Meddling) -> Rule:
    """For the next create; those after it are left alone."""
    left = iter([meddling])
    return lambda path: next(left, None) if path.endswith(CREATE) else None


async def _meddled(outcome: Outcome, meddling: Callable[[int], Meddling]) -> None:
    """The first create for each room is meddled with. One agent comes, and what comes late lets nobody in."""
    async with stage(Setup(slots=4, meddled=True), outcome) as here:
        assert here.meddler is not None
        for number in range(outcome.n):
            room = here.name()
            await here.join(room)
            here.meddler.rule = _once(meddling(number))
            since = time.monotonic()
            await here.ask(room)
            await here.heal(room, since=since, limit=30)
            late = meddling(number)
            await here.calm([room], seconds=max(2.0, since + late.late + late.hold + 1.5 - time.monotonic()))
            await here.end(room)
        created = await here.total("roomkeeper_dispatches_total", outcome="created")
        unknown = await here.total("roomkeeper_dispatches_total", outcome="unknown")
        outcome.set("dispatches", created + unknown)
        outcome.set("duplicates_refused", await here.total("roomkeeper_duplicates_refused_total"))
