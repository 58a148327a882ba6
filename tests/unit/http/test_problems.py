"""Every error is a problem (RFC 9457), whoever made it."""

from __future__ import annotations

import pytest

from gateway.keeper.reports import RoomReport
from tests.door import Door, OpenDoor

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/nothing", 404),
        ("POST", "/api/livekit/job/", 404),
        ("GET", "/api/livekit/job/a%0Ab", 404),
        ("DELETE", "/api/token", 405),
        ("PUT", "/api/livekit/job", 405),
        ("POST", "/readyz", 405),
    ],
)
async def test_errors_of_the_router_are_problems_too(door: Door, method: str, path: str, status: int) -> None:
    """Title, status, detail."""
    answer = await door.http.request(method, path)
    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["status"] == status
    assert answer.json()["title"]
    assert answer.json()["detail"]


async def test_a_fault_of_ours_tells_nothing_of_the_inside(
    door: Door, monkeypatch: pytest.MonkeyPatch
) -> None:
    """500 without a stack trace or the exception's words."""

    async def broken() -> list[RoomReport]:
        raise RuntimeError("the password is hunter2")

    monkeypatch.setattr(door.keeper.reports, "rooms", broken)
    answer = await door.http.get("/api/livekit/rooms")
    assert answer.status_code == 500
    assert answer.headers["content-type"] == "application/problem+json"
    assert "hunter2" not in answer.text
    assert "Traceback" not in answer.text


async def test_a_page_of_the_sites_origin_may_resume_a_stream(open_door: OpenDoor) -> None:
    """With a fetch of its own, which can send a token, and so needs to say where it was."""
    door = open_door(dev=False, ROOMKEEPER_CORS_ORIGINS="https://site.example")
    asked = {
        "origin": "https://site.example",
        "access-control-request-method": "GET",
        "access-control-request-headers": "authorization, last-event-id",
    }
    answer = await door.http.options("/api/livekit/job/job_1/events", headers=asked)
    assert answer.status_code == 200


async def test_the_sites_origin_may_call_and_others_may_not(open_door: OpenDoor) -> None:
    """`ROOMKEEPER_CORS_ORIGINS`: a browser's preflight is answered for those alone."""
    door = open_door(ROOMKEEPER_CORS_ORIGINS="https://site.example.com")
    preflight = {"access-control-request-method": "POST", "access-control-request-headers": "authorization"}
    ours = await door.http.options(
        "/api/livekit/job", headers={"origin": "https://site.example.com", **preflight}
    )
    theirs = await door.http.options(
        "/api/livekit/job", headers={"origin": "https://evil.example.com", **preflight}
    )
    assert ours.headers["access-control-allow-origin"] == "https://site.example.com"
    assert "access-control-allow-origin" not in theirs.headers
