"""The keeper's LiveKit port over long-lived services of livekit-api. Thin: nothing is cached or
decided, and nothing is tried again but a question whose answer LiveKit may have lost; a fault is the value
`Unknown`.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from types import SimpleNamespace
from typing import Self, TypeVar

import aiohttp
import structlog
from livekit.api import ServerError, VideoGrants
from livekit.protocol import agent_dispatch, models
from livekit.protocol import room as proto

from gateway.keeper.model import Dispatch, Participant, Room, Unknown
from gateway.livekit import ghosts, services, tokens
from gateway.livekit.faults import FAULTS, MAX_SKEW, Circumstances, Fault, clock_is_off, explain
from gateway.livekit.values import dispatch_of, participants_of, room_of

log = structlog.get_logger(__name__)

STATUS_TOPIC = "roomkeeper.status"

OnCall = Callable[[str, str, float], None]
"""Hears of each call: LiveKit's method, the outcome in one word ("ok" or a `Fault.outcome`), seconds."""

NOISE = 2.0
"""Seconds of difference that the header's whole seconds and a slow answer make."""

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Probe:
    """Whether LiveKit can be used now."""

    ok: bool
    why: str
    """What to do about it; "" when all is well."""
    skew: float | None
    """Seconds by which our clock is ahead of LiveKit's, to about 0.5 s; None when it was not heard."""


