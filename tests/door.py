"""The front door over a fake keeper, spoken to over HTTP without a socket: for tests of it, and what else
knocks at it."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import httpx
from starlette.types import ASGIApp

from gateway.http.forward import Forwarder
from gateway.http.listeners import Listeners
from gateway.http.parts import Parts
from gateway.http.rates import Rates
from gateway.http.routes import build
from gateway.http.site_login import SiteLogin
from gateway.keeper.reports import Health
from gateway.livekit import tokens
from gateway.metrics import Metrics
from gateway.sessions.sessions import Sessions
from gateway.settings import Settings
from gateway.traces import Traces
from tests.fakes.keeper import FakeKeeper, FakeWorkers
from tests.fakes.livekit import FakeLiveKit
from tests.fakes.sessions import MemorySessions
from tests.hostile import KEY, SECRET

PRODUCTION = {
    "LIVEKIT_URL": "wss://livekit.example.com",
    "LIVEKIT_API_KEY": KEY,
    "LIVEKIT_API_SECRET": SECRET,
}


@dataclass
class Door:
    """One front door and what stands behind it."""

    app: ASGIApp
    http: httpx.AsyncClient
    keeper: FakeKeeper
    workers: FakeWorkers
    metrics: Metrics
    stored: MemorySessions
    world: FakeLiveKit
    livekit: Health = field(default_factory=lambda: Health(name="livekit", ok=True))
    draining: bool = False

    async def ask(self, room: Any = "room-1", kind: Any = "start_agent", **more: Any) -> httpx.Response:
        params, headers = more.pop("params", None), more.pop("headers", None)
        body = {"jobType": kind, "roomName": room, **more}
        return await self.http.post("/api/livekit/job", json=body, params=params, headers=headers)


def bearer(token: str) -> dict[str, str]:
    return {"authorization": f"Bearer {token}"}


def operator() -> dict[str, str]:
    return bearer(tokens.mint_operator(KEY, SECRET, identity="op", ttl=60))


def participant(room: str, secret: str = SECRET) -> dict[str, str]:
    return bearer(tokens.mint(KEY, secret, room=room, identity="alice", ttl=60))


OpenDoor = Callable[..., Door]


def door_of(settings: Settings, world: FakeLiveKit, traces: Traces | None = None) -> Door:
    """The front door as these settings make it; its application is `app`."""
    keeper, workers, metrics, stored = FakeKeeper(), FakeWorkers(), Metrics(), MemorySessions()

    async def probe() -> Health:
        return made.livekit

    parts = Parts(
        settings=settings,
        keeper=keeper,
        workers=workers,
        metrics=metrics,
        keys=settings.livekit.keys,
        sessions=Sessions(stored, keeper, world, keeper.now, retention=settings.http.session_retention),
        forwarder=Forwarder(settings.http.forward_to, metrics),
        site=SiteLogin(settings.site),
        listeners=Listeners(),
        rates=Rates(settings.rates, metrics),
        probe_livekit=probe,
        draining=lambda: made.draining,
        clock=time.time,
        traces=traces,
    )
    app = build(parts)
    transport = httpx.ASGITransport(app=app, raise_app_exceptions=False)
    http = httpx.AsyncClient(transport=transport, base_url="http://roomkeeper.test")
    made = Door(
        app=app, http=http, keeper=keeper, workers=workers, metrics=metrics, stored=stored, world=world
    )
    return made
