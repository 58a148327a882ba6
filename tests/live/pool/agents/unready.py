"""An agent whose setup always fails; each try is a line in the file that `TRIES` names."""

from __future__ import annotations

import os
from pathlib import Path

from livekit.agents import AgentServer, JobContext, JobProcess


def setup(_: JobProcess) -> None:
    with Path(os.environ["TRIES"]).open("a") as tries:
        tries.write("tried\n")
    raise RuntimeError("the model is missing")


server = AgentServer(setup_fnc=setup)


@server.rtc_session()
async def entrypoint(ctx: JobContext) -> None:
    await ctx.connect()
