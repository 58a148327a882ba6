"""An agent that swallows every cancellation: its process ends by force only (facts 9, 13)."""

from __future__ import annotations

import asyncio
import contextlib

from livekit.agents import AgentServer, JobContext, cli

from tests.live.agents.sound import publish_voice

server = AgentServer(port=0)  # its health port; 8081 by default, and taken by the next one


@server.rtc_session()
async def entrypoint(ctx: JobContext) -> None:
    await ctx.connect()
    await publish_voice(ctx.room)
    while True:
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.Event().wait()


if __name__ == "__main__":
    cli.run_app(server)
