"""A `workerUrl` is asked when the operator listed it, and leads nowhere else."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from gateway.http import forward
from gateway.http.forward import Forwarder
from gateway.keeper.model import State
from gateway.metrics import Metrics
from tests.door import Door, OpenDoor

pytestmark = pytest.mark.anyio


@dataclass
class Worker:
    """Another worker's own door, or a trap: it remembers who knocked."""

    url: str = ""
    status: int = 200
    answer: bytes = b'{"success":true}'
    delay: float = 0.0
    trickles: bool = False
    """The answer comes in pieces."""
    location: str = ""
    asked: list[tuple[str, Any]] = field(default_factory=list)

    async def take(self, request: web.Request) -> web.StreamResponse:
        self.asked.append((request.path, await request.json()))
        await asyncio.sleep(self.delay)
        if self.trickles:
            stream = web.StreamResponse()
            await stream.prepare(request)
            for at in range(0, len(self.answer), 1000):
                await stream.write(self.answer[at : at + 1000])
                await asyncio.sleep(0)
            return stream
        headers = {"location": self.location} if self.location else {}
        return web.Response(status=self.status, body=self.answer, headers=headers)


@asynccontextmanager
async def listening() -> AsyncIterator[Worker]:
    worker = Worker()
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", worker.take)
    async with TestServer(app) as server:
        worker.url = str(server.make_url("")).rstrip("/")
        yield worker


@pytest.fixture
async def worker() -> AsyncIterator[Worker]:
    async with listening() as worker:
        yield worker


async def ask(door: Door, url: str, **more: Any) -> Any:
    return await door.ask("room-1", payload={"agentName": "clerk", "workerUrl": url}, **more)


async def test_a_listed_worker_is_asked_and_the_room_kept(open_door: OpenDoor, worker: Worker) -> None:
    """The worker contract's own fields; then the want, like any other."""
    door = open_door(ROOMKEEPER_FORWARD_TO=worker.url)
    answer = await ask(door, worker.url + "/")
    assert (answer.status_code, answer.json()["result"]["state"]) == (200, "waiting")
    assert worker.asked == [("/start", {"roomName": "room-1", "agentName": "clerk"})]
    assert [(a.room, a.agent) for a in door.keeper.asks] == [("room-1", "clerk")]


@pytest.mark.parametrize("state", [State.DISPATCHED, State.JOINED])
async def test_a_room_that_is_served_asks_nobody_again(
    open_door: OpenDoor, worker: Worker, state: State
) -> None:
    """A page posts at each reconnect."""
    door = open_door(ROOMKEEPER_FORWARD_TO=worker.url)
    await ask(door, worker.url)
    door.keeper.settle("job_1", state)
    await ask(door, worker.url)
    assert len(worker.asked) == 1


@pytest.mark.parametrize("kind", ["stop_agent", "restart_agent"])
async def test_only_a_start_is_forwarded(open_door: OpenDoor, worker: Worker, kind: str) -> None:
    """The worker contract has no other word."""
    door = open_door(ROOMKEEPER_FORWARD_TO=worker.url)
    assert (await ask(door, worker.url, kind=kind)).status_code == 200
    assert worker.asked == []


async def test_our_own_url_is_not_asked(open_door: OpenDoor, worker: Worker) -> None:
    """No loop: it is we."""
    door = open_door(AGENT_WORKER_URL=worker.url)
    assert (await ask(door, worker.url)).status_code == 200
    assert (await ask(door, "http://roomkeeper.test")).status_code == 200
    assert worker.asked == []


async def test_the_workers_door_forwards_to_nobody(open_door: OpenDoor, worker: Worker) -> None:
    """Two of us that name each other would ask for ever."""
    door = open_door(ROOMKEEPER_FORWARD_TO=worker.url)
    body = {"roomName": "room-1", "agentName": "clerk", "workerUrl": worker.url}
    assert (await door.http.post("/start", json=body)).status_code == 200
    assert worker.asked == []


