"""Agents that a token request names: in `room_config`, in metadata, in attributes. Pure.

Each function returns agent name to metadata for it, and raises InvalidRequest naming the field.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from gateway.errors import InvalidRequest
from gateway.http import wire

MAX_AGENTS = 8
"""A room of a call has one agent, seldom two."""


def in_metadata(metadata: str, default: str, field: str) -> dict[str, str]:
    """`{"agent": true, "language": "de"}` or `{"agent": "name"}`: the agent gets the whole of it.

    Metadata that is no JSON object names nobody: it is the site's own.
    """
    if not metadata.startswith("{"):
        return {}
    try:
        read = msgspec.json.decode(metadata)
    except (msgspec.DecodeError, RecursionError):
        return {}
    match read.get("agent"):
        case None | False:
            return {}
        case True:
            return {default: metadata}
        case str(name):
            return {wire.agent_name(name, field=f"{field}.agent"): metadata}
    raise InvalidRequest(f"{field}.agent: must be true, false or an agent's name.", field=f"{field}.agent")


def in_attributes(attributes: Mapping[str, str], metadata: str, default: str, field: str) -> dict[str, str]:
    """The attribute `agent`: "true", or an agent's name. The agent gets the token's metadata."""
    match attributes.get("agent"):
        case None | "" | "false":
            return {}
        case "true":
            return {default: metadata}
        case name:
            return {wire.agent_name(name, field=f"{field}.agent"): metadata}


def in_room_config(config: dict[str, Any] | None, default: str) -> dict[str, str]:
    """`{"agents": [{"agent_name", "metadata"}]}`; whatever else a room has is not the client's to set.

    Fields at their protobuf default (null, 0, "", []) count as not sent: some SDKs write them out.
    """
    _refuse_others(config or {}, {"agents"}, "room_config")
    agents = (config or {}).get("agents") or []
    if not isinstance(agents, list) or len(agents) > MAX_AGENTS:
        raise InvalidRequest(
            f"room_config.agents: must be a list of at most {MAX_AGENTS}.", field="room_config.agents"
        )
    return dict(_agent(one, default, f"room_config.agents[{at}]") for at, one in enumerate(agents))


def _agent(one: Any, default: str, field: str) -> tuple[str, str]:
    if not isinstance(one, dict):
        raise InvalidRequest(f"{field}: must be an object.", field=field)
    _refuse_others(one, {"agent_name", "metadata"}, field)
    name = _string(one, "agent_name", field)
    metadata = wire.metadata(_string(one, "metadata", field), field=f"{field}.metadata")
    return (wire.agent_name(name, field=f"{field}.agent_name") if name else default), metadata


def _string(one: dict[str, Any], key: str, field: str) -> str:
    value = one.get(key) or ""
    if not isinstance(value, str):
        raise InvalidRequest(f"{field}.{key}: must be a string.", field=f"{field}.{key}")
    return value


def _refuse_others(given: dict[str, Any], allowed: set[str], field: str) -> None:
    for key, value in given.items():
        if key not in allowed and value:
            raise InvalidRequest(
                f"{field}.{key}: is not a field that a client may set.", field=f"{field}.{key}"
            )
