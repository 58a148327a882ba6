"""An agent that tells, as an attribute of its own, what job it was given."""

from __future__ import annotations

import json

from google.protobuf.json_format import MessageToDict
from livekit.agents import AgentServer, JobContext

server = AgentServer()


@server.rtc_session()
async def entrypoint(ctx: JobContext) -> None:
    await ctx.connect()
    await ctx.room.local_participant.set_attributes({"job": json.dumps(MessageToDict(ctx.job))})
