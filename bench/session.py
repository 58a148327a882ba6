"""From the person's `connect()` returning to the agent's audio track at them.

`stock`: LiveKit's own token dispatch (`room_config.agents`), which begins with the join. `early_...`: our
session, made so long before the join; `direct_...`: the same by the direct lane. The sides take turns.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Sequence
from functools import partial

from livekit import api

from bench.report import Row
from bench.sides import Ours, Side, clear, ours, stock
from bench.time_to_agent import REST, SLOTS, TIMEOUT, Tally, row
from tests.live.clients import Person

NAME = "session"
N = 20
EARLY = {"early_1s": 1.0, "early_300ms": 0.3, "early_0s": 0.0}
"""Seconds from the session's answer to the join."""

Come = Callable[[], Awaitable[Person]]
"""Get a token, and return who is about to join with it."""


async def run(n: int = N) -> tuple[Sequence[Row], Sequence[str]]:
    async with contextlib.AsyncExitStack() as stack:
        our_side = await stack.enter_async_context(ours(slots=SLOTS))
        direct_side = await stack.enter_async_context(ours(slots=SLOTS, lane="direct"))
        stock_side = await stack.enter_async_context(stock())
        variants: dict[str, tuple[Side, Come]] = {"stock": (stock_side, partial(_with_dispatch, stock_side))}
        for name, early in EARLY.items():
            variants[name] = (our_side, partial(_with_session, our_side, early))
        variants["direct_0s"] = (direct_side, partial(_with_session, direct_side, 0.0))
        tallies = {name: Tally() for name in variants}
        for side, come in variants.values():
            await _one(side, come, Tally())  # the first call of each is not counted
        for turn in range(n):
            for name in variants if turn % 2 else reversed(variants):
                await _one(*variants[name], tallies[name])
    return [row(name, n, tally) for name, tally in tallies.items()], [
        f"from connect() returning to the agent's track subscribed; lost after {TIMEOUT:g} s",
        "stock: room_config.agents in the token; ours: POST /api/session/create so long before the join",
    ]


async def _one(side: Side, come: Come, tally: Tally) -> None:
    person = await come()
    side.observer.watch(person.room_name)
    async with person:
        try:
            track = await person.agent_track(timeout=TIMEOUT)
            tally.served.append(max(0.0, track.at - person.joined_at))
        except AssertionError:
            if side.observer.published(person.room_name):
                tally.client_missed += 1  # fact 91: the measuring client's own fault
            else:
                tally.lost += 1
        await asyncio.sleep(REST)
    tally.doubled += side.observer.ever_two(person.room_name)
    await clear(side, person.room_name)


async def _with_dispatch(side: Side) -> Person:
    room, livekit = side.site.room(NAME), side.site.livekit
    token = (
        api.AccessToken(livekit.key, livekit.secret)
        .with_identity(f"{room}-person")
        .with_grants(api.VideoGrants(room_join=True, room=room))
        .with_room_config(api.RoomConfiguration(agents=[api.RoomAgentDispatch(agent_name=side.agent)]))
    )
    return side.site.person(room, token=token.to_jwt())


async def _with_session(side: Side, early: float) -> Person:
    assert isinstance(side, Ours)
    told = await side.session()
    await asyncio.sleep(early)
    return side.site.person(told["roomName"], token=told["token"])
