"""LiveKit's webhooks without I/O: verify the signature, decode what the keeper needs, spot repeats.

A body is never kept: it carries `room.turnPassword` (fact 25). A hint and no more is what comes out (I6).

The header is the bare JWT, as LiveKit sends it (fact 25). `Bearer ` before it is taken off, unlike in the
SDK: proxies add it, and the signature is checked all the same. Base64 is strict, again unlike in the SDK.
"""

from __future__ import annotations

import hashlib
import hmac
from base64 import urlsafe_b64encode
from binascii import a2b_base64
from collections import OrderedDict
from collections.abc import Mapping
from functools import lru_cache
from typing import Literal

import msgspec

from gateway.errors import RoomkeeperError
from gateway.livekit.tokens import LEEWAY

Verdict = Literal[
    "unsigned",
    "bad_token",
    "malformed",
    "bad_algorithm",
    "unknown_key",
    "bad_signature",
    "expired",
    "not_yet_valid",
    "bad_hash",
]
"""Why a webhook was refused; a label for metrics. "malformed": a bad body; the others: bad signatures."""


class Rejected(RoomkeeperError):  # noqa: N818  (an answer, not a mistake of ours)
    """A webhook that is not LiveKit's, or not for us."""

    def __init__(self, verdict: Verdict, message: str) -> None:
        super().__init__(message)
        self.verdict: Verdict = verdict


class EventRoom(msgspec.Struct, frozen=True, rename="camel"):
    name: str = ""
    sid: str = ""


class EventParticipant(msgspec.Struct, frozen=True, rename="camel"):
    identity: str = ""
    sid: str = ""
    kind: str = "STANDARD"
    """LiveKit's name of the kind; protobuf leaves the default out."""
    metadata: str = ""
    attributes: dict[str, str] = {}
    disconnect_reason: str = ""


class EventJobState(msgspec.Struct, frozen=True, rename="camel"):
    status: str = "JS_PENDING"
    """LiveKit's name of the status; protobuf leaves the default out."""
    reason: str = ""
    """JSR_RETRYING: LiveKit itself is about to launch it again."""
    participant_identity: str = ""


class EventJob(msgspec.Struct, frozen=True, rename="camel"):
    """An agent's job, in the agent_job_* events of servers newer than 1.13."""

    id: str = ""
    dispatch_id: str = ""
    agent_name: str = ""
    room: EventRoom = EventRoom()
    state: EventJobState = EventJobState()


class Event(msgspec.Struct, frozen=True, rename="camel"):
    """What happened, as far as the keeper cares."""

    event: str
    """participant_joined, room_finished, ..."""
    id: str = ""
    """The same on every retry of one event (fact 25)."""
    created_at: float = 0.0
    """Seconds since the epoch on LiveKit's clock, whole."""
    room: EventRoom = EventRoom()
    participant: EventParticipant | None = None
    job: EventJob | None = None

    @property
    def about(self) -> EventRoom:
        """The room that it concerns: a job's event names it in the job only."""
        return self.room if self.room.name or self.job is None else self.job.room


class _Header(msgspec.Struct, frozen=True):
    alg: str
    crit: object = None


class _Claims(msgspec.Struct):
    iss: str
    exp: float
    nbf: float = 0.0
    iat: float = 0.0
    sha256: bytes | None = None  # msgspec decodes base64


_header = msgspec.json.Decoder(_Header)
_claims = msgspec.json.Decoder(_Claims)
_event = msgspec.json.Decoder(Event, strict=False)  # protobuf's JSON writes int64 as a string


def verify(body: bytes, authorization: str | None, keys: Mapping[str, str], now: float) -> Event:
    """Check that LiveKit signed this body, and decode it. Raises `Rejected`, as its two steps do."""
    return event_of(body, signed_digest(authorization, keys, now))


def signed_digest(authorization: str | None, keys: Mapping[str, str], now: float) -> bytes:
    """The digest of the body that LiveKit signed: to be known before anything of it is read.

    `keys`: API secret by API key, several while they rotate. `now`: seconds since the epoch.
    Raises `Rejected`.
    """
    claims = _signed_claims(authorization, keys)
    _check_times(claims, now)
    if claims.sha256 is None:
        raise Rejected("bad_hash", "the token has no sha256 claim: it is not a webhook's")
    return claims.sha256


