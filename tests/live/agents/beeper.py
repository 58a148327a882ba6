"""An agent for timing: publishes its audio track at once and beeps. It has no session and hears nothing."""

from __future__ import annotations

from livekit.agents import AgentServer, JobContext, cli

from tests.live.agents.sound import beep, publish_voice

server = AgentServer(port=0)  # its health port; 8081 by default, and taken by the next one


@server.rtc_session()
async def entrypoint(ctx: JobContext) -> None:
    await ctx.connect()
    source = await publish_voice(ctx.room)
    await beep(source)


if __name__ == "__main__":
    cli.run_app(server)
