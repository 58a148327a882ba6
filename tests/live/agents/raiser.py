"""An agent that raises: after joining while the room's metadata is `raise`, or when somebody says `raise`.

Otherwise it stays, with a track published.
"""

from __future__ import annotations

import asyncio

from livekit import rtc
from livekit.agents import AgentServer, JobContext, cli

from tests.live.agents.sound import publish_voice

server = AgentServer(port=0)  # its health port; 8081 by default, and taken by the next one
RAISE = "raise"


@server.rtc_session()
async def entrypoint(ctx: JobContext) -> None:
    told = asyncio.Event()

    def on_data(packet: rtc.DataPacket) -> None:
        if packet.data.decode() == RAISE:
            told.set()

    ctx.room.on("data_received", on_data)
    await ctx.connect()
    if ctx.room.metadata == RAISE:
        raise RuntimeError("raised because the room's metadata says so")
    await publish_voice(ctx.room)
    await told.wait()
    raise RuntimeError("raised because somebody said so")


if __name__ == "__main__":
    cli.run_app(server)