def event_of(body: bytes, digest: bytes) -> Event:
    """The event, if this is the body that was signed. Raises `Rejected`."""
    if not hmac.compare_digest(digest, hashlib.sha256(body).digest()):
        raise Rejected("bad_hash", "the body is not the one that was signed")
    try:
        return _event.decode(_utf8(body))
    except (ValueError, RecursionError, msgspec.DecodeError) as error:
        raise Rejected("malformed", f"the signed body is no webhook event: {error}") from None


def _signed_claims(authorization: str | None, keys: Mapping[str, str]) -> _Claims:
    if not authorization:
        raise Rejected("unsigned", "no Authorization header: LiveKit signs its webhooks, see webhook.api_key")
    try:
        token = authorization.removeprefix("Bearer ").encode("ascii")
        signed, _, signature = token.rpartition(b".")
        header, payload = signed.split(b".")
        head = _head(header)
        claims = _claims.decode(_utf8(_unpad(payload)))
    except (ValueError, RecursionError, msgspec.DecodeError):
        raise Rejected("bad_token", "the Authorization header is no JWT of LiveKit's") from None
    if head.alg != "HS256" or head.crit is not None:
        raise Rejected("bad_algorithm", "the JWT's algorithm is not HS256")
    secret = keys.get(claims.iss)
    if not secret:  # an empty secret would let anybody sign
        raise Rejected(
            "unknown_key", "signed with an API key that is not ours: see LiveKit's webhook.api_key"
        )
    expected = urlsafe_b64encode(hmac.digest(secret.encode(), signed, "sha256")).rstrip(b"=")
    if not hmac.compare_digest(expected, signature):
        raise Rejected(
            "bad_signature", "the signature does not match: is the API secret the same as LiveKit's?"
        )
    return claims


def _check_times(claims: _Claims, now: float) -> None:
    if claims.exp <= now - LEEWAY:
        raise Rejected("expired", "the signature has expired: is this machine's clock right?")
    if max(claims.nbf, claims.iat) > now + LEEWAY:
        raise Rejected("not_yet_valid", "signed in the future: is this machine's clock right?")


@lru_cache(maxsize=16)
def _head(segment: bytes) -> _Header:
    """LiveKit's tokens all have the same header: decoded once."""
    return _header.decode(_utf8(_unpad(segment)))


def _utf8(text: bytes) -> bytes:
    """The same, or ValueError: msgspec does not look into what it passes over."""
    text.decode()
    return text


_URLSAFE = bytes.maketrans(b"-_+/", b"+/!!")  # the plain alphabet's own two become invalid


def _unpad(segment: bytes) -> bytes:
    """Decode base64url without padding."""
    return a2b_base64(segment.translate(_URLSAFE) + b"=" * (-len(segment) % 4), strict_mode=True)


class SeenIds:
    """Remembers event ids for `window` seconds, at most `cap` of them, so that a repeat costs nothing.

    LiveKit repeats an event for 15 s plus the time that the receiver took (fact 24).
    """

    def __init__(self, *, window: float = 120.0, cap: int = 50_000) -> None:
        self._window = window
        self._cap = cap
        self._seen: OrderedDict[str, float] = OrderedDict()  # oldest first

    def __len__(self) -> int:
        return len(self._seen)

    def repeated(self, event_id: str, now: float) -> bool:
        """Whether the id was there within the window; remembers it. An empty id is never a repeat."""
        if not event_id:
            return False
        self._forget(now - self._window)
        if event_id in self._seen:
            return True
        self._seen[event_id] = now
        if len(self._seen) > self._cap:
            self._seen.popitem(last=False)
        return False

    def _forget(self, before: float) -> None:
        while self._seen:
            event_id, seen_at = next(iter(self._seen.items()))
            if seen_at > before:
                return
            del self._seen[event_id]
