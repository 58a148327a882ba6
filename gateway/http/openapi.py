"""`/openapi.json`: the routes as OpenAPI 3.1, made from the types that decode requests and encode answers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from gateway.http import shapes, wire
from gateway.http.probes import VERSION
from gateway.http.problems import MEDIA_TYPE

JSON = "application/json"
_SCHEMAS = "#/components/schemas/{name}"
_NOTHING = type(None)
"""An answer without a body."""

PARTICIPANT, OPERATOR, SITE, REPORT, LIVEKIT = "participant", "operator", "site", "report", "livekit"
_SCHEMES = {
    PARTICIPANT: "The participant's token that joins the room (`ROOMKEEPER_JOB_AUTH`).",
    OPERATOR: "A LiveKit token with admin grants: `roomkeeper token --admin`.",
    SITE: "The JWT of the site's own login (`ROOMKEEPER_SITE_SECRET`, `ROOMKEEPER_SITE_JWKS`).",
    REPORT: "The token from the metadata of a session's job.",
    LIVEKIT: "LiveKit's signature of a webhook.",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    method: str
    path: str
    summary: str
    answers: Mapping[int, Any]
    """Type of each answer that is no problem; a string is a media type."""
    body: Any = None
    who: tuple[str, ...] = ()
    """Whose tokens are good for it; () for everybody."""
    problems: tuple[int, ...] = ()
    query: tuple[str, ...] = ()
    example: Mapping[str, Any] = field(default_factory=dict)
    """Of the body."""


_QUERY = {
    "wait": "Seconds, up to 60, to wait for the agent.",
    "access_token": "The token, for a browser's EventSource, which sends no headers of one's own.",
    "room": "The room's name.",
    "identity": "Who joins.",
    "name": "Their name; also their identity when that is not given.",
    "metadata": "Of the participant.",
}
_JOB = (PARTICIPANT, OPERATOR)
_TOKEN = (SITE, OPERATOR)
_SESSION = (PARTICIPANT, OPERATOR)
_BODY = (400, 408, 413)
_STORE = (503,)

OPERATIONS = (
    Operation(
        method="post",
        path="/api/livekit/job",
        summary="Ask for an agent, stop it, or have it replaced",
        body=wire.JobRequest,
        answers={200: shapes.JobAnswer},
        who=_JOB,
        problems=(*_BODY, 401, 403, 409, 429, *_STORE),
        query=("wait",),
        example={"jobType": "start_agent", "roomName": "room-123"},
    ),
    Operation(
        method="get",
        path="/api/livekit/job/{job_id}",
        summary="A job as it is",
        answers={200: shapes.JobAnswer},
        who=_JOB,
        problems=(400, 401, 403, 404, 429, *_STORE),
        query=("wait",),
    ),
    Operation(
        method="get",
        path="/api/livekit/job/{job_id}/events",
        summary="A job as it is, and each change of it, as server-sent events",
        answers={200: "text/event-stream", 204: _NOTHING},
        who=_JOB,
        problems=(401, 403, 404, 429, *_STORE),
        query=("access_token",),
    ),
    Operation(
        method="post",
        path="/start",
        summary="The worker contract: start an agent in a room",
        body=wire.StartRequest,
        answers={200: shapes.StartAnswer},
        who=_JOB,
        problems=(*_BODY, 401, 403, 409, 429, *_STORE),
        example={"roomName": "room-123"},
    ),
    Operation(
        method="post",
        path="/api/token",
        summary="A token to join a room: in our own format, or in LiveKit's for token endpoints",
        body=wire.TokenRequest,
        answers={200: shapes.TokenAnswer, 201: shapes.TokenAnswer},
        who=_TOKEN,
        problems=(*_BODY, 401, 403, 429, *_STORE),
        example={"room_name": "demo", "participant_identity": "alice"},
    ),
    Operation(
        method="get",
        path="/api/token",
        summary="A token to join a room",
        answers={200: shapes.TokenAnswer},
        who=_TOKEN,
        problems=(400, 401, 403, 429, *_STORE),
        query=("room", "identity", "name", "metadata"),
    ),
    Operation(
        method="post",
        path="/api/session/create",
        summary="A room of its own for a visitor, with the agent on its way",
        body=wire.SessionRequest,
        answers={201: shapes.SessionCreated},
        who=_TOKEN,
        problems=(*_BODY, 401, 403, 429, *_STORE),
        query=("wait",),
        example={"language": "de", "instructions": "Ask for the order number first."},
    ),
    Operation(
        method="get",
        path="/api/session/{session_id}",
        summary="A session: who is there, what was said",
        answers={200: shapes.SessionAnswer},
        who=_SESSION,
        problems=(401, 403, 404, 429, *_STORE),
    ),
    Operation(
        method="delete",
        path="/api/session/{session_id}",
        summary="End a session",
        answers={204: _NOTHING},
        who=_SESSION,
        problems=(401, 403, 404, 429, *_STORE),
    ),
    Operation(
        method="post",
        path="/api/session/{session_id}/report",
        summary="What the session's agent tells of it",
        body=wire.ReportRequest,
        answers={204: _NOTHING},
        who=(REPORT,),
        problems=(*_BODY, 401, 403, 404, 429, *_STORE),
        example={"transcript": [{"role": "user", "text": "Hello", "id": "item_1"}]},
    ),
    Operation(
        method="get",
        path="/api/livekit/rooms",
        summary="All rooms, as an operator sees them",
        answers={200: shapes.RoomsAnswer},
        who=(OPERATOR,),
        problems=(401, 403, *_STORE),
    ),
    Operation(
        method="get",
        path="/api/livekit/rooms/{room}",
        summary="One room, as an operator sees it",
        answers={200: shapes.RoomAnswer},
        who=(OPERATOR,),
        problems=(401, 403, 404, *_STORE),
    ),
    Operation(
        method="get",
        path="/api/livekit/replicas",
        summary="The processes that share the store, and what each can take",
        answers={200: shapes.ReplicasAnswer},
        who=(OPERATOR,),
        problems=(401, 403),
    ),
    Operation(
        method="get",
        path="/api/livekit/heard/{room}",
        summary="Whether a webhook of a room that `roomkeeper check` made came here",
        answers={200: shapes.HeardAnswer},
        who=(OPERATOR,),
        problems=(401, 403),
    ),
    Operation(
        method="post",
        path="/api/livekit/webhook",
        summary="LiveKit's webhooks",
        answers={200: _NOTHING},
        who=(LIVEKIT,),
        problems=(400, 401, 408, 413),
    ),
    Operation(method="get", path="/livez", summary="The process answers", answers={200: "text/plain"}),
    Operation(
        method="get",
        path="/readyz",
        summary="Whether work can be sent here",
        answers={200: shapes.ProbeAnswer, 503: shapes.ProbeAnswer},
    ),
    Operation(
        method="get", path="/healthz", summary="The same, always 200", answers={200: shapes.ProbeAnswer}
    ),
    Operation(method="get", path="/metrics", summary="Prometheus", answers={200: "text/plain"}),
)


async def get_openapi(request: Request) -> Response:
    return Response(_DOCUMENT, media_type=JSON)


def document() -> dict[str, Any]:
    """The whole description."""
    types = [o.body for o in OPERATIONS if o.body] + [shapes.Problem]
    types += [t for o in OPERATIONS for t in o.answers.values() if not isinstance(t, str)]
    named = [t for t in dict.fromkeys(types) if t is not _NOTHING]
    _, schemas = msgspec.json.schema_components(named, ref_template=_SCHEMAS)
    paths: dict[str, dict[str, Any]] = {}
    for operation in OPERATIONS:
        paths.setdefault(operation.path, {})[operation.method] = _described(operation)
    schemes = {
        name: {"type": "http", "scheme": "bearer", "bearerFormat": "JWT", "description": words}
        for name, words in _SCHEMES.items()
    }
    schemes[LIVEKIT] = {
        "type": "apiKey",
        "in": "header",
        "name": "Authorization",
        "description": _SCHEMES[LIVEKIT],
    }
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Roomkeeper",
            "version": VERSION,
            "summary": "Exactly one agent in every LiveKit room that wants one.",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "paths": paths,
        "components": {"schemas": schemas, "securitySchemes": schemes},
    }


def _described(operation: Operation) -> dict[str, Any]:
    told: dict[str, Any] = {
        "operationId": _id(operation),
        "summary": operation.summary,
        "responses": {
            **{str(status): _answer(status, kind) for status, kind in operation.answers.items()},
            **{str(status): _problem(status) for status in operation.problems},
        },
    }
    if parameters := [*_path_parameters(operation.path), *map(_query_parameter, operation.query)]:
        told["parameters"] = parameters
    if operation.body is not None:
        content = {"schema": _reference(operation.body), "example": dict(operation.example)}
        told["requestBody"] = {"required": _needs_a_body(operation.body), "content": {JSON: content}}
    told["security"] = [{name: []} for name in operation.who]
    return told


def _needs_a_body(kind: Any) -> bool:
    return any(field.required for field in msgspec.structs.fields(kind))


def _id(operation: Operation) -> str:
    words = [part.strip("{}") for part in operation.path.split("/") if part and part != "api"]
    return "_".join([operation.method, *words])


def _path_parameters(path: str) -> list[dict[str, Any]]:
    names = [part.strip("{}") for part in path.split("/") if part.startswith("{")]
    return [{"name": n, "in": "path", "required": True, "schema": {"type": "string"}} for n in names]


def _query_parameter(name: str) -> dict[str, Any]:
    schema = (
        {"type": "number", "minimum": 0, "maximum": wire.MAX_WAIT} if name == "wait" else {"type": "string"}
    )
    return {"name": name, "in": "query", "description": _QUERY[name], "schema": schema}


def _answer(status: int, kind: Any) -> dict[str, Any]:
    told: dict[str, Any] = {"description": HTTPStatus(status).phrase}
    if isinstance(kind, str):
        told["content"] = {kind: {}}
    elif kind is not _NOTHING:
        told["content"] = {JSON: {"schema": _reference(kind)}}
    return told


def _problem(status: int) -> dict[str, Any]:
    content = {MEDIA_TYPE: {"schema": _reference(shapes.Problem)}}
    return {"description": HTTPStatus(status).phrase, "content": content}


def _reference(kind: Any) -> dict[str, str]:
    return {"$ref": _SCHEMAS.format(name=kind.__name__)}


_DOCUMENT = msgspec.json.encode(document())
