"""An agent that blocks its event loop for ever once it has joined."""

from __future__ import annotations

import threading

from livekit.agents import AgentServer, JobContext

server = AgentServer()


@server.rtc_session()
async def entrypoint(ctx: JobContext) -> None:
    await ctx.connect()
    threading.Event().wait()
