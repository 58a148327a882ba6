"""The lines from one simulated replica to LiveKit and to the store: where its calls wait while the replica
stands still, and where it can be cut off. Implements the keeper's ports.
"""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from typing import TypeVar

import anyio

from gateway.keeper.model import Dispatch, Participant, Room, Unknown
from tests.fakes.livekit import LiveKitLink

T = TypeVar("T")

CALL_TIMEOUT = 2.0
"""Seconds after which a call into a cut line is given up."""


class Pause:
    """Whether a replica stands still: whoever acts for it waits until it goes on."""

    def __init__(self) -> None:
        self._on = False
        self._over = anyio.Event()

    def begin(self) -> None:
        self._on = True
        self._over = anyio.Event()

    def end(self) -> None:
        self._on = False
        self._over.set()

    async def pass_by(self) -> None:
        while self._on:
            await self._over.wait()


class LiveKitLine:
    """One replica's way to LiveKit's API. Implements `gateway.keeper.ports.LiveKit`."""

    def __init__(self, link: LiveKitLink, pause: Pause, rng: random.Random) -> None:
        self.link = link
        self._pause = pause
        self._rng = rng
        self.cut = False
        """No call gets through."""
        self.refused = False
        """This replica's clock is off by minutes: every call is answered 401 (fact 85)."""
        self.ahead = 0.0
        """Seconds by which LiveKit's times look later to this replica than they were."""
        self.on_removal: Callable[[str, str], None] = lambda room, identity: None
        """Hears of each removal that is about to be asked for."""

    async def rooms(self, names: Sequence[str] | None = None) -> list[Room] | Unknown:
        rooms = await self._call(lambda: self.link.rooms(names))
        return rooms if isinstance(rooms, Unknown) else [self._as_read(room) for room in rooms]

    async def participants(self, room: str) -> list[Participant] | Unknown:
        found = await self._call(lambda: self.link.participants(room))
        if isinstance(found, Unknown) or not self.ahead:
            return found
        return [replace(p, joined_at=p.joined_at + self.ahead) for p in found]

    async def create_room(self, room: str, *, empty_timeout: float) -> Room | Unknown:
        made = await self._call(lambda: self.link.create_room(room, empty_timeout=empty_timeout))
        return made if isinstance(made, Unknown) else self._as_read(made)

    async def create_dispatch(
        self, room: str, agent: str, *, metadata: str, attributes: Mapping[str, str]
    ) -> Dispatch | Unknown:
        return await self._call(
            lambda: self.link.create_dispatch(room, agent, metadata=metadata, attributes=attributes)
        )

    async def delete_dispatch(self, room: str, dispatch_id: str) -> bool | Unknown:
        return await self._call(lambda: self.link.delete_dispatch(room, dispatch_id))

    async def dispatches(self, room: str) -> list[Dispatch] | Unknown:
        return await self._call(lambda: self.link.dispatches(room))

    async def remove_participant(self, room: str, identity: str) -> bool | Unknown:
        async def remove() -> bool | Unknown:
            self.on_removal(room, identity)
            return await self.link.remove_participant(room, identity)

        return await self._call(remove)

    async def answers(self, room: str, identity: str) -> bool | Unknown:
        return await self._call(lambda: self.link.answers(room, identity))

    async def send_status(self, room: str, payload: bytes) -> None:
        """Best effort, and nobody here reads it."""

    def _as_read(self, room: Room) -> Room:
        return replace(room, created_at=room.created_at + self.ahead) if self.ahead else room

    async def _call(self, call: Callable[[], Awaitable[T | Unknown]]) -> T | Unknown:
        await self._pause.pass_by()
        if self.cut:
            await anyio.sleep(CALL_TIMEOUT)
            answer: T | Unknown = Unknown("the line to LiveKit is cut")
        elif self.refused:
            await anyio.sleep(0.002)
            answer = Unknown("LiveKit answered 401: this replica's clock is off")
        else:
            answer = await call()
            if self._rng.random() < 0.3:
                await anyio.sleep(self._rng.uniform(0.0, 0.004))  # a kill may come between effect and answer
        await self._pause.pass_by()
        return answer
