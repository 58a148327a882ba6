"""Checks of LiveKit itself: URL, key, clock, whether it makes rooms, which version it is."""

from __future__ import annotations

import asyncio
import re
import time

import aiohttp
from google.protobuf.message import DecodeError
from livekit.api import CreateRoomRequest
from livekit.protocol.rtc import SignalResponse

from gateway.livekit import tokens
from gateway.livekit.faults import FAULTS, Circumstances, Fault, explain
from gateway.local import VERSION
from gateway.operator import greeting
from gateway.operator.line import Finding, fail, ok, warn
from gateway.operator.site import Site

CALL = 6.0
"""Seconds; a room on a broken bus takes 3 to fail (fact 19)."""
EMPTY_TIMEOUT = 60
"""Seconds after which the room ends by itself, should this process be killed."""
NEEDED = VERSION.removeprefix("v")


async def url(site: Site) -> Finding:
    return greeting.reached(await site.hear(), site.settings.livekit)


async def key(site: Site) -> Finding:
    return greeting.key_known(await site.hear(), site.settings.livekit)


async def clock(site: Site) -> Finding:
    return greeting.clock_right(await site.hear())


async def room(site: Site) -> Finding:
    """Makes the room that the other checks use."""
    site.made_at = began = time.monotonic()
    request = CreateRoomRequest(name=site.room, empty_timeout=EMPTY_TIMEOUT)
    try:
        async with asyncio.timeout(CALL):
            made = await site.livekit.room.create_room(request)
    except FAULTS as fault:
        return fail(
            _why("CreateRoom", site, fault).why,
            "see livekit-server's log; with several nodes, whether its Redis answers",
        )
    return ok(f"{site.room} ({made.sid}) was made in {(time.monotonic() - began) * 1000:.0f} ms")


async def version(site: Site) -> Finding:
    """As LiveKit tells it to whoever joins; the one who asks is hidden, and leaves at once."""
    livekit = site.settings.livekit
    token = tokens.mint_agent(
        livekit.api_key, livekit.api_secret, room=site.room, identity="roomkeeper-check-hidden", ttl=60.0
    )
    try:
        async with (
            asyncio.timeout(CALL),
            site.http.ws_connect(
                f"{livekit.url.rstrip('/')}/rtc",
                headers={"authorization": f"Bearer {token}"},
                params={"protocol": 15},
            ) as signal,
        ):
            message = await signal.receive()
            joined = SignalResponse.FromString(message.data) if isinstance(message.data, bytes) else None
    except (aiohttp.ClientError, OSError, DecodeError) as fault:
        return fail(
            f"the API answers, and no websocket opens at {livekit.url}/rtc: {fault or type(fault).__name__}",
            "nobody can join: let the proxy before LiveKit pass websockets (`Upgrade`) on /rtc and /agent",
        )
    return judged(joined.join.server_info.version if joined is not None else "")


def judged(told: str) -> Finding:
    """What follows from the server's version. Pure."""
    if not (numbers := _numbers(told)):
        return warn(
            f"LiveKit did not tell its version{f' in a way that is known: {told}' if told else ''}",
            f"Roomkeeper is tested with livekit-server {NEEDED}",
        )
    if numbers < _numbers(NEEDED):
        return warn(
            f"livekit-server {told} is older than {NEEDED}, with which Roomkeeper is tested",
            "upgrade it: older ones lack what is asked of them, as PerformRpc to tell whether an agent lives",
        )
    return ok(f"livekit-server {told} (tested with {NEEDED})")


def _numbers(told: str) -> tuple[int, ...]:
    found = re.match(r"v?(\d+)\.(\d+)\.(\d+)", told)
    return tuple(int(number) for number in found.groups()) if found else ()


def _why(method: str, site: Site, fault: BaseException) -> Fault:
    return explain(
        fault, Circumstances(method=method, url=site.settings.livekit.url, timeout=CALL, skew=None)
    )
