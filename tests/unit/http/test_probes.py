"""Probes, metrics, the rooms report: the operator's view."""

from __future__ import annotations

import pytest

from gateway.http.probes import Recent
from gateway.keeper.reports import Health
from pool.ports import Capacity
from tests.door import Door, OpenDoor, operator, participant

pytestmark = pytest.mark.anyio


async def test_ready_names_every_check(door: Door) -> None:
    """200 when all of them hold."""
    answer = await door.http.get("/readyz")
    assert answer.status_code == 200
    assert set(answer.json()["checks"]) == {"store", "keeper", "livekit", "worker", "draining", "warm"}
    assert all(check["ok"] for check in answer.json()["checks"].values())


@pytest.mark.parametrize(
    ("capacity", "check"),
    [
        (Capacity(slots=4, warm=4), "worker"),
        (Capacity(slots=4, node_id="ND_1"), "warm"),
        (Capacity(slots=4, warm=4, node_id="ND_1", draining=True), "draining"),
    ],
    ids=["not registered", "cold", "draining"],
)
async def test_a_pool_that_takes_no_jobs_is_not_ready(door: Door, capacity: Capacity, check: str) -> None:
    """503, and the failing check says why; the worker's own health would stay 200 (fact 32)."""
    door.workers.figures = capacity
    answer = await door.http.get("/readyz")
    assert answer.status_code == 503
    failed = {name: c["why"] for name, c in answer.json()["checks"].items() if not c["ok"]}
    assert list(failed) == [check]
    assert failed[check]


async def test_a_full_pool_is_ready(door: Door) -> None:
    """Requests wait in line here: a full house is no fault."""
    door.workers.figures = Capacity(slots=4, running=4, node_id="ND_1")
    assert (await door.http.get("/readyz")).status_code == 200


async def test_a_process_told_to_end_is_not_ready(door: Door) -> None:
    """From the first signal on, before the pool knows."""
    door.draining = True
    assert (await door.http.get("/readyz")).status_code == 503


async def test_livekit_that_cannot_be_reached_is_not_ready(door: Door) -> None:
    """With the words of the one who tried."""
    door.livekit = Health(name="livekit", ok=False, why="no route to host")
    answer = await door.http.get("/readyz")
    assert answer.status_code == 503
    assert answer.json()["checks"]["livekit"] == {"ok": False, "why": "no route to host"}


async def test_alive_and_healthy_answer_200_whatever_is_wrong(door: Door) -> None:
    """A LiveKit that is down is no reason to restart this process."""
    door.livekit = Health(name="livekit", ok=False, why="down")
    assert (await door.http.get("/livez")).status_code == 200
    health = await door.http.get("/healthz")
    assert (health.status_code, health.json()["status"]) == (200, "degraded")


async def test_many_probes_share_one_look() -> None:
    """A probe a second from everybody must not become a call a second for everybody."""
    looks = []

    async def look() -> Health:
        looks.append(1)
        return Health(name="livekit", ok=True)

    recent = Recent(look, keep=60)
    assert [await recent() for _ in range(5)] == [Health(name="livekit", ok=True)] * 5
    assert len(looks) == 1


async def test_requests_are_timed_by_route_not_by_path(door: Door) -> None:
    """A label for each job would grow without bound."""
    await door.http.get("/api/livekit/job/job_1")
    await door.http.get("/nothing/here")
    text = (await door.http.get("/metrics")).text
    assert 'route="/api/livekit/job/{job_id}",status="404"' in text
    assert 'route="unmatched",status="404"' in text
    assert "job_1" not in text


async def test_rooms_are_reported_without_what_is_private(door: Door) -> None:
    """Wants, claims, participants; no metadata."""
    await door.ask("room-1")
    answer = await door.http.get("/api/livekit/rooms")
    [room] = answer.json()["rooms"]
    assert (room["roomName"], room["sid"]) == ("room-1", "RM_1")
    assert room["wants"][0]["jobId"] == "job_1"
    assert "private" not in answer.text


async def test_a_room_is_reported_by_any_name(door: Door) -> None:
    """A room's name may have a slash, and characters that a URL escapes."""
    await door.ask("team a/room ü")
    answer = await door.http.get("/api/livekit/rooms/team%20a/room%20%C3%BC")
    assert (answer.status_code, answer.json()["roomName"]) == (200, "team a/room ü")
    assert (await door.http.get("/api/livekit/rooms/unknown")).status_code == 404


async def test_in_production_the_rooms_are_for_operators(open_door: OpenDoor) -> None:
    """401 without a token, 403 with a participant's, 200 with an operator's."""
    door = open_door(dev=False)
    path = "/api/livekit/rooms"
    assert (await door.http.get(path)).status_code == 401
    assert (await door.http.get(path, headers=participant("room-1"))).status_code == 403
    assert (await door.http.get(path, headers=operator())).status_code == 200
