"""What `roomkeeper dev` says once it listens: where everything is, and a request that works. Pure."""

from __future__ import annotations

from gateway.http.routes import WEBHOOK
from gateway.settings import Settings


def banner(settings: Settings, *, agent: str, own_livekit: bool) -> str:
    """ "" outside of `dev`: there the log is for machines."""
    if not settings.dev:
        return ""
    here = settings.http.here
    livekit = f"{settings.livekit.url} " + (
        "(started for you; its keys are public)"
        if own_livekit
        else f"(yours: point its webhooks at {here}{WEBHOOK}; without them agents come a little later)"
    )
    job = '{"jobType":"start_agent","roomName":"demo"}'
    return f"""
Roomkeeper    {here}
LiveKit       {livekit}
Agent         {agent}  {_where(settings)}
Probes        {here}/readyz  {here}/metrics  {here}/api/livekit/rooms

Bring the agent into a room, and wait until it is there:
  curl -X POST '{here}/api/livekit/job?wait=10' -H 'content-type: application/json' -d '{job}'
A token to join that room with any LiveKit client:
  curl '{here}/api/token?room=demo&name=me'

Ctrl-C ends all of it.

"""


def _where(settings: Settings) -> str:
    if settings.role == "gateway":
        return "by workers elsewhere (ROOMKEEPER_ROLE=worker)"
    return f"from {settings.pool.target}, {settings.pool.slots} slots"
