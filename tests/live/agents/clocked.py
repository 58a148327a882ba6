"""An agent that tells a clock when it was assigned, when it began and when it left; it joins, and ends its
job.

The clock is a datagram socket at the path in `BENCH_CLOCK`. As a stock worker it is tuned by hand: four
processes warm, and never full.
"""

from __future__ import annotations

import json
import os
import socket
import time

from livekit.agents import AgentServer, JobContext, cli

WARM = 4

server = AgentServer(port=0, num_idle_processes=WARM, load_threshold=1.0, load_fnc=lambda: 0.0)


@server.rtc_session()
async def entrypoint(ctx: JobContext) -> None:
    tell(ctx, "entered", assigned=ctx._info.assigned_at)

    async def left() -> None:
        tell(ctx, "left")

    ctx.add_shutdown_callback(left)
    await ctx.connect()
    ctx.shutdown("done")


def tell(ctx: JobContext, what: str, **more: float) -> None:
    told = {"room": ctx.job.room.name, "what": what, "at": time.time(), **more}
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as clock:
        clock.sendto(json.dumps(told).encode(), os.environ["BENCH_CLOCK"])


if __name__ == "__main__":
    cli.run_app(server)
