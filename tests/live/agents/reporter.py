"""An agent that reports of its session: beeps, and tells its person's name and a questionnaire."""

from __future__ import annotations

import json

import aiohttp
from livekit.agents import AgentServer, JobContext, cli

from tests.live.agents.sound import beep, publish_voice

server = AgentServer(port=0)


@server.rtc_session()
async def entrypoint(ctx: JobContext) -> None:
    await ctx.connect()
    told = json.loads(ctx.job.metadata)
    source = await publish_voice(ctx.room)
    person = await ctx.wait_for_participant()
    report = {
        "transcript": [{"id": "1", "role": "assistant", "text": f"{told['language']}: {person.identity}?"}],
        "questionnaire": {"asked": told["instructions"]},
    }
    headers = {"Authorization": f"Bearer {told['session']['token']}"}
    async with aiohttp.ClientSession(headers=headers) as http:
        (await http.post(told["session"]["report"], json=report)).raise_for_status()
    await beep(source)


if __name__ == "__main__":
    cli.run_app(server)
