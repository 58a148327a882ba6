"""An agent that swallows every cancellation: its process ends by force only (facts 9, 13)."""

from __future__ import annotations

import asyncio
import contextlib

from livekit.agents import AgentServer, JobContext

from tests.processes.agents import beeper

server = AgentServer()


@server.rtc_session()
async def entrypoint(ctx: JobContext) -> None:
    await beeper.entrypoint(ctx)
    while True:
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.Event().wait()
