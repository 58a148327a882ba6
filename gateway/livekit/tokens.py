"""LiveKit's tokens: for participants and operators, made and checked. LiveKit's own format and keys, there is
no second secret system.

Agents are never named in a token: LiveKit would dispatch them besides the keeper, or ignore them (fact 78).
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import jwt
from livekit.api import AccessToken, VideoGrants

from gateway.errors import RoomkeeperError

LEEWAY = 60.0
"""Seconds of clock difference that LiveKit itself allows (fact 85)."""


_REPORTS = "roomkeeper.reports"
"""The claim that names the one session."""


class InvalidToken(RoomkeeperError):  # noqa: N818  (a caller's fault, answered)
    """Not a token that we accept; the text says why, and never contains the token."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Grants:
    """What a token's bearer may do."""

    identity: str = ""
    joins: str = ""
    """The one room that they may join; "" for none."""
    is_operator: bool = False
    """Administers every room: room admin, create and list, restricted to none."""


def mint(
    key: str,
    secret: str,
    *,
    room: str,
    identity: str,
    name: str = "",
    metadata: str = "",
    attributes: Mapping[str, str] | None = None,
    publish: Sequence[str] = (),
    ttl: float,
) -> str:
    """A token to join that room and no other, to publish, subscribe and send data. `ttl` in seconds;
    `publish`: LiveKit's track sources that it allows, () for all.

    Raises ValueError when `room` or `identity` is empty.
    """
    grants = VideoGrants(room_join=True, room=room)
    if publish:
        grants.can_publish_sources = list(publish)
    token = _token(key, secret, identity, ttl).with_name(name).with_metadata(metadata).with_grants(grants)
    if attributes:
        token.with_attributes(dict(attributes))
    return token.to_jwt()


def mint_agent(key: str, secret: str, *, room: str, identity: str, ttl: float) -> str:
    """A token to join as an agent that nobody sees, hears or counts. `ttl` in seconds."""
    grants = VideoGrants(room_join=True, room=room, hidden=True, can_publish=False, can_subscribe=False)
    return _token(key, secret, identity, ttl).with_kind("agent").with_grants(grants).to_jwt()


def mint_operator(key: str, secret: str, *, identity: str, ttl: float) -> str:
    """A token for Roomkeeper's operator routes, and for LiveKit's own room API. `ttl` in seconds."""
    grants = VideoGrants(
        room_admin=True,
        room_create=True,
        room_list=True,
        can_publish=False,
        can_subscribe=False,
        can_publish_data=False,
    )
    return _token(key, secret, identity, ttl).with_grants(grants).to_jwt()


def mint_report(key: str, secret: str, *, session: str, ttl: float, now: float) -> str:
    """A token to report for one session, and for nothing else: LiveKit lets nobody join with it. `ttl` in
    seconds; `now`: seconds since the epoch."""
    claims = {"iss": key, "sub": "report", "nbf": int(now - LEEWAY), "exp": int(now + ttl), _REPORTS: session}
    return jwt.encode(claims, secret, "HS256")


def verify_report(token: str, keys: Mapping[str, str], now: float) -> str:
    """The session that the token is for. Raises `InvalidToken`."""
    claims = _signed_claims(token, keys)
    _check_times(claims, now)
    session = claims.get(_REPORTS)
    if not isinstance(session, str) or not session:
        raise InvalidToken("it is not for a session's reports")
    return session


def _token(key: str, secret: str, identity: str, ttl: float) -> AccessToken:
    return AccessToken(key, secret).with_identity(identity).with_ttl(timedelta(seconds=ttl))


def issuer_of(token: str) -> str:
    """The API key that a token says it was signed with; "" when it says none. Believed by nobody."""
    try:
        issuer = jwt.decode(token, options={"verify_signature": False}).get("iss")
    except (jwt.InvalidTokenError, ValueError, RecursionError):
        return ""
    return issuer if isinstance(issuer, str) else ""


def verify(token: str, keys: Mapping[str, str], now: float) -> Grants:
    """Check a token and read its grants. `keys`: API secret by API key; `now`: seconds since the epoch.

    Raises `InvalidToken`.
    """
    claims = _signed_claims(token, keys)
    _check_times(claims, now)
    identity, video = claims.get("sub", ""), claims.get("video", {})
    if not isinstance(identity, str) or not isinstance(video, dict):
        raise InvalidToken("its claims are not LiveKit's")
    room = video.get("room", "")
    return Grants(
        identity=identity,
        joins=room if video.get("roomJoin") is True and isinstance(room, str) else "",
        is_operator=not room and all(video.get(g) is True for g in ("roomAdmin", "roomCreate", "roomList")),
    )


def _signed_claims(token: str, keys: Mapping[str, str]) -> dict[str, Any]:
    try:
        issuer = jwt.decode(token, options={"verify_signature": False}).get("iss")
        secret = keys.get(issuer) if isinstance(issuer, str) else None
        if not secret:  # an empty secret would let anybody sign
            raise InvalidToken("it was signed with an API key that is not ours")
        return jwt.decode(
            token,
            secret,
            algorithms=["HS256"],
            # the times are checked below, against the caller's clock
            options={"require": ["exp"], "verify_exp": False, "verify_nbf": False, "verify_iat": False},
        )
    except jwt.InvalidSignatureError:
        raise InvalidToken("its signature does not match") from None
    except jwt.MissingRequiredClaimError:
        raise InvalidToken("it never expires") from None
    except jwt.InvalidAlgorithmError:
        raise InvalidToken("its algorithm is not HS256") from None
    except (jwt.InvalidTokenError, ValueError, RecursionError):
        raise InvalidToken("it is no JWT of LiveKit's") from None


def _check_times(claims: Mapping[str, Any], now: float) -> None:
    if _time(claims, "exp") <= now - LEEWAY:
        raise InvalidToken("it has expired")
    if max(_time(claims, "nbf"), _time(claims, "iat")) > now + LEEWAY:
        raise InvalidToken("it is not valid yet: is this machine's clock right?")


def _time(claims: Mapping[str, Any], name: str) -> float:
    value = claims.get(name, 0)
    if not isinstance(value, bool) and isinstance(value, int | float):
        with contextlib.suppress(OverflowError):  # an int of hundreds of digits
            if math.isfinite(value):
                return value
    raise InvalidToken(f"its {name} is no time")
