"""Agents that live are asked whether they do, as before one whose replica lapsed is put out (fact S18).

`one` puts one question, as the SDKs do; `ours` a second one half a second later, when the first is open.
Both ask the same agents in turn; every other agent's event loop stands still. An answer that says dead, or
nothing, is counted as lost.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field

from livekit import api
from livekit.api import ServerError
from livekit.protocol.room import PerformRpcResponse

from bench.figures import percentile
from bench.report import Row
from gateway.livekit import ghosts
from tests.contract.livekit_worlds import World, real_world
from tests.livekit_server import LiveKitServer

NAME = "answers"
N = 10_000
"""Questions of each side."""
ROOMS = 4
AGENT = "agent-1"

Ask = Callable[[str], Awaitable[bool]]


@dataclass
class Tally:
    took: list[float] = field(default_factory=list)
    lost: int = 0

    async def ask(self, ask: Ask, room: str) -> None:
        began = time.monotonic()
        self.lost += not await ask(room)
        self.took.append(time.monotonic() - began)

    def row(self, variant: str) -> Row:
        p50, p999 = percentile(self.took, 0.5), percentile(self.took, 0.999)
        return {
            "variant": variant,
            "n": len(self.took),
            "lost": self.lost,
            "p50_ms": round(1000 * p50, 1),
            "p999_ms": round(1000 * p999, 1),
            "max_ms": round(1000 * max(self.took), 1),
        }


async def run(n: int = N) -> tuple[Sequence[Row], Sequence[str]]:
    one, ours = Tally(), Tally()
    with LiveKitServer() as server:
        async with (
            real_world(server) as world,
            api.LiveKitAPI(server.http_url, server.key, server.secret) as client,
        ):
            rooms = [await _room(world, blocked=bool(number % 2)) for number in range(ROOMS)]

            async def stock(room: str) -> bool:
                return await _one_question(client, room)

            async def twice(room: str) -> bool:
                return await world.livekit.answers(room, AGENT) is True

            async def in_turn(room: str) -> None:
                for _ in range(max(1, n // ROOMS)):
                    await one.ask(stock, room)
                    await ours.ask(twice, room)

            await asyncio.gather(*map(in_turn, rooms))
    notes = [f"{ROOMS} agents that live, asked side by side; lost: taken for dead, or not known"]
    return [one.row("one"), ours.row("ours")], notes


async def _room(world: World, *, blocked: bool) -> str:
    room = world.name()
    agent = await world.join_as_process(room, AGENT, agent=AGENT)
    if blocked:
        await agent.block()
    return room


async def _one_question(client: api.LiveKitAPI, room: str) -> bool:
    service = client.room
    grants = service._auth_header(api.VideoGrants(room_admin=True, room=room))
    question = ghosts.question(room, AGENT)
    try:
        await service._client.request("RoomService", "PerformRpc", question, grants, PerformRpcResponse)
    except ServerError as error:
        return ghosts.lives(error) is True
    return True
