"""An agent that tells in its attributes whom it took its room over from, and what its room is told."""

from __future__ import annotations

import asyncio
import json

from livekit import rtc
from livekit.agents import AgentServer, JobContext, cli

PREDECESSOR = "roomkeeper.predecessor"
STATUS = "roomkeeper.status"

server = AgentServer(port=0)


@server.rtc_session()
async def entrypoint(ctx: JobContext) -> None:
    telling = set[asyncio.Task[None]]()

    def on_data(packet: rtc.DataPacket) -> None:
        if packet.topic == STATUS and (why := json.loads(packet.data)["reason"]):
            telling.add(asyncio.create_task(me.set_attributes({f"told: {why}": "yes"})))

    ctx.room.on("data_received", on_data)
    await ctx.connect()
    me = ctx.room.local_participant
    await me.set_attributes({"predecessor": ctx.job.attributes.get(PREDECESSOR, "")})


if __name__ == "__main__":
    cli.run_app(server)
