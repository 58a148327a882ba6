"""What becomes of a job, as it happens."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Any

import anyio
import httpx
import pytest

from gateway.http import listeners
from gateway.http.events import event_of
from gateway.http.listeners import Listeners
from gateway.keeper.model import State
from tests.door import Door, OpenDoor, operator, participant

pytestmark = pytest.mark.anyio


def parsed(text: str) -> list[dict[str, Any]]:
    """Events of a stream; comments left out."""
    found = []
    for block in text.replace("\r\n", "\n").split("\n\n"):
        fields = dict(line.split(": ", 1) for line in block.splitlines() if not line.startswith(":"))
        if fields:
            found.append({**fields, "data": json.loads(fields["data"])})
    return found


async def streamed(door: Door, job_id: str, *then: Callable[[], object], **more: Any) -> httpx.Response:
    """The whole stream, `then` happening one after the other meanwhile; it ends with the job."""

    async def happen() -> None:
        for act in then:
            await anyio.sleep(0.05)
            act()

    happening = asyncio.create_task(happen())
    with anyio.fail_after(5):
        answer = await door.http.get(f"/api/livekit/job/{job_id}/events", **more)
    await happening
    return answer


async def test_each_state_is_an_event_until_the_job_has_ended(door: Door) -> None:
    """By name, with what a read of the job answers; now first."""
    await door.ask()
    answer = await streamed(
        door,
        "job_1",
        lambda: door.keeper.settle("job_1", State.DISPATCHED),
        lambda: door.keeper.settle("job_1", State.JOINED, "agent-AJ_1"),
        lambda: door.keeper.settle("job_1", State.FINISHED),
    )
    assert answer.headers["content-type"].startswith("text/event-stream")
    assert answer.headers["cache-control"] == "no-store"
    events = parsed(answer.text)
    assert [e["event"] for e in events] == ["waiting", "dispatched", "joined", "finished"]
    assert [e["data"]["state"] for e in events] == [e["event"] for e in events]
    assert (events[0]["data"]["place"], events[2]["data"]["agentIdentity"]) == (1, "agent-AJ_1")
    assert "deduplicated" not in events[0]["data"]
    assert len({e["id"] for e in events}) == 4


async def test_who_comes_back_when_all_is_told_is_sent_away(door: Door) -> None:
    """204: an EventSource would come back for ever, else."""
    await door.ask()
    door.keeper.settle("job_1", State.STOPPED)
    (last,) = parsed((await streamed(door, "job_1")).text)
    again = await streamed(door, "job_1", headers={"last-event-id": last["id"]})
    assert (again.status_code, again.text) == (204, "")


async def test_an_event_that_is_known_is_not_sent_again(door: Door) -> None:
    """The connection broke, and nothing has happened meanwhile."""
    await door.ask()
    job = await door.keeper.job("job_1")
    assert job is not None
    known = str(event_of(job).id)
    answer = await streamed(
        door,
        "job_1",
        lambda: door.keeper.settle("job_1", State.STOPPED),
        headers={"last-event-id": known},
    )
    assert [e["event"] for e in parsed(answer.text)] == ["stopped"]


async def test_a_browser_may_send_the_token_in_the_url_here_alone(open_door: OpenDoor) -> None:
    """Its EventSource has no headers; elsewhere the URL is no place for a token."""
    door = open_door(dev=False)
    await door.ask("room-1", headers=operator())
    token = participant("room-1")["authorization"].partition(" ")[2]
    door.keeper.settle("job_1", State.STOPPED)
    for path, status in (("/api/livekit/job/job_1/events", 200), ("/api/livekit/job/job_1", 401)):
        assert (await door.http.get(path, params={"access_token": token})).status_code == status
    elsewhere = participant("room-2")["authorization"].partition(" ")[2]
    for wrong, status in (("", 401), ("no.jwt.atall", 401), (elsewhere, 403)):
        answer = await door.http.get("/api/livekit/job/job_1/events", params={"access_token": wrong})
        assert (answer.status_code, answer.headers["content-type"]) == (status, "application/problem+json")


async def test_a_job_that_nobody_knows_has_no_events(door: Door) -> None:
    """404, and no stream."""
    assert (await door.http.get("/api/livekit/job/job_9/events")).status_code == 404


async def test_no_more_may_wait_than_there_is_room_for(door: Door, monkeypatch: pytest.MonkeyPatch) -> None:
    """429 and when to come back; a place that is left is free again."""
    monkeypatch.setattr(listeners, "MOST_IN_ONE", 1)
    await door.ask()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(streamed, door, "job_1")
        await anyio.sleep(0.05)
        for path in ("/api/livekit/job/job_1/events", "/api/livekit/job/job_1?wait=1"):
            refused = await door.http.get(path)
            assert (refused.status_code, refused.headers["retry-after"]) == (429, "2")
        door.keeper.settle("job_1", State.STOPPED)
    assert (await door.http.get("/api/livekit/job/job_1?wait=1")).status_code == 200


async def test_of_several_at_once_no_more_are_let_in_than_may_be(
    door: Door, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The others get a 429, and no stream that ends at once: a browser would come back again and again."""
    monkeypatch.setattr(listeners, "MOST_IN_ONE", 1)
    await door.ask()
    answers: list[httpx.Response] = []

    async def listen() -> None:
        answers.append(await door.http.get("/api/livekit/job/job_1/events"))

    async with anyio.create_task_group() as tasks:
        for _ in range(4):
            tasks.start_soon(listen)
        await anyio.wait_all_tasks_blocked()
        door.keeper.settle("job_1", State.STOPPED)
    assert sorted(answer.status_code for answer in answers) == [200, 429, 429, 429]
    assert (await door.http.get("/api/livekit/job/job_1?wait=1")).status_code == 200


async def test_who_may_not_wait_gets_nothing_begun(door: Door, monkeypatch: pytest.MonkeyPatch) -> None:
    """An answer that says no must not have made a want, or a session."""
    monkeypatch.setattr(listeners, "MOST", 0)
    assert (await door.ask(params={"wait": "1"})).status_code == 429
    assert (await door.http.post("/api/session/create?wait=1", json={})).status_code == 429
    assert door.keeper.asks == []
    assert (await door.ask()).status_code == 200


def test_places_are_counted_by_room_and_in_all(monkeypatch: pytest.MonkeyPatch) -> None:
    """One page that goes mad leaves room for the others."""
    monkeypatch.setattr(listeners, "MOST", 2)
    waiting = Listeners()
    with waiting.one("a"), waiting.one("b"), pytest.raises(Exception, match="Too many"), waiting.one("c"):
        pass
    with waiting.one("c"):
        pass
    assert not waiting._of  # nothing is kept of rooms in which nobody waits
