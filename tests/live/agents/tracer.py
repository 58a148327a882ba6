"""An agent that traces by itself, as livekit-agents has it, and tells in an attribute to which trace that
belongs."""

from __future__ import annotations

from livekit.agents import AgentServer, JobContext, cli
from livekit.agents.telemetry import set_tracer_provider, tracer
from opentelemetry.sdk.trace import TracerProvider

server = AgentServer(port=0)


@server.rtc_session()
async def entrypoint(ctx: JobContext) -> None:
    set_tracer_provider(TracerProvider())
    await ctx.connect()
    with tracer.start_as_current_span("of the agent") as span:
        trace_id = f"{span.get_span_context().trace_id:032x}"
    await ctx.room.local_participant.set_attributes({"trace": trace_id})


if __name__ == "__main__":
    cli.run_app(server)
