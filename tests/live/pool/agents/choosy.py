"""An agent with an `on_request` of its own, which does what the job's metadata says."""

from __future__ import annotations

import asyncio

from livekit.agents import AgentServer, JobContext, JobRequest

server = AgentServer()


async def on_request(request: JobRequest) -> None:
    match request.job.metadata.split():
        case ["accept", identity]:
            await request.accept(identity=identity, attributes={"mood": "good"})
        case ["reject"]:
            await request.reject()
        case ["raise"]:
            raise RuntimeError("no")
        case ["hang"]:
            await asyncio.Event().wait()


@server.rtc_session(on_request=on_request)
async def entrypoint(ctx: JobContext) -> None:
    await ctx.connect()
