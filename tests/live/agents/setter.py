"""The beeper, in a module that sets a variable while it is imported, as with a `.env.local` of its own."""

from __future__ import annotations

import os

from livekit.agents import AgentServer

from tests.live.agents import beeper

os.environ["FOR_ITS_JOBS"] = "to see"
server = AgentServer(port=0)
server.rtc_session(beeper.entrypoint)
