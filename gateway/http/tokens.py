"""Tokens to join a room with: our own two shapes, and LiveKit's standard endpoint format.

Agents named in a request become invitations: the keeper brings them when the person joins. They are taken
out of the token, since LiveKit would dispatch them as well, or ignore them (fact 78).
"""

from __future__ import annotations

import secrets
import time
from dataclasses import dataclass
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from gateway.errors import InvalidRequest
from gateway.http import invitations, shapes, wire
from gateway.http.answers import answer
from gateway.http.auth import TokenCaller
from gateway.http.parts import Parts, parts_of
from gateway.keeper.model import Invitation
from gateway.livekit.tokens import mint

_LIVEKITS_OWN = "lk."
"""Attributes with a meaning to LiveKit: with one of them a person would pass for an agent or its avatar."""
_JOB_IDENTITY = "agent-AJ_"
"""How our agents are called in a room: whoever joins as one puts it out (fact 22)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What a token is to say, whichever way it was asked for."""

    room: str
    identity: str
    name: str
    metadata: str
    attributes: dict[str, str]
    agents: dict[str, str]
    """Agent name to the metadata for it."""


async def get_token(request: Request) -> Response:
    """`?room=paula-demo&name=testuser`; also `identity` and `metadata`."""
    caller = await TokenCaller.of(request)
    query = request.query_params
    body = wire.TokenRequest(
        room=query.get("room"),
        identity=query.get("identity") or query.get("name"),
        name=query.get("name"),
        metadata=query.get("metadata"),
    )
    return answer(await _minted(parts_of(request), body, caller))


async def post_token(request: Request) -> Response:
    """LiveKit's standard format is answered 201, ours 200; both with both sets of fields."""
    caller = await TokenCaller.of(request)
    body = await wire.decode(request, wire.TokenRequest)
    return answer(await _minted(parts_of(request), body, caller), 201 if body.standard else 200)


async def _minted(parts: Parts, body: wire.TokenRequest, caller: TokenCaller) -> shapes.TokenAnswer:
    asked = _asked(body, parts.settings.keeper.default_agent, caller)
    ttl = parts.settings.http.token_ttl
    for agent, metadata in asked.agents.items():
        await parts.keeper.invite(
            Invitation(
                room=asked.room,
                identity=asked.identity,
                agent=agent,
                metadata=metadata,
                expires_at=parts.keeper.now() + ttl,
            )
        )
    return token_of(
        parts,
        room=asked.room,
        identity=asked.identity,
        name=asked.name,
        metadata=asked.metadata,
        attributes=asked.attributes,
    )


def token_of(
    parts: Parts,
    *,
    room: str,
    identity: str,
    name: str = "",
    metadata: str = "",
    attributes: dict[str, str] | None = None,
) -> shapes.TokenAnswer:
    """A token to join that room, as our own clients and LiveKit's SDKs read it."""
    livekit, http = parts.settings.livekit, parts.settings.http
    token = mint(
        livekit.api_key,
        livekit.api_secret,
        room=room,
        identity=identity,
        name=name,
        metadata=metadata,
        attributes=attributes,
        publish=http.publish,
        ttl=http.token_ttl,
    )
    return shapes.TokenAnswer(
        token=token,
        url=livekit.client_url,
        room=room,
        identity=identity,
        participant_token=token,
        server_url=livekit.client_url,
    )


def _asked(body: wire.TokenRequest, default_agent: str, caller: TokenCaller) -> Asked:
    room, room_field = _room(body, caller)
    identity, identity_field = _who(body, caller)
    name, name_field = _either(body, "name", "participant_name")
    metadata, metadata_field = _either(body, "metadata", "participant_metadata")
    attributes, attributes_field = _either(body, "attributes", "participant_attributes")
    carried = wire.metadata(metadata, field=metadata_field, most=wire.MAX_TOKEN_BYTES)
    given = _attributes(attributes or {}, attributes_field)
    agents: dict[str, str] = {}
    for found, field in (
        (invitations.in_metadata(carried, default_agent, metadata_field), f"{metadata_field}.agent"),
        (
            invitations.in_attributes(given, carried, default_agent, attributes_field),
            f"{attributes_field}.agent",
        ),
        (invitations.in_room_config(body.room_config, default_agent), "room_config.agents"),
    ):
        for agent in found:
            caller.may_ask_for(agent, field=field)
        agents |= found
    return Asked(
        room=wire.room_name(room, field=room_field),
        identity=identity_of(identity, identity_field),
        name=wire.text(name, field=name_field, most=wire.MAX_IDENTITY_BYTES) if name else "",
        metadata=carried,
        attributes=given,
        agents=agents,
    )


def _either(body: wire.TokenRequest, ours: str, standard: str) -> tuple[Any, str]:
    """The value under one of its two names, and that name. Both at once would contradict each other."""
    first, second = getattr(body, ours), getattr(body, standard)
    if first is not None and second is not None:
        raise InvalidRequest(f"{standard}: send either {ours} or {standard}.", field=standard)
    return (second, standard) if second is not None else (first, ours)


def _room(body: wire.TokenRequest, caller: TokenCaller) -> tuple[str, str]:
    """The name that was asked for, and may be; the only one that there can be; a fresh one. And its field."""
    room, field = _either(body, "room", "room_name")
    if room:
        caller.may_name(room, field=field)
        return room, field
    return caller.only_room or _fresh_room(), field


def _who(body: wire.TokenRequest, caller: TokenCaller) -> tuple[str, str]:
    identity, field = _either(body, "identity", "participant_identity")
    if identity:
        caller.may_be(identity, field=field)
    return identity or caller.identity or fresh_identity(), field


def fresh_identity() -> str:
    """Of somebody who said nothing of themselves."""
    return f"user-{secrets.token_hex(6)}"


def _fresh_room() -> str:
    """`room-<timestamp>`, in nanoseconds: two visitors of one millisecond must not meet."""
    return f"room-{time.time_ns()}"


def identity_of(identity: str, field: str) -> str:
    """The identity, when a person may have it. Raises InvalidRequest."""
    if identity.startswith(_JOB_IDENTITY):
        raise InvalidRequest(f"{field}: {_JOB_IDENTITY}... are the agents' own identities.", field=field)
    return wire.text(identity, field=field, most=wire.MAX_IDENTITY_BYTES)


def _attributes(attributes: dict[str, str], field: str) -> dict[str, str]:
    for key in attributes:
        if key.startswith(_LIVEKITS_OWN):
            raise InvalidRequest(f"{field}.{key}: {_LIVEKITS_OWN}... is LiveKit's.", field=f"{field}.{key}")
    if sum(len(f"{key}{value}".encode()) for key, value in attributes.items()) > wire.MAX_TOKEN_BYTES:
        raise InvalidRequest(f"{field}: at most {wire.MAX_TOKEN_BYTES} bytes in all.", field=field)
    return attributes
