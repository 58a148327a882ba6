"""Wrong input gets the right status and clear words, and never a 5xx."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
import time
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path

import jwt
import pytest
from livekit import rtc

from tests.live.conftest import Rooms
from tests.live.gateway import Gateway, answer_of
from tests.live.observer import Observer
from tests.live.site import Site

pytestmark = [pytest.mark.anyio, pytest.mark.needs("livekit-server")]

JOB = "/api/livekit/job"
WEBHOOK = "/api/livekit/webhook"
CALM = 1.0


@pytest.fixture(scope="module")
async def gateway(site: Site) -> AsyncIterator[Gateway]:
    async with site.gateway("tests.live.agents.beeper:server", slots=2) as gateway:
        yield gateway


@pytest.mark.parametrize(
    ("body", "status", "field"),
    [
        pytest.param(b"{", 400, None, id="bad JSON"),
        pytest.param(b"[]", 400, None, id="no object"),
        pytest.param(b'{"jobType":"start_agent"}', 400, "roomName", id="missing room"),
        pytest.param(b'{"jobType":"start_agent","roomName":""}', 400, "roomName", id="empty room"),
        pytest.param(b'{"jobType":"start_agent","roomName":7}', 400, "roomName", id="room of a wrong type"),
        pytest.param(
            json.dumps({"jobType": "start_agent", "roomName": "r" * 300}).encode(),
            400,
            "roomName",
            id="300-byte room",
        ),
        pytest.param(b'{"jobType":"dance","roomName":"r"}', 400, "jobType", id="unknown job type"),
    ],
)
async def test_a_wrong_job_request_is_told_its_field(
    gateway: Gateway, body: bytes, status: int, field: str | None
) -> None:
    """A problem with `success: false`, its status, the field at fault (fact 17: LiveKit takes some)."""
    answer = answer_of(await gateway.http.post(JOB, content=body))
    assert answer.status == status
    assert answer.body["success"] is False
    assert answer.body.get("field") == field
    assert answer.body["detail"]


async def test_an_unknown_agent_name_waits_and_says_why(
    site: Site, gateway: Gateway, observer: Observer, rooms: Rooms
) -> None:
    """A name that no worker serves: a true state with its reason, not `joined`, not a 5xx."""
    room = rooms("nobody")
    body = {"jobType": "start_agent", "roomName": room, "payload": {"agentName": "nobody-serves-this"}}
    answer = answer_of(await gateway.http.post(JOB, json=body, params={"wait": CALM}))
    assert answer.job["state"] in {"waiting", "dispatched"}
    assert answer.job["reason"]
    assert observer.agents(room) == frozenset()


async def test_an_unknown_job_is_a_404(gateway: Gateway) -> None:
    """Whoever asks for a job that never was gets a problem, not an empty answer."""
    assert (await gateway.job("no-such-job")).status == 404


async def test_a_webhook_must_be_signed_by_livekit(site: Site, gateway: Gateway) -> None:
    """Unsigned, signed with another secret, or signed for another body: 401. Signed well: 200."""
    body = json.dumps({"event": "room_started", "id": "EV_1", "createdAt": str(int(time.time()))}).encode()
    signed = _signed(body, site.livekit.key, site.livekit.secret)
    refused = {
        "unsigned": {},
        "another secret": {"authorization": _signed(body, site.livekit.key, "another-secret")},
        "another key": {"authorization": _signed(body, "another-key", site.livekit.secret)},
        "another body": {"authorization": _signed(body + b" ", site.livekit.key, site.livekit.secret)},
    }
    for case, headers in refused.items():
        answer = await gateway.http.post(WEBHOOK, content=body, headers={"authorization": "", **headers})
        assert answer.status_code == 401, case
    answer = await gateway.http.post(WEBHOOK, content=body, headers={"authorization": signed})
    assert answer.status_code == 200


async def test_a_token_from_the_gateway_opens_the_room(site: Site, gateway: Gateway, rooms: Rooms) -> None:
    """`POST /api/token` and `GET /api/token` give tokens that livekit-server accepts for that room."""
    name = rooms("token")
    for response in (
        await gateway.http.post("/api/token", json={"identity": "user-1", "room": name}),
        await gateway.http.get("/api/token", params={"room": name, "name": "user-2"}),
    ):
        answer = response.json()
        client = rtc.Room()
        await client.connect(answer["url"], answer["token"])
        assert client.name == answer["room"] == name
        assert client.local_participant.identity == answer["identity"]
        await client.disconnect()


def _signed(body: bytes, key: str, secret: str) -> str:
    """The Authorization header of LiveKit's webhooks (fact 25)."""
    now = int(time.time())
    digest = base64.b64encode(hashlib.sha256(body).digest()).decode()
    return jwt.encode({"iss": key, "nbf": now, "exp": now + 300, "sha256": digest}, secret, algorithm="HS256")


