"""An agent that blocks its event loop for ever once it has joined."""

from __future__ import annotations

import asyncio
import threading

from livekit.agents import AgentServer, JobContext

from tests.live.agents.sound import publish_voice

server = AgentServer()


@server.rtc_session()
async def entrypoint(ctx: JobContext) -> None:
    await ctx.connect()
    await publish_voice(ctx.room)
    await asyncio.sleep(0.5)  # it works for a moment, as such agents do
    threading.Event().wait()
