"""An agent that ends its job on purpose, by `ctx.shutdown()`, when somebody says `leave`."""

from __future__ import annotations

from livekit import rtc
from livekit.agents import AgentServer, JobContext, cli

from tests.live.agents.sound import publish_voice

server = AgentServer(port=0)  # its health port; 8081 by default, and taken by the next one
LEAVE = "leave"


@server.rtc_session()
async def entrypoint(ctx: JobContext) -> None:
    def on_data(packet: rtc.DataPacket) -> None:
        if packet.data.decode() == LEAVE:
            ctx.shutdown("the conversation is over")

    ctx.room.on("data_received", on_data)
    await ctx.connect()
    await publish_voice(ctx.room)


if __name__ == "__main__":
    cli.run_app(server)
