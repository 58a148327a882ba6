"""The talker in a worker that never sheds load: for tests that need a stock agent to come, whatever runs."""

from __future__ import annotations

from livekit.agents import AgentServer, cli

from tests.live.agents import talker

server = AgentServer(port=0, load_threshold=1.0, load_fnc=lambda: 0.0)
server.rtc_session(talker.entrypoint)


if __name__ == "__main__":
    cli.run_app(server)
