"""Whether media gets through: a real client joins, and tells by which way it is connected."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from gateway.livekit import tokens
from gateway.operator.line import Finding, fail, ok, warn
from gateway.operator.site import Site

if TYPE_CHECKING:
    from livekit.rtc._proto.stats_pb2 import RtcStats

CONNECT = 12.0
"""Seconds for a client to join; over UDP it takes a fraction of one."""
SPARE = 0.5
"""Seconds before the end of all checks."""
STATS = 3.0
SETTLE = 0.05
OPEN_IT = (
    "open livekit-server's UDP port (`rtc.udp_port`, or `rtc.port_range_start` to `port_range_end`) to this "
    "machine and to your visitors, and see that `rtc.node_ip` or `rtc.use_external_ip` gives an address that "
    "they reach"
)


@dataclass(frozen=True, slots=True)
class Way:
    """The pair of candidates that a connection uses."""

    protocol: str
    """udp or tcp, of the way to LiveKit or to the relay."""
    relayed: bool
    """Through TURN."""
    to: str
    """Address and port at the other end."""


async def media(site: Site) -> Finding:
    """The client stays in the room until all is over: the agent has somebody."""
    from livekit import rtc

    livekit = site.settings.livekit
    token = tokens.mint(
        livekit.api_key, livekit.api_secret, room=site.room, identity="roomkeeper-check", ttl=60.0
    )
    site.person = person = rtc.Room()
    began = time.monotonic()
    try:
        async with asyncio.timeout(max(1.0, min(CONNECT, site.left() - SPARE))):
            await person.connect(livekit.url, token)
    except TimeoutError:
        return fail(f"no client can join: no way for media after {time.monotonic() - began:.0f} s", OPEN_IT)
    except rtc.ConnectError as fault:
        return fail(f"no client can join: {fault}", OPEN_IT)
    return judged(await _way(person), time.monotonic() - began)


def judged(way: Way | None, took_s: float) -> Finding:
    """What follows from the way that a client found. Pure."""
    if way is None:
        return warn("a client joined, and did not tell by which way", "try again")
    found = f"a client joined in {took_s * 1000:.0f} ms"
    if way.relayed:
        return warn(
            f"{found}, through a TURN relay at {way.to} ({way.protocol.upper()}): no direct way is open",
            OPEN_IT,
        )
    if way.protocol != "udp":
        return warn(
            f"{found}, by {way.protocol.upper()} to {way.to}: UDP does not get through. Where packets are "
            "lost, voices will stutter",
            OPEN_IT,
        )
    return ok(f"{found}, by UDP to {way.to}")


async def _way(person: object) -> Way | None:
    from livekit import rtc

    assert isinstance(person, rtc.Room)
    try:
        async with asyncio.timeout(STATS):
            while True:
                told = await person.get_rtc_stats()
                if way := way_of([*told.publisher_stats, *told.subscriber_stats]):
                    return way
                await asyncio.sleep(SETTLE)  # a moment after the join they are not written yet
    except (TimeoutError, RuntimeError):
        return None


def way_of(stats: Iterable[RtcStats]) -> Way | None:
    """The pair of candidates that the connection has chosen. Pure."""
    from livekit.rtc._proto.stats_pb2 import IceCandidateType

    by_id = {getattr(s, kind).rtc.id: s for s in stats if (kind := s.WhichOneof("stats")) is not None}
    for stat in by_id.values():
        chosen = stat.transport.transport.selected_candidate_pair_id  # "" for what is no transport
        if chosen not in by_id:
            continue

        pair = by_id[chosen].candidate_pair.candidate_pair
        if pair.local_candidate_id in by_id and pair.remote_candidate_id in by_id:
            here = by_id[pair.local_candidate_id].local_candidate.candidate
            there = by_id[pair.remote_candidate_id].remote_candidate.candidate
            relay = IceCandidateType.RELAY
            return Way(
                protocol=here.protocol,
                relayed=relay in (here.candidate_type, there.candidate_type),
                to=f"{f'[{there.address}]' if ':' in there.address else there.address}:{there.port}",
            )
    return None
