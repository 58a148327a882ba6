"""`roomkeeper stop ROOM`: ends a room's agent through the gateway; and the rooms' names, for the shell."""

from __future__ import annotations

import asyncio
import re
import sys

from gateway.http.shapes import RequestedJob
from gateway.operator.door import DoorFault, Gateway, url_of
from gateway.settings import Settings

PATIENCE = 1.0
"""Seconds that a shell waits for names."""
HARMLESS = re.compile(r"[\w.@+:,/-]+")
"""Names that mean nothing to a shell: whoever may make rooms chooses them, and they come into its line."""


def main(settings: Settings, room: str, *, agent: str = "", url: str = "") -> int:
    """Says what happened. Returns 1 when there was nothing to stop. Raises DoorFault."""
    job = asyncio.run(_stop(settings, room, agent, url))
    if job.job_id is None:
        sys.stderr.write(
            f"no agent {job.agent_name!r} is wanted in {room!r}: nothing was stopped. "
            "`roomkeeper rooms` shows who is wanted where.\n"
        )
        return 1
    sys.stdout.write(f"{job.agent_name!r} was stopped in {room!r} ({job.job_id})\n")
    return 0


async def _stop(settings: Settings, room: str, agent: str, url: str) -> RequestedJob:
    async with Gateway(url_of(settings, url), settings.livekit) as gateway:
        return await gateway.order("stop_agent", room, agent)


def names(settings: Settings, begin: str) -> list[str]:
    """The rooms in which an agent is wanted; none when the gateway does not answer at once."""
    try:
        return asyncio.run(_names(settings, begin))
    except (DoorFault, TimeoutError):
        return []


async def _names(settings: Settings, begin: str) -> list[str]:
    async with asyncio.timeout(PATIENCE), Gateway(settings.http.here, settings.livekit) as gateway:
        answer = await gateway.rooms()
    return sorted(
        room.room_name
        for room in answer.rooms
        if room.room_name.startswith(begin)
        and HARMLESS.fullmatch(room.room_name)
        and any(not want.state.ended for want in room.wants)
    )
