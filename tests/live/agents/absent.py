"""An agent that takes the job and never comes into the room."""

from __future__ import annotations

import asyncio

from livekit.agents import AgentServer, JobContext

server = AgentServer()


@server.rtc_session()
async def entrypoint(ctx: JobContext) -> None:
    await asyncio.Event().wait()
