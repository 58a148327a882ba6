"""A front door for each test."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator

import pytest

from gateway.environment import read
from tests.door import PRODUCTION, Door, OpenDoor, door_of
from tests.fakes.livekit import FakeLiveKit


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
async def open_door() -> AsyncIterator[OpenDoor]:
    """Builds a door from settings; `dev` ones unless told otherwise."""
    doors: list[Door] = []
    async with FakeLiveKit(clock=time.time) as world:

        def build_door(*, dev: bool = True, **env: str) -> Door:
            settings = read({**PRODUCTION, **env}, dev=dev)
            door = door_of(settings, world)
            doors.append(door)
            return door

        yield build_door
        for door in doors:
            await door.http.aclose()


@pytest.fixture
def door(open_door: OpenDoor) -> Door:
    return open_door()
