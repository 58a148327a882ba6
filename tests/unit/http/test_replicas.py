"""What `roomkeeper check` asks of a gateway: who shares the store, and whether a webhook came."""

from __future__ import annotations

import json

import pytest

from gateway.http.heard import CHECK_ROOMS, KEPT, MOST, Heard
from tests.door import Door, OpenDoor, operator, participant
from tests.unit.http.test_webhook import EVENT, send, signed

pytestmark = pytest.mark.anyio

ROOM = f"{CHECK_ROOMS}1"


async def test_replicas_are_shown_with_what_they_can_take(open_door: OpenDoor) -> None:
    """All that share the store, this one first; and which agent a request without a name means."""
    door = open_door(dev=False)
    told = (await door.http.get("/api/livekit/replicas", headers=operator())).json()
    assert told["defaultAgent"] == "my-telephony-agent"
    assert [(r["replica"], r["agentName"]) for r in told["replicas"]] == [
        ("replica_1", "my-telephony-agent"),
        ("replica_2", "clerk"),
    ]
    assert told["replicas"][0]["free"] == 4


@pytest.mark.parametrize("path", ["/api/livekit/replicas", f"/api/livekit/heard/{ROOM}"])
async def test_they_are_for_operators(open_door: OpenDoor, path: str) -> None:
    """401 without a token, 403 with a participant's."""
    door = open_door(dev=False)
    assert (await door.http.get(path)).status_code == 401
    assert (await door.http.get(path, headers=participant("room-1"))).status_code == 403


async def heard(door: Door, room: str) -> dict[str, object]:
    answer: dict[str, object] = (await door.http.get(f"/api/livekit/heard/{room}")).json()
    return answer


async def test_a_checks_webhook_is_remembered(door: Door) -> None:
    """That of any other room is not."""
    assert (await heard(door, ROOM))["heard"] is False
    for number, name in enumerate((ROOM, "room-1")):
        await send(door, {**EVENT, "id": f"EV_heard_{number}", "room": {"sid": "RM_1", "name": name}})
    assert (await heard(door, ROOM))["heard"] is True
    assert (await heard(door, "room-1"))["heard"] is False


async def test_a_refused_webhook_is_remembered_with_the_reason(door: Door) -> None:
    """So that a check can tell a wrong key from no webhooks at all."""
    body = json.dumps(EVENT).encode()
    await door.http.post("/api/livekit/webhook", content=body, headers=signed(body, key="nobodys-key"))
    [refused] = (await door.http.get(f"/api/livekit/heard/{ROOM}")).json()["refused"]
    assert refused["verdict"] == "unknown_key"
    assert "not ours" in refused["why"]
    assert 0 <= refused["secondsAgo"] < 60


def test_memory_is_bounded() -> None:
    """In time, and in number: the oldest goes first."""
    now = 0.0
    memory = Heard(lambda: now)
    for number in range(MOST + 1):
        memory.note(f"{CHECK_ROOMS}{number}")
    assert not memory.of(f"{CHECK_ROOMS}0")
    assert memory.of(f"{CHECK_ROOMS}1")
    assert memory.of(f"{CHECK_ROOMS}{MOST}")
    memory.note_refusal("expired", "it has expired")
    now = KEPT + 1
    assert not memory.of(f"{CHECK_ROOMS}{MOST}")
    assert memory.refusals() == []
