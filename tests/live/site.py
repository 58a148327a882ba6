"""One site: a livekit-server whose webhooks go to one port, and the gateways that take turns on that port."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import os
import socket
import time
from collections.abc import Mapping

from livekit import api

from gateway.settings import Lane
from tests.live.clients import Person
from tests.live.gateway import Gateway
from tests.live.observer import Observer
from tests.livekit_server import KEY, SECRET, LiveKitServer, free_port

FULL = os.environ.get("ROOMKEEPER_LIVE") == "full"
"""`make live-full`: every try that the promises name. Otherwise a bounded number, for each change."""


def tries(full: int, bounded: int) -> int:
    return full if FULL else bounded


LOOK_EVERY = 0.1


class Site:
    """Rooms get names of their own, so that tests can share the server."""

    _numbers = itertools.count(1)

    def __init__(self, *, webhooks: bool = True, key: str = KEY, secret: str = SECRET) -> None:
        self.port = free_port(socket.SOCK_STREAM)
        hook = f"http://127.0.0.1:{self.port}/api/livekit/webhook"
        self.livekit = LiveKitServer(webhook_urls=[hook] if webhooks else [], key=key, secret=secret)
        self.lane: Lane = "dispatch"
        """How its gateways call agents, unless they are told."""

    def gateway(
        self,
        module: str | None,
        *,
        slots: int = 4,
        command: str = "dev",
        env: Mapping[str, str] | None = None,
    ) -> Gateway:
        """A gateway on the site's port; `module` None: the built-in echo agent."""
        env = {"ROOMKEEPER_LAUNCH": self.lane, **(env or {})}
        return Gateway(self.livekit, module, slots=slots, port=self.port, command=command, env=env)

    def observer(self) -> Observer:
        return Observer(self.livekit.http_url, self.livekit.key, self.livekit.secret)

    def api(self) -> api.LiveKitAPI:
        return api.LiveKitAPI(self.livekit.http_url, self.livekit.key, self.livekit.secret)

    def person(self, room: str, *, token: str = "") -> Person:
        return Person(self.livekit.url, self.livekit.key, self.livekit.secret, room, token=token)

    def room(self, what: str) -> str:
        """A name that no other test uses."""
        return f"{what}-{os.getpid()}-{next(self._numbers)}"

    async def end(self, *rooms: str) -> None:
        """Delete the rooms, as an operator would."""
        async with self.api() as livekit:
            for room in rooms:
                with contextlib.suppress(api.TwirpError):  # it has ended already
                    await livekit.room.delete_room(api.DeleteRoomRequest(room=room))

    async def create(self, room: str, *, metadata: str = "", departure_timeout: int = 1) -> str:
        """Create a room that ends so many seconds after its last person left; returns its SID."""
        request = api.CreateRoomRequest(name=room, metadata=metadata, departure_timeout=departure_timeout)
        async with self.api() as livekit:
            return (await livekit.room.create_room(request)).sid

    async def wait_for_end(self, room: str, *, timeout: float) -> None:
        """Wait until LiveKit lists no such room; raises AssertionError."""
        deadline = time.monotonic() + timeout
        async with self.api() as livekit:
            while sids := await _instances(livekit, room):
                assert time.monotonic() < deadline, f"{room} {sids} has not ended after {timeout} s"
                await asyncio.sleep(LOOK_EVERY)

    async def sightings(self, room: str, *, seconds: float) -> set[str]:
        """SIDs under which the room existed at any time in the next `seconds`."""
        deadline = time.monotonic() + seconds
        seen: set[str] = set()
        async with self.api() as livekit:
            while time.monotonic() < deadline:
                seen |= await _instances(livekit, room)
                await asyncio.sleep(LOOK_EVERY)
        return seen

    def rooms(self, what: str, count: int) -> list[str]:
        return [self.room(what) for _ in range(count)]


async def _instances(livekit: api.LiveKitAPI, room: str) -> set[str]:
    answer = await livekit.room.list_rooms(api.ListRoomsRequest(names=[room]))
    return {found.sid for found in answer.rooms}
