"""Requests are spans that continue their caller's trace."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator

import pytest
from structlog.contextvars import get_contextvars

from gateway.environment import read
from gateway.keeper.reports import RoomReport
from gateway.traces import Span, Traces
from tests.door import PRODUCTION, Door, bearer, door_of
from tests.fakes.livekit import FakeLiveKit

pytestmark = pytest.mark.anyio

TRACE, CALLER = "ab" * 16, "cd" * 8
GIVEN = {"traceparent": f"00-{TRACE}-{CALLER}-01"}


@pytest.fixture
def told() -> list[Span]:
    return []


@pytest.fixture
async def traced(told: list[Span]) -> AsyncIterator[Door]:
    async with FakeLiveKit(clock=time.time) as world:
        door = door_of(read(PRODUCTION, dev=True), world, Traces(told.append, time.time))
        yield door
        await door.http.aclose()


async def test_a_request_continues_its_callers_trace(traced: Door, told: list[Span]) -> None:
    """And what it asks for continues its own span."""
    await traced.ask(headers=GIVEN)
    (span,) = told
    assert (span.name, span.trace_id, span.parent_id) == ("POST /api/livekit/job", TRACE, CALLER)
    assert span.served
    assert span.attributes["http.response.status_code"] == 200
    (ask,) = traced.keeper.asks
    assert ask.traceparent == f"00-{TRACE}-{span.span_id}-01"


async def test_every_door_to_an_agent_continues_the_trace(traced: Door) -> None:
    """The worker's own, and that of sessions."""
    await traced.http.post("/start", json={"roomName": "r"}, headers=GIVEN)
    await traced.http.post("/api/session/create", json={}, headers=GIVEN)
    await traced.ask(kind="restart_agent", headers=GIVEN)
    assert [ask.traceparent[:36] for ask in traced.keeper.asks] == [f"00-{TRACE}-"] * 3


@pytest.mark.parametrize("given", [{}, {"traceparent": "00-nonsense"}])
async def test_a_request_without_a_trace_begins_one(
    traced: Door, told: list[Span], given: dict[str, str]
) -> None:
    """Nonsense counts as nothing."""
    await traced.ask(headers=given)
    await traced.ask(headers=given)
    assert [span.parent_id for span in told] == ["", ""]
    assert told[0].trace_id != told[1].trace_id


async def test_nothing_secret_is_in_a_span(traced: Door, told: list[Span]) -> None:
    """No token, no query, no path; refused requests are spans as well."""
    await traced.http.get("/api/livekit/job/job_secret?token=eyJsecret", headers=bearer("eyJsecret.a.b"))
    await traced.http.get("/secret?secret")
    assert [span.attributes["http.response.status_code"] for span in told] == [404, 404]
    assert [span.name for span in told] == ["GET /api/livekit/job/{job_id}", "GET"]
    assert "secret" not in repr(told)


async def test_a_fault_of_ours_is_told(traced: Door, told: list[Span]) -> None:
    """503 here: the store is away."""
    traced.keeper.store_down = True
    await traced.ask()
    assert told[0].fault == "answered 503"


async def test_probes_are_no_spans(traced: Door, told: list[Span]) -> None:
    """They come every few seconds, and tell by themselves."""
    for path in ("/livez", "/readyz", "/healthz", "/metrics"):
        await traced.http.get(path)
    assert told == []


async def test_what_is_logged_meanwhile_has_the_trace(traced: Door, monkeypatch: pytest.MonkeyPatch) -> None:
    """And nothing afterwards does."""
    found: list[object] = []

    async def rooms() -> list[RoomReport]:
        found.append(get_contextvars().get("trace_id"))
        return []

    monkeypatch.setattr(traced.keeper.reports, "rooms", rooms)
    await traced.http.get("/api/livekit/rooms", headers=GIVEN)
    assert found == [TRACE]
    assert "trace_id" not in get_contextvars()


async def test_a_traced_page_may_ask(traced: Door) -> None:
    """Browsers ask before they send a header of another origin's script."""
    asked = {
        "origin": "https://page.example",
        "access-control-request-method": "POST",
        "access-control-request-headers": "traceparent,tracestate",
    }
    answer = await traced.http.options("/api/livekit/job", headers=asked)
    assert answer.status_code == 200


async def test_without_tracing_an_ask_has_no_trace(door: Door) -> None:
    """Whatever the caller sends."""
    await door.ask(headers=GIVEN)
    assert door.keeper.asks[0].traceparent == ""
