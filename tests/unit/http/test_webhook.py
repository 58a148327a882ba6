"""`/api/livekit/webhook`: hints come out, and nothing else; what is not LiveKit's is refused."""

from __future__ import annotations

import base64
import hashlib
import json
import time
from typing import Any

import httpx
import jwt
import pytest
import structlog.testing
from starlette.types import Message

from gateway.http.routes import WEBHOOK
from tests.door import Door
from tests.hostile import KEY, SECRET

pytestmark = pytest.mark.anyio

EVENT = {
    "event": "participant_joined",
    "id": "EV_1",
    "createdAt": "1700000000",
    "room": {"sid": "RM_1", "name": "room-1"},
    "participant": {"identity": "alice", "sid": "PA_1"},
}


def signed(body: bytes, *, secret: str = SECRET, key: str = KEY, **claims: Any) -> dict[str, str]:
    now = int(time.time())
    digest = base64.b64encode(hashlib.sha256(body).digest()).decode()
    token = jwt.encode(
        {"iss": key, "nbf": now, "exp": now + 300, "sha256": digest, **claims}, secret, "HS256"
    )
    return {"authorization": token, "content-type": "application/webhook+json"}


async def send(door: Door, event: Any, **claims: Any) -> httpx.Response:
    body = json.dumps(event).encode()
    return await door.http.post("/api/livekit/webhook", content=body, headers=signed(body, **claims))


def counted(door: Door, event: str, verdict: str) -> float:
    value = door.metrics.registry.get_sample_value(
        "roomkeeper_webhooks_total", {"event": event, "verdict": verdict}
    )
    return value or 0.0


async def test_a_signed_event_becomes_a_hint(door: Door) -> None:
    """200 with an empty body; the keeper hears room, SID, who, and that it is a person."""
    await door.ask("room-1")
    answer = await send(door, EVENT)

    assert (answer.status_code, answer.content) == (200, b"")
    [hint] = door.keeper.hints
    assert (hint.event, hint.room, hint.sid) == ("participant_joined", "room-1", "RM_1")
    assert (hint.identity, hint.person) == ("alice", True)
    assert counted(door, "participant_joined", "queued") == 1


@pytest.mark.parametrize(
    "participant",
    [
        {"identity": "agent-1", "kind": "AGENT"},
        {"identity": "recorder", "kind": "EGRESS"},
        {"identity": "avatar", "attributes": {"lk.publish_on_behalf": "agent-1"}},
    ],
    ids=["agent", "recorder", "avatar"],
)
async def test_only_people_are_people(door: Door, participant: dict[str, Any]) -> None:
    """An agent's or a recorder's join calls no agent."""
    await send(door, {**EVENT, "participant": participant})
    assert door.keeper.hints[0].person is False


async def test_why_a_participant_left_is_passed_on(door: Door) -> None:
    """By LiveKit's name of the reason."""
    left = {"identity": "agent-1", "kind": "AGENT", "disconnectReason": "CLIENT_INITIATED"}
    await send(door, {**EVENT, "event": "participant_left", "participant": left})
    assert door.keeper.hints[0].reason == "CLIENT_INITIATED"


async def test_a_job_event_of_a_newer_server_becomes_a_hint_of_its_room(door: Door) -> None:
    """The room is in the job; why it ended, or that LiveKit tries again, is the reason."""
    state = {"status": "JS_FAILED", "participantIdentity": "agent-AJ_1"}
    job = {"id": "AJ_1", "room": {"sid": "RM_1", "name": "room-1"}, "agentName": "echo", "state": state}
    await send(door, {"event": "agent_job_ended", "id": "EV_7", "job": job})
    [hint] = door.keeper.hints
    assert (hint.event, hint.room, hint.sid) == ("agent_job_ended", "room-1", "RM_1")
    assert (hint.identity, hint.person, hint.reason) == ("agent-AJ_1", False, "JS_FAILED")


async def test_a_repeated_event_costs_nothing(door: Door) -> None:
    """LiveKit repeats with the same id (fact 24): 200, and the keeper hears it once."""
    answers = [await send(door, EVENT) for _ in range(3)]
    assert [a.status_code for a in answers] == [200, 200, 200]
    assert len(door.keeper.hints) == 1
    assert counted(door, "participant_joined", "repeated") == 2


