"""An agent that blocks its event loop for ever once it has joined."""

from __future__ import annotations

import threading

from livekit.agents import AgentServer, JobContext

from tests.live.agents.sound import publish_voice

server = AgentServer()


@server.rtc_session()
async def entrypoint(ctx: JobContext) -> None:
    await ctx.connect()
    await publish_voice(ctx.room)
    threading.Event().wait()
