"""An agent that raises before it has joined."""

from __future__ import annotations

from livekit.agents import AgentServer, JobContext

server = AgentServer()


@server.rtc_session()
async def entrypoint(ctx: JobContext) -> None:
    raise RuntimeError("the key of the model's provider is missing")
