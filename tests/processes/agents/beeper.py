"""The agent of most rows: signs in, joins, publishes a track, stays. It has no session and hears nothing."""

from __future__ import annotations

from livekit.agents import AgentServer, JobContext

from tests.live.agents.sound import beep, publish_voice
from tests.processes.lives import sign_in

server = AgentServer()


@server.rtc_session()
async def entrypoint(ctx: JobContext) -> None:
    sign_in(f"agent-{ctx.job.id}")
    await ctx.connect()
    await beep(await publish_voice(ctx.room))