class LiveKitClient:
    """Use as `async with LiveKitClient(...) as livekit`; it must be entered inside a running event loop."""

    def __init__(
        self,
        url: str,
        key: str,
        secret: str,
        *,
        timeout: float,
        on_call: OnCall = lambda method, outcome, seconds: None,
        clock: Callable[[], float] = time.time,
        keepers_clock: Callable[[], float] | None = None,
    ) -> None:
        """`timeout`: seconds for one call; above the 5 s that dispatch calls can take (fact 54).
        `keepers_clock`: in which rooms' and participants' times are told; LiveKit's own without it."""
        self._url, self._key, self._secret = url, key, secret
        self._timeout = timeout
        self._on_call = on_call
        self._clock = clock
        self._keepers_clock = keepers_clock
        self._date = ""
        """The last Date header."""
        self._heard: tuple[float, float] | None = None
        """What it says, and when it came."""
        self._ahead = 0.0
        """Seconds by which the keeper's clock is ahead of LiveKit's, where that is more than noise."""
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        listen = aiohttp.TraceConfig()
        listen.on_request_end.append(self._hear_date)
        self._session = aiohttp.ClientSession(trace_configs=[listen])
        given = self._session, self._url, self._key, self._secret
        # One call is one call: the keeper alone decides about retry.
        self._rooms = services.Rooms(*given, failover=False)
        self._dispatches = services.Dispatches(*given, failover=False)
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        if self._session is not None:
            await self._session.close()

    # The port

    async def rooms(self, names: Sequence[str] | None = None) -> list[Room] | Unknown:
        if names is not None and not names:
            return []  # LiveKit takes an empty list for "all"
        if names is None:
            found = await self._call("ListRooms", self._all_rooms())
            return found.unknown if isinstance(found, Fault) else found
        request = proto.ListRoomsRequest(names=names)
        answer = await self._call("ListRooms", self._rooms.list_rooms(request))
        return (
            answer.unknown if isinstance(answer, Fault) else [room_of(r, self._ahead) for r in answer.rooms]
        )

    async def participants(self, room: str) -> list[Participant] | Unknown:
        request = proto.ListParticipantsRequest(room=room)
        answer = await self._call("ListParticipants", self._rooms.list_participants(request))
        return (
            answer.unknown
            if isinstance(answer, Fault)
            else participants_of(list(answer.participants), self._ahead)
        )

    async def create_room(self, room: str, *, empty_timeout: float) -> Room | Unknown:
        request = proto.CreateRoomRequest(name=room, empty_timeout=math.ceil(empty_timeout))
        answer = await self._call("CreateRoom", self._rooms.create_room(request))
        return answer.unknown if isinstance(answer, Fault) else room_of(answer, self._ahead)

    async def create_dispatch(
        self, room: str, agent: str, *, metadata: str, attributes: Mapping[str, str]
    ) -> Dispatch | Unknown:
        request = agent_dispatch.CreateAgentDispatchRequest(
            room=room,
            agent_name=agent,
            metadata=metadata,
            attributes=attributes,
            restart_policy=agent_dispatch.JRP_NEVER,  # fact 10: one re-dispatcher, not two
        )
        answer = await self._call("CreateDispatch", self._dispatches.create_dispatch(request))
        return answer.unknown if isinstance(answer, Fault) else dispatch_of(answer)

    async def delete_dispatch(self, room: str, dispatch_id: str) -> bool | Unknown:
        pending = self._dispatches.delete_dispatch(dispatch_id, room)
        return _done(await self._call("DeleteDispatch", pending))

    async def dispatches(self, room: str) -> list[Dispatch] | Unknown:
        answer = await self._call("ListDispatch", self._dispatches.list_dispatch(room))
        return answer.unknown if isinstance(answer, Fault) else [dispatch_of(d) for d in answer]

    async def remove_participant(self, room: str, identity: str) -> bool | Unknown:
        answer = await self._remove(room, identity)
        if isinstance(answer, Fault) and answer.outcome == "unavailable" and await self._has_node(room):
            answer = await self._call("Join", self._remove_relic(room, identity))
        return _done(answer)

    async def answers(self, room: str, identity: str) -> bool | Unknown:
        listed = await self.participants(room)  # asking somebody who is not there takes 3 s and says nothing
        if isinstance(listed, Unknown):
            return listed
        if all(p.identity != identity for p in listed):
            return False
        answer = await self._ask_twice(room, identity)
        if isinstance(answer, Fault) and answer.outcome == "unavailable" and await self._has_node(room):
            return False  # S12: only the list knows it
        return answer.unknown if isinstance(answer, Fault) else answer

    async def send_status(self, room: str, payload: bytes) -> None:
        request = proto.SendDataRequest(
            room=room, data=payload, kind=models.DataPacket.RELIABLE, topic=STATUS_TOPIC
        )
        await self._call("SendData", self._rooms.send_data(request))

    # Below the port

    async def _all_rooms(self) -> list[Room]:
        rooms: list[Room] = []
        for piece in services.pieces(await self._rooms.list_undecoded()):
            rooms += [room_of(r, self._ahead) for r in piece.rooms]
            await asyncio.sleep(0)  # others have their turn
        return rooms

    async def _remove(self, room: str, identity: str) -> object:
        request = proto.RoomParticipantIdentity(room=room, identity=identity)
        return await self._call("RemoveParticipant", self._rooms.remove_participant(request))

    async def _ask_twice(self, room: str, identity: str) -> bool | Fault:
        """LiveKit loses an answer that comes too soon (S18): nobody is dead who leaves one question open."""

        async def ask(after: float) -> bool | Fault:
            await asyncio.sleep(after)
            return await self._call("PerformRpc", self._ask(room, identity))

        questions = [asyncio.create_task(ask(after)) for after in (0.0, ghosts.ASKED_AGAIN_AFTER)]
        verdict: bool | Fault = False
        try:
            for question in asyncio.as_completed(questions):
                answer = await question
                if answer is True:
                    return True
                verdict = verdict or answer
            return verdict
        finally:
            for task in questions:
                task.cancel()
            await asyncio.gather(*questions, return_exceptions=True)

    async def _ask(self, room: str, identity: str) -> bool:
        service = self._rooms
        try:
            await service._client.request(  # livekit-api 1.2.2 has the messages of this call, and no method
                "RoomService",
                "PerformRpc",
                ghosts.question(room, identity),
                service._auth_header(VideoGrants(room_admin=True, room=room)),
                proto.PerformRpcResponse,
            )
        except ServerError as error:
            verdict = ghosts.lives(error)
            if verdict is None:
                raise
            return verdict
        return True

    async def _has_node(self, room: str) -> bool:
        """A living node has the room in its memory."""
        return isinstance(await self.dispatches(room), list)

    async def _remove_relic(self, room: str, identity: str) -> object:
        """Whom a dead node left in the list no node can remove (S12): take that place, then leave it."""
        assert self._session is not None
        token = tokens.mint_agent(self._key, self._secret, room=room, identity=identity, ttl=60.0)
        async with self._session.ws_connect(
            f"{self._url.rstrip('/')}/rtc",
            headers={"Authorization": f"Bearer {token}"},
            params={"protocol": 15},
        ) as signal:
            await signal.receive()
            request = proto.RoomParticipantIdentity(room=room, identity=identity)
            return await self._rooms.remove_participant(request)

    # Beside the port

    async def probe(self) -> Probe:
        """One small signed call: is LiveKit reachable, the key right, are the clocks close (fact 85)?"""
        self._date, self._heard = "", None
        answer = await self.rooms(["roomkeeper-probe"])
        why = answer.why if isinstance(answer, Unknown) else ""
        return Probe(ok=not why, why=why, skew=self.skew)

    @property
    def skew(self) -> float | None:
        """Seconds by which our clock is ahead of LiveKit's, by the last answer; None without a usable one."""
        if self._heard is None:
            return None
        server, arrived = self._heard
        return arrived - (server + 0.5)  # the header has whole seconds

    def _clock_fault(self) -> Fault | None:
        """fact 85: LiveKit takes tokens from a clock that is behind; everything else about it is as wrong."""
        skew = self.skew
        return Fault("skewed", clock_is_off(skew)) if skew is not None and abs(skew) > MAX_SKEW else None

    async def _hear_date(
        self,
        _session: aiohttp.ClientSession,
        _context: SimpleNamespace,
        params: aiohttp.TraceRequestEndParams,
    ) -> None:
        date = params.response.headers.get("Date", "")
        if date == self._date:
            return  # the second has not passed: nothing new
        self._date = date
        try:
            self._heard = parsedate_to_datetime(date).timestamp(), self._clock()
        except ValueError:
            self._heard = None
        if self._keepers_clock is not None and (skew := self.skew) is not None:
            ahead = skew + self._keepers_clock() - self._clock()
            self._ahead = ahead if abs(ahead) > NOISE else 0.0

    async def _call(self, method: str, pending: Awaitable[T]) -> T | Fault:
        started = time.monotonic()
        outcome = "cancelled"
        try:
            # livekit-api 1.2.2 hands aiohttp `timeout=None` with each request: the session's would not count
            async with asyncio.timeout(self._timeout):
                answer = await pending
            if fault := self._clock_fault():
                outcome = fault.outcome
                return fault
            outcome = "ok"
            return answer
        except FAULTS as error:
            at = Circumstances(method=method, url=self._url, timeout=self._timeout, skew=self.skew)
            fault = explain(error, at)
            outcome = fault.outcome
            log.debug("livekit_call_failed", method=method, outcome=outcome, why=fault.why)
            return fault
        finally:
            self._on_call(method, outcome, time.monotonic() - started)


def _done(answer: object) -> bool | Unknown:
    """An answer to a removal: "not found" is a definite one (facts 9, 19)."""
    if isinstance(answer, Fault):
        return False if answer.outcome == "not_found" else answer.unknown
    return True
