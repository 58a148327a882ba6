"""The webhooks of a call's whole life on a real livekit-server are accepted, and say what happened."""

from __future__ import annotations

import random
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import anyio
import pytest
from aiohttp import web
from livekit import api, rtc

from gateway.livekit.webhooks import Event, Rejected, SeenIds, verify
from tests.livekit_server import KEY, SECRET, LiveKitServer

pytestmark = [pytest.mark.anyio, pytest.mark.needs("livekit-server")]

PATIENCE = 15.0
NOISE = random.Random(0).randbytes(960)
"""10 ms of 16-bit sound."""


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@dataclass
class Received:
    url: str = ""
    events: list[Event] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)
    bodies: list[tuple[bytes, str]] = field(default_factory=list)
    failing: bool = False
    """Answer 503, so that LiveKit tries again (fact 24)."""
    published: anyio.Event = field(default_factory=anyio.Event)
    finished: anyio.Event = field(default_factory=anyio.Event)

    async def take(self, request: web.Request) -> web.Response:
        body, authorization = await request.read(), request.headers["Authorization"]
        self.bodies.append((body, authorization))
        try:
            event = verify(body, authorization, {KEY: SECRET}, time.time())
        except Rejected as rejected:
            self.refused.append(rejected.verdict)
            return web.Response(status=401)
        self.events.append(event)
        if self.failing:
            self.failing = False
            return web.Response(status=503)
        if event.event == "track_published":
            self.published.set()
        if event.event == "room_finished":
            self.finished.set()
        return web.Response()


@asynccontextmanager
async def receiver() -> AsyncIterator[Received]:
    received = Received()
    app = web.Application()
    app.router.add_post("/webhook", received.take)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    received.url = f"http://127.0.0.1:{runner.addresses[0][1]}/webhook"
    try:
        yield received
    finally:
        await runner.cleanup()


async def call(server: LiveKitServer, room: str, received: Received) -> None:
    """A person joins, publishes a track, leaves once LiveKit has told of it; returns at the room's end."""
    token = (
        api.AccessToken(KEY, SECRET)
        .with_identity("user-1")
        .with_metadata('{"language":"de"}')
        .with_attributes({"plan": "gold"})
        .with_grants(api.VideoGrants(room_join=True, room=room))
    )
    client = rtc.Room()
    await client.connect(server.url, token.to_jwt())
    microphone = rtc.AudioSource(48_000, 1)
    await client.local_participant.publish_track(
        rtc.LocalAudioTrack.create_audio_track("microphone", microphone)
    )
    with anyio.fail_after(PATIENCE):
        while not received.published.is_set():  # LiveKit tells of a track when its media arrives
            await microphone.capture_frame(rtc.AudioFrame(NOISE, 48_000, 1, 480))
    await client.disconnect()
    with anyio.fail_after(PATIENCE):
        await received.finished.wait()


async def test_every_webhook_of_a_calls_life_is_accepted() -> None:
    """From room_started to room_finished: signature, digest, clock and shape are as we expect (fact 25)."""
    async with receiver() as received:
        with LiveKitServer(webhook_urls=[received.url], extra={"room": {"departure_timeout": 1}}) as server:
            await call(server, "room-1", received)

    assert received.refused == []
    kinds = [e.event for e in received.events]
    assert kinds[0] == "room_started"
    assert kinds[-1] == "room_finished"
    assert {"participant_joined", "track_published", "participant_left"} <= set(kinds)
    assert {(e.room.name, e.room.sid) for e in received.events} == {("room-1", received.events[0].room.sid)}
    joined = next(e for e in received.events if e.event == "participant_joined")
    assert joined.participant is not None
    assert (joined.participant.identity, joined.participant.kind) == ("user-1", "STANDARD")
    assert joined.participant.metadata == '{"language":"de"}'
    assert joined.participant.attributes["plan"] == "gold"
    assert abs(joined.created_at - time.time()) < 60
    left = next(e for e in received.events if e.event == "participant_left")
    assert left.participant is not None
    assert left.participant.disconnect_reason == "CLIENT_INITIATED"


async def test_a_retry_carries_the_same_id() -> None:
    """So a repeat is known as one (facts 24, 25)."""
    async with receiver() as received:
        received.failing = True
        with LiveKitServer(webhook_urls=[received.url], extra={"room": {"departure_timeout": 1}}) as server:
            await call(server, "room-1", received)

    seen = SeenIds()
    repeated = [e.event for e in received.events if seen.repeated(e.id, 0.0)]
    assert repeated == ["room_started"]


async def test_a_real_webhook_on_another_body_is_refused() -> None:
    """A captured header signs nothing else."""
    async with receiver() as received:
        with LiveKitServer(webhook_urls=[received.url], extra={"room": {"departure_timeout": 1}}) as server:
            await call(server, "room-1", received)

    (first, authorization), (other, _) = received.bodies[:2]
    with pytest.raises(Rejected) as refused:
        verify(other, authorization, {KEY: SECRET}, time.time())
    assert refused.value.verdict == "bad_hash"
    assert b"turnPassword" in first  # why a body is never kept
