"""What the checks share: the settings, the gateway's door, LiveKit's API, and one room that is made for them
and ended again, whatever happens.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import aiohttp
from livekit.api import DeleteRoomRequest, LiveKitAPI

from gateway.http.heard import CHECK_ROOMS
from gateway.livekit.faults import FAULTS, Fault
from gateway.operator.door import DoorFault, Gateway
from gateway.operator.greeting import Heard, listen
from gateway.settings import Settings

if TYPE_CHECKING:
    from livekit import rtc

CLEAN_UP_WITHIN = 5.0
"""Seconds for all of it."""


@dataclass(slots=True, kw_only=True)
class Site:
    settings: Settings
    unfit: Sequence[str]
    """What `start` would refuse in them."""
    gateway: Gateway
    http: aiohttp.ClientSession
    livekit: LiveKitAPI
    agent: str
    """The agent that is asked for; "" for the gateway's default."""
    clock: Callable[[], float]
    """The wall clock."""
    until: float
    """When the checks must be over; monotonic seconds."""
    room: str = field(default_factory=lambda: f"{CHECK_ROOMS}{secrets.token_hex(6)}")
    made_at: float = 0.0
    """When LiveKit was asked to make that room; monotonic seconds, 0 while it was not."""
    person: rtc.Room | None = None
    """Somebody in that room."""
    asked: bool = False
    """An agent was asked for, in that room."""
    _greeting: asyncio.Task[Heard | Fault] | None = None

    async def hear(self) -> Heard | Fault:
        """What LiveKit says to one small signed call. It is made once, whoever asks."""
        if self._greeting is None:
            self._greeting = asyncio.create_task(listen(self.http, self.settings.livekit, self.clock))
        return await asyncio.shield(self._greeting)

    def left(self) -> float:
        """Seconds for the checks."""
        return max(0.0, self.until - time.monotonic())

    async def leave_nothing(self) -> None:
        """The agent is stopped, the person leaves, the room ends. Faults are nobody's: each of them ends by
        its own time-out as well."""

        if self.asked:
            with suppress(DoorFault, TimeoutError):
                async with asyncio.timeout(CLEAN_UP_WITHIN / 2):
                    await self.gateway.order("stop_agent", self.room, self.agent)
        await asyncio.gather(self._leave(), self._end_room())

    async def _leave(self) -> None:
        if self.person is not None:
            await self.person.disconnect()

    async def _end_room(self) -> None:
        if self.made_at:
            with suppress(*FAULTS):
                await self.livekit.room.delete_room(DeleteRoomRequest(room=self.room))


@asynccontextmanager
async def open_site(
    settings: Settings,
    unfit: Sequence[str],
    *,
    url: str,
    agent: str,
    limit: float,
    clock: Callable[[], float] = time.time,
) -> AsyncIterator[Site]:
    """`url`: the gateway's. `agent`: who is asked for, "" for its default. `limit`: seconds for checks."""
    async with AsyncExitStack() as stack:
        gateway = await stack.enter_async_context(Gateway(url, settings.livekit))
        http = await stack.enter_async_context(aiohttp.ClientSession())
        key, secret = settings.livekit.api_key, settings.livekit.api_secret
        livekit = LiveKitAPI(settings.livekit.url, key, secret, session=http, failover=False)
        site = Site(
            settings=settings,
            unfit=unfit,
            gateway=gateway,
            http=http,
            livekit=livekit,
            agent=agent,
            clock=clock,
            until=time.monotonic() + limit,
        )
        try:
            yield site
        finally:
            with suppress(TimeoutError):
                async with asyncio.timeout(CLEAN_UP_WITHIN):
                    await site.leave_nothing()
