"""An agent that loads a Silero VAD, and raises an exception that is named after the model that it got."""

from __future__ import annotations

from livekit.agents import AgentServer, JobContext, JobProcess
from livekit.plugins import silero

server = AgentServer()


def prewarm(process: JobProcess) -> None:
    process.userdata["vad"] = silero.VAD.load()


server.setup_fnc = prewarm


@server.rtc_session()
async def entrypoint(ctx: JobContext) -> None:
    await ctx.connect()
    model = ctx.proc.userdata["vad"]._onnx_session
    raise type(f"Session{id(model)}", (Exception,), {})
