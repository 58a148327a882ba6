"""An agent that prints."""

from __future__ import annotations

import os

from livekit.agents import AgentServer, JobContext, JobProcess

server = AgentServer()


def setup(process: JobProcess) -> None:
    print("from the setup")


server.setup_fnc = setup


@server.rtc_session()
async def entrypoint(ctx: JobContext) -> None:
    print("from Python")
    os.write(2, b"from beneath\n")
    await ctx.connect()
