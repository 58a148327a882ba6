"""`/api/livekit/job` and `/start`: the frontends' contract, field for field."""

from __future__ import annotations

from typing import Any

import anyio
import pytest

from gateway.keeper.model import State
from gateway.livekit import tokens
from tests.door import Door, OpenDoor, bearer, operator, participant
from tests.hostile import KEY, SECRET

pytestmark = pytest.mark.anyio

RESULT_FIELDS = {
    "jobId",
    "roomName",
    "agentName",
    "state",
    "place",
    "since",
    "reason",
    "agentIdentity",
    "deduplicated",
}


async def test_a_start_answers_with_every_field_of_the_contract(door: Door) -> None:
    """`result` has the nine fields, `since` is ISO 8601 in UTC, `place` 1 is next in line."""
    answer = await door.ask("room-1")

    assert answer.status_code == 200
    body = answer.json()
    assert body["success"] is True
    assert set(body["result"]) == RESULT_FIELDS
    assert body["result"]["since"] == "2023-11-14T22:13:20.000Z"
    assert (body["result"]["state"], body["result"]["place"]) == ("waiting", 1)


async def test_the_documented_request_is_taken_as_it_is(open_door: OpenDoor) -> None:
    """The frontend's full request, `payload` with both fields, reaches the keeper."""
    door = open_door(AGENT_WORKER_URL="https://agents.example.com")
    answer = await door.ask(
        "room-123",
        payload={"agentName": "my-telephony-agent", "workerUrl": "https://agents.example.com"},
    )

    assert answer.status_code == 200
    assert [(a.room, a.agent) for a in door.keeper.asks] == [("room-123", "my-telephony-agent")]


async def test_without_an_agent_name_the_default_agent_comes(open_door: OpenDoor) -> None:
    """`LIVEKIT_AGENT_NAME` names it."""
    door = open_door(LIVEKIT_AGENT_NAME="clerk")
    assert (await door.ask()).json()["result"]["agentName"] == "clerk"


async def test_a_repeated_start_is_the_same_job(door: Door) -> None:
    """A frontend posts on every reconnect: same `jobId`, `deduplicated`."""
    first = (await door.ask()).json()["result"]
    second = (await door.ask()).json()["result"]

    assert first["jobId"] == second["jobId"]
    assert (first["deduplicated"], second["deduplicated"]) == (False, True)


async def test_wait_answers_as_soon_as_the_agent_has_joined(door: Door) -> None:
    """`?wait=` ends with the join, and tells the agent's identity."""
    async with anyio.create_task_group() as tasks:

        async def join() -> None:
            while not door.keeper.known:
                await anyio.lowlevel.checkpoint()
            door.keeper.settle("job_1", State.JOINED, "agent-AJ_1")

        tasks.start_soon(join)
        with anyio.fail_after(5):
            answer = await door.ask(params={"wait": "30"})

    result = answer.json()["result"]
    assert (result["state"], result["agentIdentity"]) == ("joined", "agent-AJ_1")


async def test_wait_answers_at_the_time_when_nobody_comes(door: Door) -> None:
    """A page that waits is told the truth, not kept for ever."""
    with anyio.fail_after(5):
        answer = await door.ask(params={"wait": "0.05"})
    assert answer.json()["result"]["state"] == "waiting"


async def test_a_stop_ends_the_job(door: Door) -> None:
    """`stop_agent` answers with the job that it stopped."""
    started = (await door.ask()).json()["result"]
    stopped = (await door.ask(kind="stop_agent")).json()["result"]
    assert (stopped["jobId"], stopped["state"]) == (started["jobId"], "stopped")


async def test_a_stop_where_nothing_runs_succeeds(door: Door) -> None:
    """A stop is idempotent too."""
    answer = await door.ask(kind="stop_agent")
    assert answer.status_code == 200
    assert set(answer.json()["result"]) == RESULT_FIELDS
    assert answer.json()["result"]["state"] == "stopped"


async def test_a_restart_replaces_the_agent_of_the_same_job(door: Door) -> None:
    """`restart_agent` keeps the job's id."""
    started = (await door.ask()).json()["result"]
    again = (await door.ask(kind="restart_agent")).json()["result"]
    assert (again["jobId"], again["state"]) == (started["jobId"], "replacing")


async def test_a_job_can_be_read_by_its_id(door: Door) -> None:
    """`GET /api/livekit/job/{id}` answers with the same result."""
    started = (await door.ask()).json()["result"]
    read = await door.http.get(f"/api/livekit/job/{started['jobId']}")
    assert read.json() == {"success": True, "result": {**started, "deduplicated": False}}


