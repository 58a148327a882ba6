"""The beeper in a stock worker that never sheds load: what the instruments are tried on."""

from __future__ import annotations

from livekit.agents import AgentServer, cli

from tests.processes.agents import beeper

server = AgentServer(port=0, num_idle_processes=3, load_threshold=1.0, load_fnc=lambda: 0.0)
server.rtc_session(beeper.entrypoint)


if __name__ == "__main__":
    cli.run_app(server)