async def test_an_event_without_a_room_is_acknowledged(door: Door) -> None:
    """Egress and ingress events carry none."""
    assert (await send(door, {"event": "egress_started", "id": "EV_9"})).status_code == 200
    assert not door.keeper.hints


async def test_an_unsigned_body_is_a_401(door: Door) -> None:
    """In words that say what to check, and counted."""
    answer = await door.http.post("/api/livekit/webhook", json=EVENT)
    assert answer.status_code == 401
    assert answer.headers["content-type"] == "application/problem+json"
    assert counted(door, "unknown", "unsigned") == 1
    assert not door.keeper.hints


@pytest.mark.parametrize(
    "claims",
    [
        {"secret": "another-secret-of-more-than-32-bytes!"},
        {"key": "another-key"},
        {"exp": 1_600_000_000},
        {"sha256": base64.b64encode(b"x" * 32).decode()},
    ],
    ids=["wrong secret", "unknown key", "expired", "another body"],
)
async def test_a_wrong_signature_is_a_401(door: Door, claims: dict[str, Any]) -> None:
    """Whoever signed it, it was not our LiveKit, or not this body, or not now."""
    answer = await send(door, EVENT, **claims)
    assert answer.status_code == 401
    assert not door.keeper.hints
    assert SECRET not in answer.text


@pytest.mark.parametrize("event", [[], "x", 7, {"event": 7}, {}], ids=repr)
async def test_a_signed_body_that_is_no_event_is_a_400(door: Door, event: Any) -> None:
    """The SDK's receiver accepts a signed `[]` (fact 27)."""
    assert (await send(door, event)).status_code == 400
    assert not door.keeper.hints


async def test_a_body_over_the_limit_is_a_413(door: Door) -> None:
    """4 MiB hold every event that LiveKit can send."""

    async def chunks() -> Any:
        for _ in range(65):
            yield b" " * 65536

    answer = await door.http.post("/api/livekit/webhook", content=chunks(), headers=signed(b""))
    assert answer.status_code == 413
    assert counted(door, "unknown", "too_large") == 1


@pytest.mark.parametrize(
    ("headers", "status"),
    [({}, 401), ({"authorization": "x"}, 401), (signed(b"") | {"content-length": "99999999"}, 413)],
    ids=["unsigned", "noise", "announced"],
)
async def test_a_body_that_will_be_refused_is_not_read(
    door: Door, headers: dict[str, str], status: int
) -> None:
    """A thousand strangers with 4 MiB each would fill the memory."""
    sent: list[Message] = []

    async def receive() -> Message:
        raise AssertionError("it was read")

    async def send(message: Message) -> None:
        sent.append(message)

    named = [(name.encode(), value.encode()) for name, value in headers.items()]
    scope = {"type": "http", "method": "POST", "path": WEBHOOK, "headers": named}
    await door.app(scope, receive, send)
    assert sent[0]["status"] == status


async def test_a_body_in_pieces_is_put_together(door: Door) -> None:
    """Servers hand over large bodies in chunks."""
    body = json.dumps(EVENT).encode()

    async def chunks() -> Any:
        for at in range(0, len(body), 16):
            yield body[at : at + 16]

    answer = await door.http.post("/api/livekit/webhook", content=chunks(), headers=signed(body))
    assert answer.status_code == 200
    assert len(door.keeper.hints) == 1


async def test_only_post_is_for_webhooks(door: Door) -> None:
    """405 names what is allowed."""
    answer = await door.http.get("/api/livekit/webhook")
    assert (answer.status_code, answer.headers["allow"]) == (405, "POST")


async def test_a_flood_of_refusals_is_counted_and_not_logged_line_by_line(door: Door) -> None:
    """Whoever knocks does not fill the disk; another kind of knock is heard."""
    with structlog.testing.capture_logs() as logs:
        for _ in range(100):
            await door.http.post("/api/livekit/webhook", content=b"{}")
        await send(door, EVENT, secret="another-secret-of-thirty-two-bytes")
    assert [log["verdict"] for log in logs if log["event"] == "webhook_refused"] == [
        "unsigned",
        "bad_signature",
    ]
    assert counted(door, "unknown", "unsigned") == 100