async def test_a_follower_sees_the_agent_come_and_go(gateway: Gateway, rooms: Rooms) -> None:
    """Server-sent events over a real socket: each as it happens, and the stream ends with the job."""
    room = rooms("events")
    ask = {"jobType": "start_agent", "roomName": room}
    job = answer_of(await gateway.http.post(JOB, json=ask)).job
    heard: list[str] = []
    async with gateway.http.stream("GET", f"{JOB}/{job['jobId']}/events", timeout=30) as stream:
        assert stream.headers["content-type"].startswith("text/event-stream")
        async for line in stream.aiter_lines():
            name, _, value = line.partition(": ")
            if name == "event" and value not in heard:
                heard.append(value)
                if value == "joined":
                    await gateway.http.post(JOB, json={**ask, "jobType": "stop_agent"})
    assert heard[-3:] == ["dispatched", "joined", "stopped"]


MIB = 2**20


@pytest.mark.parametrize(
    ("path", "status"), [(JOB, 413), (WEBHOOK, 401), ("/api/token", 413), ("/api/session/create", 413)]
)
@pytest.mark.parametrize("announced", [True, False], ids=["announced", "in chunks"])
async def test_a_body_of_200_mib_is_refused_and_costs_no_memory(
    gateway: Gateway, path: str, status: int, announced: bool
) -> None:
    """Whether its length is told or not, and the process grows by less than 10 MiB meanwhile. A stranger's
    webhook is not read at all."""
    assert await sent(gateway.port, path, announced, pieces=1) < 500  # whatever is made once is there
    forget_peak(gateway.pid)
    before = peak_kib(gateway.pid)
    assert await sent(gateway.port, path, announced, pieces=200) == status
    assert peak_kib(gateway.pid) - before < 10 * 1024


async def sent(port: int, path: str, announced: bool, *, pieces: int) -> int:
    """The status that comes back for so many MiB, which are sent as long as they are taken."""
    length = f"content-length: {pieces * MIB}" if announced else "transfer-encoding: chunked"
    piece = b" " * MIB if announced else b"%x\r\n" % MIB + b" " * MIB + b"\r\n"
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(f"POST {path} HTTP/1.1\r\nhost: x\r\n{length}\r\n\r\n".encode())
        status = asyncio.create_task(reader.readline())
        with suppress(ConnectionError):
            for _ in range(pieces):
                writer.write(piece)
                await writer.drain()
            writer.write(b"" if announced else b"0\r\n\r\n")
        return int((await asyncio.wait_for(status, 10)).split()[1])
    finally:
        writer.close()


def forget_peak(pid: int) -> None:
    """The peak is what the process has now."""
    Path(f"/proc/{pid}/clear_refs").write_text("5")


def peak_kib(pid: int) -> int:
    """The most memory that the process had since its peak was forgotten."""
    line = next(x for x in Path(f"/proc/{pid}/status").read_text().splitlines() if x.startswith("VmHWM"))
    return int(line.split()[1])
