"""Webhooks as livekit-server sends them: each with an id of its own, a body of its own, and its signature."""

from __future__ import annotations

import base64
import hashlib
import hmac
import itertools
import json
import time
from collections.abc import Iterator

KEY = "bench-key"
SECRET = "bench-secret-of-32-bytes-or-more"
PATH = "/api/livekit/webhook"

_serial = itertools.count(1)
_HEADER = b'{"alg":"HS256","typ":"JWT"}'

Signed = tuple[str, str]
"""The Authorization header and the body."""


def participant_joined(room: str) -> Signed:
    """Somebody of whom nobody has heard joins the room."""
    return about_person("participant_joined", room, f"person-{next(_serial)}")


def about_person(event: str, room: str, identity: str) -> Signed:
    """A webhook about a person in a room."""
    serial = next(_serial)
    now = int(time.time())
    body = json.dumps(
        {
            "event": event,
            "room": _room(room, serial, now),
            "participant": _participant(serial, identity, now),
            "id": f"EV_bench{serial:09}",
            "createdAt": str(now),
        },
        separators=(",", ":"),
    )
    return sign(body, now), body


def rooms_without_wants() -> Iterator[str]:
    return (f"bench-room-{number:09}" for number in itertools.count(1))


def sign(body: str, now: int) -> str:
    """LiveKit's token for a body (fact 25): HS256 over the base64 of its SHA-256."""
    digest = base64.b64encode(hashlib.sha256(body.encode()).digest()).decode()
    claims = {"iss": KEY, "nbf": now, "exp": now + 300, "sha256": digest}
    signed = _base64(_HEADER) + b"." + _base64(json.dumps(claims, separators=(",", ":")).encode())
    return (signed + b"." + _base64(hmac.new(SECRET.encode(), signed, hashlib.sha256).digest())).decode()


def _room(name: str, serial: int, now: int) -> dict[str, object]:
    return {
        "sid": f"RM_{serial:012}",
        "name": name,
        "emptyTimeout": 300,
        "departureTimeout": 20,
        "creationTime": str(now),
        "creationTimeMs": str(1000 * now),
        "turnPassword": "x" * 44,
        "enabledCodecs": [{"mime": mime} for mime in ("audio/opus", "audio/red", "video/VP8", "video/H264")],
        "numParticipants": 1,
    }


def _participant(serial: int, identity: str, now: int) -> dict[str, object]:
    return {
        "sid": f"PA_{serial:012}",
        "identity": identity,
        "state": "ACTIVE",
        "joinedAt": str(now),
        "joinedAtMs": str(1000 * now),
        "name": f"Person {identity}",
        "version": 2,
        "permission": {"canSubscribe": True, "canPublish": True, "canPublishData": True},
    }


def _base64(data: bytes) -> bytes:
    return base64.urlsafe_b64encode(data).rstrip(b"=")
