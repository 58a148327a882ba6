"""The beeper in a worker that never sheds load and has 44 processes warm: as one could tune it by hand.

It shows what the same work takes when a stock worker takes all of it.
"""

from __future__ import annotations

from livekit.agents import AgentServer, cli

from tests.live.agents import beeper

IDLE = 44

server = AgentServer(port=0, num_idle_processes=IDLE, load_threshold=1.0, load_fnc=lambda: 0.0)
server.rtc_session(beeper.entrypoint)


if __name__ == "__main__":
    cli.run_app(server)
