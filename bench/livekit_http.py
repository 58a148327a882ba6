"""LiveKit's server API over HTTP before the fake LiveKit: Twirp with protobuf, as far as the keeper asks.

It checks no token: what the bench measures is who asks, not who answers.
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Protocol

from aiohttp import web
from livekit.protocol import agent_dispatch, models
from livekit.protocol import room as proto

from gateway.keeper.model import Dispatch, Participant, Room, Unknown
from pool.ports import AGENT_NAME
from tests.fakes.livekit import FakeLiveKit


class Message(Protocol):
    def SerializeToString(self) -> bytes: ...  # noqa: N802


class LiveKitOverHttp:
    def __init__(self, livekit: FakeLiveKit) -> None:
        self._livekit = livekit
        self.calls = 0

    async def list_rooms(self, body: bytes) -> Message | Unknown:
        names = list(proto.ListRoomsRequest.FromString(body).names)
        found = await self._livekit.rooms(names or None)
        if isinstance(found, Unknown):
            return found
        return proto.ListRoomsResponse(rooms=[_room(r) for r in found])

    async def list_participants(self, body: bytes) -> Message | Unknown:
        found = await self._livekit.participants(proto.ListParticipantsRequest.FromString(body).room)
        if isinstance(found, Unknown):
            return found
        return proto.ListParticipantsResponse(participants=[_participant(p) for p in found])

    async def create_room(self, body: bytes) -> Message | Unknown:
        asked = proto.CreateRoomRequest.FromString(body)
        made = await self._livekit.create_room(asked.name, empty_timeout=asked.empty_timeout)
        return made if isinstance(made, Unknown) else _room(made)

    async def create_dispatch(self, body: bytes) -> Message | Unknown:
        asked = agent_dispatch.CreateAgentDispatchRequest.FromString(body)
        made = await self._livekit.create_dispatch(
            asked.room, asked.agent_name, metadata=asked.metadata, attributes=dict(asked.attributes)
        )
        return made if isinstance(made, Unknown) else _dispatch(made)

    async def remove_participant(self, body: bytes) -> Message | Unknown:
        asked = proto.RoomParticipantIdentity.FromString(body)
        removed = await self._livekit.remove_participant(asked.room, asked.identity)
        return removed if isinstance(removed, Unknown) else proto.RemoveParticipantResponse()

    async def send_data(self, body: bytes) -> Message | Unknown:
        asked = proto.SendDataRequest.FromString(body)
        await self._livekit.send_status(asked.room, asked.data)
        return proto.SendDataResponse()

    def app(self) -> web.Application:
        methods = {
            "RoomService/ListRooms": self.list_rooms,
            "RoomService/ListParticipants": self.list_participants,
            "RoomService/CreateRoom": self.create_room,
            "RoomService/RemoveParticipant": self.remove_participant,
            "RoomService/SendData": self.send_data,
            "AgentDispatchService/CreateDispatch": self.create_dispatch,
        }
        app = web.Application(client_max_size=2**24)
        for name, method in methods.items():
            app.router.add_post(f"/twirp/livekit.{name}", self._answering(method))
        return app

    def _answering(
        self, method: Callable[[bytes], Awaitable[Message | Unknown]]
    ) -> Callable[[web.Request], Awaitable[web.Response]]:
        async def answer(request: web.Request) -> web.Response:
            self.calls += 1
            told = await method(await request.read())
            if isinstance(told, Unknown):
                return web.json_response({"code": "unavailable", "msg": told.why}, status=503)
            return web.Response(body=told.SerializeToString(), content_type="application/protobuf")

        return answer


@contextlib.asynccontextmanager
async def serving(livekit: FakeLiveKit, port: int) -> AsyncIterator[LiveKitOverHttp]:
    """Serve on loopback for as long as the block lasts."""
    over_http = LiveKitOverHttp(livekit)
    runner = web.AppRunner(over_http.app(), access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    try:
        yield over_http
    finally:
        await runner.cleanup()


def _room(room: Room) -> models.Room:
    """With all that a real one carries: what is not asked for is read all the same."""
    return models.Room(
        name=room.name,
        sid=room.sid,
        num_participants=room.people,
        creation_time=int(room.created_at),
        creation_time_ms=int(1000 * room.created_at),
        empty_timeout=300,
        departure_timeout=20,
        turn_password="x" * 44,
        enabled_codecs=[models.Codec(mime=mime) for mime in _CODECS],
    )


_CODECS = ("audio/opus", "audio/red", "video/VP8", "video/H264", "video/VP9", "video/AV1", "video/rtx")


def _participant(who: Participant) -> models.ParticipantInfo:
    kinds = models.ParticipantInfo.Kind
    attributes = dict(who.attributes)
    if who.agent is not None:
        attributes[AGENT_NAME] = who.agent
    return models.ParticipantInfo(
        identity=who.identity,
        sid=who.sid,
        state=models.ParticipantInfo.State.ACTIVE,
        kind=kinds.STANDARD if who.person else kinds.AGENT,
        joined_at=int(who.joined_at),
        joined_at_ms=int(1000 * who.joined_at),
        metadata=who.metadata,
        attributes=attributes,
        permission=models.ParticipantPermission(can_subscribe=True, can_publish=True),
        tracks=[models.TrackInfo(sid=f"TR_{who.sid}", name="audio", mime_type="audio/opus", stream="camera")],
    )


def _dispatch(dispatch: Dispatch) -> agent_dispatch.AgentDispatch:
    return agent_dispatch.AgentDispatch(id=dispatch.id, room=dispatch.room, agent_name=dispatch.agent)
