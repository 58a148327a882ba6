"""An agent that raises soon after it joined in rooms named `crash-...`, and stays in all others."""

from __future__ import annotations

from livekit.agents import AgentServer, JobContext

from tests.processes.agents import beeper

CRASH = "crash-"

server = AgentServer()


@server.rtc_session()
async def entrypoint(ctx: JobContext) -> None:
    await beeper.entrypoint(ctx)
    if ctx.room.name.startswith(CRASH):
        raise RuntimeError("raised because of the room's name")
