"""The two sides that are compared: Roomkeeper, and a stock worker with a bare `CreateDispatch`.

Each has a livekit-server of its own, so that neither hears of the other's rooms; both are up and warm all
the time, and only one is loaded at a time.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Mapping
from typing import Any, Protocol

import psutil
from livekit import api

from gateway.settings import Lane
from tests.live.clients import Person
from tests.live.gateway import Gateway
from tests.live.observer import Observer
from tests.live.site import Site
from tests.live.worker import StockWorker

AGENT_MODULE = "tests.live.agents.beeper"
SETTLE_TIMEOUT = 20.0


class Side(Protocol):
    """One side: a way to call an agent, and an eye on what comes of it."""

    name: str
    agent: str
    site: Site
    observer: Observer

    async def call(self, room: str) -> None:
        """Ask for an agent; returns when the answer is there."""

    async def warm(self, count: int) -> None:
        """Return once so many processes wait for a job."""

    def processes(self) -> list[psutil.Process]:
        """Its worker and all that descends from it."""

    def jobs(self) -> list[psutil.Process]:
        """Those that are in a room."""


class Ours:
    """`POST /api/livekit/job`."""

    def __init__(self, name: str, site: Site, observer: Observer, gateway: Gateway) -> None:
        self.name = name
        self.site = site
        self.observer = observer
        self.agent = gateway.agent
        self._gateway = gateway

    @property
    def url(self) -> str:
        return self._gateway.url

    async def session(self) -> dict[str, Any]:
        """What `POST /api/session/create` answered."""
        answer = await self._gateway.http.post("/api/session/create", json={})
        answer.raise_for_status()
        told: dict[str, Any] = answer.json()
        return told

    async def call(self, room: str) -> None:
        answer = await self._gateway.ask(room)
        if answer.status >= 300:
            raise RuntimeError(f"POST /api/livekit/job: {answer.status} {answer.body}")

    async def warm(self, count: int) -> None:
        await self._gateway.warm(count)

    def processes(self) -> list[psutil.Process]:
        return self._gateway.processes()

    def jobs(self) -> list[psutil.Process]:
        return self._gateway.jobs()


class Stock:
    """A bare `CreateDispatch`, as the documentation of LiveKit shows it."""

    def __init__(
        self, name: str, site: Site, observer: Observer, worker: StockWorker, livekit: api.LiveKitAPI
    ) -> None:
        self.name = name
        self.site = site
        self.observer = observer
        self.agent = worker.agent
        self._worker = worker
        self._livekit = livekit

    async def call(self, room: str) -> None:
        request = api.CreateAgentDispatchRequest(agent_name=self._worker.agent, room=room)
        await self._livekit.agent_dispatch.create_dispatch(request)

    async def warm(self, count: int) -> None:
        await self._worker.warm(count)

    def processes(self) -> list[psutil.Process]:
        return self._worker.processes()

    def jobs(self) -> list[psutil.Process]:
        return self._worker.jobs()


@contextlib.asynccontextmanager
async def ours(
    *,
    slots: int,
    lane: Lane = "dispatch",
    module: str = AGENT_MODULE,
    warm: int = 0,
    env: Mapping[str, str] | None = None,
) -> AsyncIterator[Ours]:
    """Called `ours`, and by its lane where that is the direct one. `warm` 0: as many as slots."""
    site = Site()
    name = "ours" if lane == "dispatch" else lane
    env = {"ROOMKEEPER_LAUNCH": lane, "ROOMKEEPER_WARM": str(warm or "all"), **(env or {})}
    with site.livekit:
        async with (
            site.observer() as observer,
            site.gateway(f"{module}:server", slots=slots, env=env) as gateway,
        ):
            await gateway.warm(warm or slots)
            yield Ours(name, site, observer, gateway)


@contextlib.asynccontextmanager
async def stock(name: str = "stock", module: str = AGENT_MODULE) -> AsyncIterator[Stock]:
    site = Site(webhooks=False)
    with site.livekit:
        async with (
            site.observer() as observer,
            site.api() as livekit,
            StockWorker(site.livekit, module) as worker,
        ):
            yield Stock(name, site, observer, worker, livekit)


async def seconds_to_track(
    side: Side, person: Person, *, timeout: float, other_than: str = ""
) -> float | None:
    """Seconds from the call to the agent's track at the person's client; None when it never came."""
    since = time.monotonic()
    await side.call(person.room_name)
    try:
        track = await person.agent_track(other_than=other_than, since=since, timeout=timeout)
    except AssertionError:
        return None
    return track.at - since


async def clear(side: Side, *rooms: str) -> None:
    """End the rooms, and return when their agents' processes are gone from LiveKit."""
    async with side.site.api() as livekit:
        for room in rooms:
            with contextlib.suppress(api.TwirpError):  # it has ended already
                await livekit.room.delete_room(api.DeleteRoomRequest(room=room))
    await settle(side)
    side.observer.forget(*rooms)


async def settle(side: Side) -> None:
    """Return when the processes that are in a room have ended, or after `SETTLE_TIMEOUT`."""
    await asyncio.to_thread(psutil.wait_procs, side.jobs(), SETTLE_TIMEOUT)