async def test_payload_metadata_reaches_the_agent(door: Door) -> None:
    """An object becomes the JSON that the agent reads as its job's metadata."""
    await door.ask(payload={"metadata": {"language": "de"}})
    assert door.keeper.asks[0].metadata == '{"language":"de"}'


async def test_the_workers_own_door_starts_the_agent(door: Door) -> None:
    """`POST /start` with `{"roomName","agentName"}` answers `{"success":true,"roomName":...}`."""
    answer = await door.http.post("/start", json={"roomName": "room-1", "agentName": "clerk"})

    assert answer.status_code == 200
    assert (answer.json()["success"], answer.json()["roomName"]) == (True, "room-1")
    assert [(a.room, a.agent) for a in door.keeper.asks] == [("room-1", "clerk")]


WRONG: list[tuple[str, Any, str]] = [
    ("no room", {"jobType": "start_agent"}, "roomName"),
    ("an empty room", {"jobType": "start_agent", "roomName": ""}, "roomName"),
    ("a 300-byte room", {"jobType": "start_agent", "roomName": "x" * 300}, "roomName"),
    ("129 characters of 2 bytes", {"jobType": "start_agent", "roomName": "ä" * 129}, "roomName"),
    ("control characters", {"jobType": "start_agent", "roomName": "a\nb"}, "roomName"),
    ("a number as room", {"jobType": "start_agent", "roomName": 7}, "roomName"),
    ("an unknown job type", {"jobType": "dance", "roomName": "r"}, "jobType"),
    ("no job type", {"roomName": "r"}, "jobType"),
    (
        "an empty agent",
        {"jobType": "start_agent", "roomName": "r", "payload": {"agentName": ""}},
        "payload.agentName",
    ),
    (
        "a long agent",
        {"jobType": "start_agent", "roomName": "r", "payload": {"agentName": "x" * 257}},
        "payload.agentName",
    ),
    (
        "a number as agent",
        {"jobType": "start_agent", "roomName": "r", "payload": {"agentName": 1}},
        "payload.agentName",
    ),
    ("a list as payload", {"jobType": "start_agent", "roomName": "r", "payload": []}, "payload"),
    (
        "too much metadata",
        {"jobType": "start_agent", "roomName": "r", "payload": {"metadata": "x" * (512 * 1024 + 1)}},
        "payload.metadata",
    ),
    (
        "somebody else's worker",
        {"jobType": "start_agent", "roomName": "r", "payload": {"workerUrl": "http://evil.test"}},
        "payload.workerUrl",
    ),
]


@pytest.mark.parametrize(("body", "field"), [w[1:] for w in WRONG], ids=[w[0] for w in WRONG])
async def test_wrong_input_is_answered_with_its_field(door: Door, body: Any, field: str) -> None:
    """LiveKit itself would take an empty or 257-byte room name (fact 17)."""
    answer = await door.http.post("/api/livekit/job", json=body)

    assert answer.status_code == 400
    assert answer.headers["content-type"] == "application/problem+json"
    problem = answer.json()
    assert (problem["field"], problem["success"], problem["status"]) == (field, False, 400)
    assert problem["detail"].startswith(field)
    assert not door.keeper.asks


@pytest.mark.parametrize(
    "body", [b"{", b"[]", b'"x"', b"null", b"\xff\xfe", b'{"roomName": "\\ud800"}', b"[" * 100_000]
)
async def test_a_body_that_is_no_json_object_is_refused(door: Door, body: bytes) -> None:
    """400 in words, whatever the bytes are."""
    answer = await door.http.post("/api/livekit/job", content=body)
    assert answer.status_code == 400
    assert answer.json()["success"] is False


async def test_a_body_over_the_limit_is_refused(door: Door) -> None:
    """413 before all of it is read."""
    answer = await door.http.post("/api/livekit/job", content=b" " * (1024 * 1024 + 1))
    assert answer.status_code == 413


@pytest.mark.parametrize("wait", ["-1", "61", "nan", "soon", "inf"])
async def test_a_wait_out_of_bounds_is_refused(door: Door, wait: str) -> None:
    """0 to 60 seconds."""
    answer = await door.ask(params={"wait": wait})
    assert (answer.status_code, answer.json()["field"]) == (400, "wait")


async def test_an_unknown_job_is_a_404(door: Door) -> None:
    """A problem with `success: false`."""
    answer = await door.http.get("/api/livekit/job/job_nope")
    assert (answer.status_code, answer.json()["success"]) == (404, False)


