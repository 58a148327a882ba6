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
ANSWER_TIMEOUT = 2.5  # S11, S18

T = TypeVar("T")


class _NoNode:
    """The answer of a call that must reach the room's node, when no node has the room."""


_NO_NODE: Final = _NoNode()


def no_fault(call: Call) -> Fault | None:
    return None


class LiveKitLink:
    """The port as one replica has it. `hook` sees each of its calls and may spoil it; while it is `away` none
    of them arrives, and no answer comes back."""

    def __init__(self, server: Dispatching, rng: random.Random, latency: float, total: Counter[str]) -> None:
        self.hook: Callable[[Call], Fault | None] = no_fault
        self.away = False
        self.calls: Counter[str] = Counter()
        self._server = server
        self._jitter = rng
        self._latency = latency
        self._total = total

    async def rooms(self, names: Sequence[str] | None = None) -> list[Room] | Unknown:
        return await self._call(
            Call("ListRooms", ""), lambda: [_room(r) for r in self._server.rooms_named(names)]
        )

    async def participants(self, room: str) -> list[Participant] | Unknown:
        return await self._call(Call("ListParticipants", room), lambda: self._server.listed(room))

    async def create_room(self, room: str, *, empty_timeout: float) -> Room | Unknown:
        def effect() -> Room | Unknown | _NoNode:
            if len(room.encode()) > MAX_ROOM_NAME_BYTES:  # fact 17; "" is taken
                return Unknown("LiveKit answered CreateRoom with 400 invalid_argument")
            if not self._server.can_open(room):
                return _NO_NODE
            return _room(self._server.open_room(room, empty_timeout=empty_timeout))

        return await self._call(Call("CreateRoom", room), effect)

    async def create_dispatch(
        self, room: str, agent: str, *, metadata: str, attributes: Mapping[str, str]
    ) -> Dispatch | Unknown:
        def effect() -> Dispatch | _NoNode:
            if not self._server.can_open(room):
                return _NO_NODE
            state = self._server.open_room(room)  # fact 8; any name (fact 17)
            return _dispatch(room, self._server.dispatch(state, agent, metadata, attributes))  # fact 5

        return await self._call(Call("CreateDispatch", room), effect)

    async def delete_dispatch(self, room: str, dispatch_id: str) -> bool | Unknown:
        def effect() -> bool | _NoNode:
            state = self._server.kept(room)
            return _NO_NODE if state is None else self._server.undispatch(state, dispatch_id)

        return await self._call(Call("DeleteDispatch", room), effect)

    async def dispatches(self, room: str) -> list[Dispatch] | Unknown:
        def effect() -> list[Dispatch] | _NoNode:
            state = self._server.kept(room)
            return _NO_NODE if state is None else [_dispatch(room, d) for d in state.dispatches.values()]

        return await self._call(Call("ListDispatch", room), effect)

    async def remove_participant(self, room: str, identity: str) -> bool | Unknown:
        def effect() -> bool | _NoNode:
            return self._server.put_out(room, identity) if self._server.can_find(room) else _NO_NODE

        before = self._server.is_relic(room, identity)
        answer = await self._call(Call("RemoveParticipant", room), effect)
        if before and answer is True:
            await anyio.sleep(NO_NODE_TIMEOUT)  # S12: no node knows it, its place has to be taken first
        return answer

    async def answers(self, room: str, identity: str) -> bool | Unknown:
        def effect() -> bool | _NoNode | None:
            if all(p.identity != identity for p in self._server.listed(room)):
                return False
            if not self._server.can_find(room):
                return _NO_NODE
            return self._server.hears(room, identity) or None

        answer = await self._call(Call("PerformRpc", room), effect)
        if answer is not None:
            return answer
        await anyio.sleep(ANSWER_TIMEOUT)
        if self._unreachable():
            return Unknown("LiveKit is not reachable")
        return self._server.hears(room, identity)  # it may have thawed

    async def send_status(self, room: str, payload: bytes) -> None:
        def effect() -> _NoNode | None:
            state = self._server.kept(room)
            if state is None:
                return _NO_NODE
            self._server.statuses.append((room, payload))
            return None

        await self._call(Call("SendData", room), effect)

    async def _call(self, call: Call, effect: Callable[[], T | _NoNode]) -> T | Unknown:
        self.calls[call.method] += 1
        if self._total is not self.calls:
            self._total[call.method] += 1
        fault = self.hook(call) or Fault()
        await anyio.sleep(self._latency * self._jitter.uniform(0.5, 1.5) + fault.delay)
        if self._unreachable():
            return Unknown("LiveKit is not reachable")
        if fault.late:
            self._server.after(fault.late, lambda: self._late(effect))
        if fault.late or fault.lost == "call":
            return Unknown(fault.why)
        answer = effect()
        if fault.twice:
            answer = effect()
        if isinstance(answer, _NoNode):
            await anyio.sleep(NO_NODE_TIMEOUT)
            why = f"LiveKit could not reach the room's node for {call.method} (503)"
            return Unknown(why, nodeless=True)
        await anyio.sleep(fault.reply_delay)
        if self._unreachable():
            return Unknown("LiveKit is not reachable")
        return Unknown(fault.why) if fault.lost == "reply" else answer

    def _late(self, effect: Callable[[], object]) -> None:
        if self._server.up:
            effect()

    def _unreachable(self) -> bool:
        return self.away or not self._server.up


class FakeLiveKit(Dispatching, LiveKitLink):
    """One livekit-server, or a cluster that is asked at one address. It is a link to itself; `link()` makes
    one more for another replica. `calls` counts those of all links; `hook` and `away` are its own."""

    def __init__(
        self,
        clock: Clock = anyio.current_time,
        *,
        rng: random.Random | None = None,
        departure_timeout: float = 20.0,
        empty_timeout: float = 300.0,
        latency: float = 0.001,
    ) -> None:
        Dispatching.__init__(
            self, clock, rng=rng, departure_timeout=departure_timeout, empty_timeout=empty_timeout
        )
        LiveKitLink.__init__(self, self, self._rng, latency, Counter())
        self._total = self.calls

    def link(self) -> LiveKitLink:
        return LiveKitLink(self, self._rng, self._latency, self.calls)


def _room(room: RoomState) -> Room:
    return Room(name=room.name, sid=room.sid, people=room.counted, created_at=room.created_at)


def _dispatch(room: str, dispatch: DispatchState) -> Dispatch:
    return Dispatch(id=dispatch.id, room=room, agent=dispatch.agent, jobs=len(dispatch.jobs))