async def test_whatever_is_not_listed_to_the_letter_is_refused_and_never_touched(
    open_door: OpenDoor, worker: Worker
) -> None:
    """A trap listens at an address that looks like the listed one."""
    async with listening() as trap:
        door = open_door(ROOMKEEPER_FORWARD_TO=worker.url)
        port = trap.url.rpartition(":")[2]
        for url in (
            trap.url,
            f"{worker.url}@127.0.0.1:{port}",
            f"{worker.url}/../x",
            f"{worker.url}/start?x=",
            f"{worker.url}#@127.0.0.1:{port}",
            f"http://localhost:{port}",
            f"http://0x7f000001:{port}",
            f"http://[::1]:{port}",
            f"http://[::ffff:127.0.0.1]:{port}",
            "http://169.254.169.254/latest/meta-data",
            "file:///etc/passwd",
            "gopher://127.0.0.1",
            worker.url.upper(),
            f" {worker.url}",
        ):
            answer = await ask(door, url)
            assert (answer.status_code, answer.json()["field"]) == (400, "payload.workerUrl"), url
        assert trap.asked == []
        assert worker.asked == []
        assert door.keeper.asks == []


async def test_a_redirect_is_not_followed(open_door: OpenDoor, worker: Worker) -> None:
    """Not even to where it says politely; the room is kept all the same."""
    async with listening() as trap:
        worker.status, worker.location = 307, f"{trap.url}/start"
        door = open_door(ROOMKEEPER_FORWARD_TO=worker.url)
        assert (await ask(door, worker.url)).status_code == 200
        assert trap.asked == []
        assert len(door.keeper.asks) == 1


@pytest.mark.parametrize(
    "trouble",
    [
        pytest.param({"status": 500}, id="an error"),
        pytest.param({"answer": b"x" * 70_000}, id="a long answer"),
        pytest.param({"answer": b"x" * 70_000, "trickles": True}, id="a long answer in pieces"),
        pytest.param({"delay": 1.0}, id="slow"),
    ],
)
async def test_a_worker_that_fails_holds_up_nobody_and_the_room_is_kept(
    open_door: OpenDoor, worker: Worker, trouble: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The keeper brings the agent; the metric and the log tell."""
    monkeypatch.setattr(forward, "ANSWER_WITHIN", 0.2)
    for name, value in trouble.items():
        setattr(worker, name, value)
    door = open_door(ROOMKEEPER_FORWARD_TO=worker.url)
    assert (await asyncio.wait_for(ask(door, worker.url), 1.0)).status_code == 200
    assert len(door.keeper.asks) == 1
    told = door.metrics.registry.get_sample_value("roomkeeper_forwards_total", {"outcome": "taken"})
    assert told is None


@pytest.mark.alone
async def test_whoever_waits_for_a_place_waits_no_longer_than_for_an_answer(
    open_door: OpenDoor, worker: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Many starts at a worker that hangs."""
    monkeypatch.setattr(forward, "ANSWER_WITHIN", 1.0)
    worker.delay = 1.5
    door = open_door(ROOMKEEPER_FORWARD_TO=worker.url)
    began = time.monotonic()
    await asyncio.gather(*(ask(door, worker.url) for _ in range(3 * forward.AT_ONCE)))
    assert time.monotonic() - began < 2.0


async def resolve_to(monkeypatch: pytest.MonkeyPatch, *answers: str) -> list[str]:
    """A name server that lies: each question has the next answer."""
    asked: list[str] = []

    async def getaddrinfo(host: str, port: int, **_: object) -> list[Any]:
        asked.append(host)
        address = answers[min(len(asked), len(answers)) - 1]
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port))]

    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", getaddrinfo, raising=False)
    return asked


@pytest.mark.parametrize(
    "address", ["127.0.0.1", "169.254.169.254", "0.0.0.0", "224.0.0.1", "::1", "::ffff:127.0.0.1", "fe80::1"]
)
async def test_a_listed_name_that_leads_to_an_inner_address_is_not_asked(
    worker: Worker, monkeypatch: pytest.MonkeyPatch, address: str
) -> None:
    """Whoever has the name server has not the machine."""
    port = worker.url.rpartition(":")[2]
    forwarder = Forwarder([f"http://agents.example.com:{port}"], Metrics())
    await resolve_to(monkeypatch, address)
    assert not await forwarder.start(f"http://agents.example.com:{port}", "room-1", "clerk")
    assert worker.asked == []


async def test_a_name_is_resolved_once_and_the_connection_goes_there(
    worker: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rebinding: the first answer is looked at, and a second one never asked for."""
    port = worker.url.rpartition(":")[2]
    forwarder = Forwarder([f"http://agents.example.com:{port}"], Metrics())
    monkeypatch.setattr(forward, "ANSWER_WITHIN", 0.3)
    asked = await resolve_to(monkeypatch, "192.0.2.1", "127.0.0.1")
    assert not await forwarder.start(f"http://agents.example.com:{port}", "room-1", "clerk")
    assert asked == ["agents.example.com"]
    assert worker.asked == []
