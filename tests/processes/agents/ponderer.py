"""An agent whose `on_request` thinks for a while before it accepts: as long as `PONDER` says, in seconds.

With `PONDER_BLOCKS=1` it blocks its event loop meanwhile, as a synchronous HTTP call would, and does so only
at the first offer that it gets for a room named `block-...`.
"""

from __future__ import annotations

import asyncio
import os
import time

from livekit.agents import AgentServer, JobRequest

from tests.processes.agents import beeper

BLOCK = "block-"

server = AgentServer()
_met: set[str] = set()


async def on_request(request: JobRequest) -> None:
    seconds = float(os.environ["PONDER"])
    if os.environ.get("PONDER_BLOCKS") != "1":
        await asyncio.sleep(seconds)
    elif request.room.name.startswith(BLOCK) and request.room.name not in _met:
        _met.add(request.room.name)
        time.sleep(seconds)  # noqa: ASYNC251  (the fault of this row)
    await request.accept()


server.rtc_session(beeper.entrypoint, on_request=on_request)
