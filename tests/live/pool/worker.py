"""A worker for tests that kill it: dispatches one job to itself and prints `job PID` once that is in.

`python -m tests.live.pool.worker URL AGENT_MODULE`
"""

from __future__ import annotations

import asyncio
import sys

from pool.ports import JobEventKind as Kind
from tests.live.pool.stage import running
from tests.livekit_server import KEY, SECRET


class Address:
    """A livekit-server that somebody else runs."""

    key, secret = KEY, SECRET

    def __init__(self, url: str) -> None:
        self.url = url
        self.http_url = url.replace("ws://", "http://")


async def main(url: str, agent: str) -> None:
    async with running(Address(url), agent, slots=2) as stage:
        room = await stage.call()
        await stage.keeper.event(room, Kind.CONNECTED)
        launched = await stage.keeper.event(room, Kind.LAUNCHED)
        print(f"job {launched.pid}", flush=True)
        await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