async def test_a_store_that_is_down_is_said_and_promises_nothing(door: Door) -> None:
    """503 with Retry-After: the request can be repeated without harm."""
    door.keeper.store_down = True
    answer = await door.ask()

    assert answer.status_code == 503
    assert int(answer.headers["retry-after"]) >= 1
    assert answer.json()["success"] is False


async def test_in_production_a_room_token_opens_its_own_room(open_door: OpenDoor) -> None:
    """The token with which a participant joins is all that a frontend needs."""
    door = open_door(dev=False)
    assert (await door.ask("room-1", headers=participant("room-1"))).status_code == 200
    assert (await door.ask("room-2", headers=participant("room-1"))).status_code == 403


async def test_in_production_a_job_is_read_with_its_rooms_token(open_door: OpenDoor) -> None:
    """Another room's participant learns nothing of it."""
    door = open_door(dev=False)
    job = (await door.ask("room-1", headers=operator())).json()["result"]["jobId"]
    path = f"/api/livekit/job/{job}"
    assert (await door.http.get(path, headers=participant("room-1"))).status_code == 200
    assert (await door.http.get(path, headers=participant("room-2"))).status_code == 403


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"authorization": "Bearer nonsense"},
        {"authorization": "Basic YTpi"},
        participant("room-1", secret="another-secret-of-more-than-32-bytes"),
    ],
    ids=["none", "nonsense", "basic", "another secret"],
)
@pytest.mark.parametrize("path", ["/api/livekit/job", "/start"])
async def test_in_production_a_token_that_we_do_not_trust_is_a_401(
    open_door: OpenDoor, headers: dict[str, str], path: str
) -> None:
    """With the challenge that a client needs (RFC 9110)."""
    door = open_door(dev=False)
    body = {"jobType": "start_agent", "roomName": "room-1"}
    answer = await door.http.post(path, json=body, headers=headers)
    assert (answer.status_code, answer.headers["www-authenticate"]) == (401, "Bearer")
    assert answer.json()["success"] is False
    assert not door.keeper.asks


async def test_operators_alone_may_ask_when_the_setting_says_so(open_door: OpenDoor) -> None:
    """`ROOMKEEPER_JOB_AUTH=operator`."""
    door = open_door(dev=False, ROOMKEEPER_JOB_AUTH="operator")
    assert (await door.ask("room-1", headers=participant("room-1"))).status_code == 403
    assert (await door.ask("room-1", headers=operator())).status_code == 200


async def test_no_answer_carries_a_secret(open_door: OpenDoor) -> None:
    """Neither the API secret nor the token that was sent comes back in a problem."""
    door = open_door(dev=False)
    sent = participant("room-1", secret="another-secret-of-more-than-32-bytes")
    text = (await door.ask("room-1", headers=sent)).text
    assert SECRET not in text
    assert sent["authorization"].split()[1] not in text
    assert KEY not in text


@pytest.mark.parametrize("kind", ["start_agent", "stop_agent", "restart_agent"])
async def test_in_production_a_frontend_asks_for_the_agents_that_are_listed(
    open_door: OpenDoor, kind: str
) -> None:
    """403 and which setting; nothing reaches the keeper. An operator may ask for any."""
    door = open_door(dev=False, LIVEKIT_AGENT_NAME="clerk")
    other: dict[str, Any] = {"payload": {"agentName": "butler"}}
    refused = await door.ask("room-1", kind, headers=participant("room-1"), **other)
    assert refused.status_code == 403
    assert refused.json()["field"] == "payload.agentName"
    assert "ROOMKEEPER_AGENTS" in refused.json()["detail"]
    assert door.keeper.asks == []
    assert (await door.ask("room-1", kind, headers=participant("room-1"))).status_code == 200
    assert (await door.ask("room-1", kind, headers=operator(), **other)).status_code == 200


async def test_the_workers_door_has_the_same_list(open_door: OpenDoor) -> None:
    """It is another way to the same agents."""
    door = open_door(dev=False, LIVEKIT_AGENT_NAME="clerk")
    body = {"roomName": "room-1", "agentName": "butler"}
    refused = await door.http.post("/start", json=body, headers=participant("room-1"))
    assert (refused.status_code, refused.json()["field"]) == (403, "agentName")


async def test_a_token_signed_with_an_older_key_is_believed(open_door: OpenDoor) -> None:
    """A rotation: those that are out live on until they expire."""
    door = open_door(dev=False, LIVEKIT_KEYS="older: a-secret-of-last-year-with-over-32-bytes")
    token = tokens.mint("older", "a-secret-of-last-year-with-over-32-bytes", room="r", identity="a", ttl=60)
    assert (await door.ask("r", headers=bearer(token))).status_code == 200
