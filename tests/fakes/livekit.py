"""LiveKit in memory: the keeper's port over a world that a test moves. It behaves by the facts (numbers in
the comments) and passes the contract suite of the real one.

anyio only, so that it runs under trio's virtual clock: `async with FakeLiveKit(...) as livekit`.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Final, TypeVar

import anyio

from gateway.keeper.model import MAX_ROOM_NAME_BYTES, Dispatch, Participant, Room, Unknown
from gateway.keeper.ports import Clock
from tests.fakes.livekit_dispatching import Dispatching
from tests.fakes.livekit_parts import Call, DispatchState, Fault, RoomState

NO_NODE_TIMEOUT = 3.0  # fact 19

T = TypeVar("T")


class _NoNode:
    """The answer of a call that must reach the room's node, when no node has the room."""


_NO_NODE: Final = _NoNode()


def no_fault(call: Call) -> Fault | None:
    return None


class FakeLiveKit(Dispatching):
    """One livekit-server. `hook` sees every call of the port and may spoil it; `calls` counts them."""

    def __init__(
        self,
        clock: Clock = anyio.current_time,
        *,
        rng: random.Random | None = None,
        departure_timeout: float = 20.0,
        empty_timeout: float = 300.0,
        latency: float = 0.001,
    ) -> None:
        super().__init__(clock, rng=rng, departure_timeout=departure_timeout, empty_timeout=empty_timeout)
        self.hook: Callable[[Call], Fault | None] = no_fault
        self.calls: Counter[str] = Counter()
        self.statuses: list[tuple[str, bytes]] = []
        """What `send_status` delivered, with the room's name."""
        self._latency = latency

    async def rooms(self, names: Sequence[str] | None = None) -> list[Room] | Unknown:
        wanted = None if names is None else set(names)
        return await self._call(
            Call("ListRooms", ""),
            lambda: [_room(r) for r in self._rooms.values() if wanted is None or r.name in wanted],
        )

    async def participants(self, room: str) -> list[Participant] | Unknown:
        return await self._call(
            Call("ListParticipants", room), lambda: [c.participant() for c in self.present(room)]
        )

    async def create_room(self, room: str, *, empty_timeout: float) -> Room | Unknown:
        def effect() -> Room | Unknown:
            if len(room.encode()) > MAX_ROOM_NAME_BYTES:  # fact 17; "" is taken
                return Unknown("LiveKit answered CreateRoom with 400 invalid_argument")
            return _room(self._open(room, empty_timeout=empty_timeout))

        return await self._call(Call("CreateRoom", room), effect)

    async def create_dispatch(
        self, room: str, agent: str, *, metadata: str, attributes: Mapping[str, str]
    ) -> Dispatch | Unknown:
        def effect() -> Dispatch:
            state = self._open(room)  # fact 8; any name (fact 17)
            return _dispatch(room, self._dispatch(state, agent, metadata, attributes))  # fact 5: no dedupe

        return await self._call(Call("CreateDispatch", room), effect)

    async def delete_dispatch(self, room: str, dispatch_id: str) -> bool | Unknown:
        def effect() -> bool | _NoNode:
            if room not in self._rooms:
                return _NO_NODE
            deleted = self._rooms[room].dispatches.pop(dispatch_id, None)
            if deleted is not None:
                self._tasks.start_soon(self._terminate, self._rooms[room], deleted)
            return deleted is not None

        return await self._call(Call("DeleteDispatch", room), effect)

    async def dispatches(self, room: str) -> list[Dispatch] | Unknown:
        def effect() -> list[Dispatch] | _NoNode:
            if room not in self._rooms:
                return _NO_NODE
            return [_dispatch(room, d) for d in self._rooms[room].dispatches.values()]

        return await self._call(Call("ListDispatch", room), effect)

    async def remove_participant(self, room: str, identity: str) -> bool | Unknown:
        def effect() -> bool:
            found = next((c for c in self.present(room) if c.identity == identity), None)
            if found is not None:
                self._part(found, "PARTICIPANT_REMOVED")
            return found is not None

        return await self._call(Call("RemoveParticipant", room), effect)

    async def send_status(self, room: str, payload: bytes) -> None:
        def effect() -> _NoNode | None:
            if room not in self._rooms:
                return _NO_NODE
            self.statuses.append((room, payload))
            return None

        await self._call(Call("SendData", room), effect)

    async def _call(self, call: Call, effect: Callable[[], T | _NoNode]) -> T | Unknown:
        self.calls[call.method] += 1
        fault = self.hook(call) or Fault()
        await anyio.sleep(self._latency * self._rng.uniform(0.5, 1.5) + fault.delay)
        if not self.up:
            return Unknown("LiveKit is not reachable")
        if fault.lost == "call":
            return Unknown(fault.why)
        answer = effect()
        if isinstance(answer, _NoNode):
            await anyio.sleep(NO_NODE_TIMEOUT)
            return Unknown(f"LiveKit could not reach the room's node for {call.method} (503)")
        await anyio.sleep(fault.reply_delay)
        return Unknown(fault.why) if fault.lost == "reply" else answer


def _room(room: RoomState) -> Room:
    return Room(name=room.name, sid=room.sid, people=room.counted, created_at=room.created_at)


def _dispatch(room: str, dispatch: DispatchState) -> Dispatch:
    return Dispatch(id=dispatch.id, room=room, agent=dispatch.agent, jobs=len(dispatch.jobs))
