"""From the request to the agent in the room is one trace at the collector; without one nothing is slower."""

from __future__ import annotations

import asyncio
import signal
import socket
import time

import pytest
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from gateway.settings import Lane
from tests.live.clients import Person
from tests.live.collector import Collector
from tests.live.conftest import Rooms
from tests.live.site import Site
from tests.livekit_server import free_port

pytestmark = [pytest.mark.anyio, pytest.mark.needs("livekit-server")]

TRACER = "tests.live.agents.tracer:server"
TRACE, CALLER = "ab" * 16, "cd" * 8
NAMES = ("POST /api/livekit/job", "want", "dispatch", "join")
STAGES = ["launched", "entered", "connected"]


def traced(url: str) -> dict[str, str]:
    return {"OTEL_EXPORTER_OTLP_ENDPOINT": url, "OTEL_BSP_SCHEDULE_DELAY": "100", "ROOMKEEPER_LOG": "json"}


def its_spans(spans: list[Span]) -> dict[str, Span]:
    """The trace's spans by name; nothing until all are there."""
    found = {span.name: span for span in spans if span.trace_id.hex() == TRACE}
    return found if found.keys() >= set(NAMES) else {}


def trace_of_agent(person: Person) -> str:
    """What the agent says of itself."""
    others = person.room.remote_participants.values()
    return next((other.attributes["trace"] for other in others if "trace" in other.attributes), "")


async def test_from_the_request_to_the_room_it_is_one_trace(site: Site, lane: Lane, rooms: Rooms) -> None:
    """The caller's own. What the agent traces by itself belongs to it, and so do the log's lines."""
    with Collector() as collector:
        async with site.gateway(TRACER, slots=1, env=traced(collector.url)) as gateway:
            room = rooms("trace")
            async with site.person(room) as person:
                body = {"jobType": "start_agent", "roomName": room, "payload": {"agentName": gateway.agent}}
                headers = {"traceparent": f"00-{TRACE}-{CALLER}-01"}
                await gateway.http.post("/api/livekit/job?wait=15", json=body, headers=headers)
                spans = await asyncio.to_thread(collector.wait_for, its_spans, 10.0)
                deadline = time.monotonic() + 5
                while not trace_of_agent(person):
                    assert time.monotonic() < deadline
                    await asyncio.sleep(0.05)
                assert trace_of_agent(person) == TRACE
            lines = "".join(line for line in gateway.log_tail(200).splitlines() if TRACE in line)
    request, want, dispatch, join = (its_spans(spans)[name] for name in NAMES)
    assert request.parent_span_id.hex() == CALLER
    assert want.parent_span_id == request.span_id
    assert dispatch.parent_span_id == join.parent_span_id == want.span_id
    assert [event.name for event in join.events] == STAGES
    times = [dispatch.end_time_unix_nano, *(event.time_unix_nano for event in join.events)]
    assert times == sorted(times)
    assert want.start_time_unix_nano <= times[0] < times[-1] <= want.end_time_unix_nano
    for event in ("agent_wanted", "agent_dispatched", "job_offered", "agent_joined"):
        assert event in lines


@pytest.mark.alone
@pytest.mark.parametrize("away", ["refused", "silent"])
async def test_a_collector_that_is_away_is_not_felt(site: Site, rooms: Rooms, away: str) -> None:
    """Agents come as ever, requests are answered, and the process ends in time."""
    with socket.create_server(("127.0.0.1", 0)) as silent:  # it takes connections and says nothing
        port = silent.getsockname()[1] if away == "silent" else free_port(socket.SOCK_STREAM)
        env = {**traced(f"http://127.0.0.1:{port}"), "OTEL_BSP_MAX_QUEUE_SIZE": "8"}
        env["OTEL_BSP_MAX_EXPORT_BATCH_SIZE"] = "8"
        async with site.gateway("tests.live.agents.beeper:server", slots=1, env=env) as gateway:
            room = rooms("away")
            job = (await gateway.ask(room, wait=15)).job
            assert job["state"] == "joined"
            for _ in range(50):
                began = time.monotonic()
                await gateway.job(job["jobId"])
                assert time.monotonic() - began < 1.0
            await site.end(room)
            assert await gateway.stop(signal.SIGTERM) == 0
