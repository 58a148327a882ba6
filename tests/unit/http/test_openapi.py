"""What is described is what there is."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from openapi_spec_validator import validate
from starlette.routing import Route

from gateway.http.openapi import OPERATIONS, document
from gateway.http.routes import PROBES, ROUTES, WEBHOOK
from tests.door import Door

pytestmark = pytest.mark.anyio


def test_it_is_openapi() -> None:
    """By its own schema."""
    validate(document())


async def test_it_is_served(door: Door) -> None:
    """To everybody: it tells no secret."""
    answer = await door.http.get("/openapi.json")
    assert (answer.status_code, answer.headers["content-type"]) == (200, "application/json")
    assert answer.json()["info"]["title"] == "Roomkeeper"


def test_every_route_is_described_and_no_other() -> None:
    """A new route without words fails here."""
    served = {
        (method.lower(), re.sub(r":path", "", route.path))
        for route in [*ROUTES, *PROBES]
        if isinstance(route, Route)
        for method in (route.methods or set()) - {"HEAD"}
    }
    described = {(o.method, o.path) for o in OPERATIONS}
    assert served - {("get", "/openapi.json")} | {("post", WEBHOOK)} == described


def test_the_words_about_http_name_every_route_and_every_problem() -> None:
    """What is described for programs is told to people, too."""
    words = (Path(__file__).parents[3] / "docs" / "http.md").read_text()
    for operation in OPERATIONS:
        assert operation.path.partition("/{")[0] in words, operation.path
        for status in operation.problems:
            assert f"| {status} |" in words, (operation.path, status)


def test_every_example_is_one() -> None:
    """It is decoded by the type that decodes requests."""
    import msgspec

    for operation in OPERATIONS:
        if operation.body is not None:
            assert operation.example
            msgspec.convert(dict(operation.example), operation.body)


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("post", "/api/livekit/job", {"jobType": "start_agent", "roomName": "room-1"}),
        ("post", "/start", {"roomName": "room-1"}),
        ("post", "/api/token", {}),
        ("post", "/api/session/create", {}),
        ("get", "/api/livekit/rooms", None),
        ("get", "/readyz", None),
        ("get", "/nothing", None),
    ],
)
async def test_an_answer_has_the_described_fields_and_no_other(
    door: Door, method: str, path: str, body: dict[str, Any] | None
) -> None:
    """The same type describes and encodes; this looks at the outside of both."""
    answer = await door.http.request(method, path, json=body)
    told = document()
    operation = told["paths"].get(path, {}).get(method)
    schemas = told["components"]["schemas"]
    if operation is None:
        name = "Problem"
    else:
        content = operation["responses"][str(answer.status_code)]["content"]
        name = content["application/json"]["schema"]["$ref"].rpartition("/")[2]
    properties = schemas[name]["properties"]
    assert set(answer.json()) <= set(properties)
    assert set(schemas[name].get("required", [])) <= set(answer.json())
