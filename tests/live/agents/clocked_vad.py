"""The clocked agent with a Silero VAD from its setup, as the examples of livekit-agents have it."""

from __future__ import annotations

from livekit.agents import AgentServer, JobProcess, cli
from livekit.plugins import silero

from tests.live.agents import clocked

server = AgentServer(port=0, num_idle_processes=clocked.WARM, load_threshold=1.0, load_fnc=lambda: 0.0)
server.rtc_session(clocked.entrypoint)


def prewarm(process: JobProcess) -> None:
    process.userdata["vad"] = silero.VAD.load()


server.setup_fnc = prewarm


if __name__ == "__main__":
    cli.run_app(server)
