"""An agent that forks, as libraries do. What it forked has copies of all that its process has open, and may
outlive it."""

from __future__ import annotations

import os
import threading

from livekit.agents import AgentServer, JobContext

server = AgentServer()


@server.rtc_session()
async def entrypoint(ctx: JobContext) -> None:
    await ctx.connect()
    if os.fork() == 0:
        threading.Event().wait(60)
        os._exit(0)
