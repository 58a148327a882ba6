"""LiveKit's services as livekit-api has them, but for two things that cost much.

A tenth of a look's CPU went into each token (livekit-api 1.2.2 copies dataclasses, pyjwt checks keys), and
the list of ten thousand rooms held up everything else while it was decoded.
"""

from __future__ import annotations

import functools
import hmac
import time
from base64 import urlsafe_b64encode
from collections.abc import Iterator

import msgspec
from google.protobuf.message import DecodeError
from livekit.api import SIPGrants, VideoGrants
from livekit.api._service import Service
from livekit.api.agent_dispatch_service import AgentDispatchService
from livekit.api.room_service import RoomService
from livekit.protocol import room as proto

TTL = 600
"""Seconds that a call's token is valid; it is used at once."""
PIECE = 64 * 1024
"""Bytes that are decoded in one go: about 300 rooms, a millisecond."""

_HEADER = b"eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9."  # {"alg":"HS256","typ":"JWT"}
_ROOMS = 0x0A
"""The tag of `ListRoomsResponse.rooms`: field 1, length-delimited."""


class _Undecoded:
    """In place of a message's class where the bytes are wanted."""

    @staticmethod
    def FromString(data: bytes) -> bytes:  # noqa: N802  (protobuf's name)
        return data


class _Signing(Service):
    """Quicker tokens."""

    def _auth_header(self, grants: VideoGrants | None, sip: SIPGrants | None = None) -> dict[str, str]:
        assert grants is not None
        assert sip is None
        return {"authorization": f"Bearer {sign(self.api_key, self.api_secret, grants, time.time())}"}


class Dispatches(_Signing, AgentDispatchService):
    """An `AgentDispatchService` with quicker tokens."""


class Rooms(_Signing, RoomService):
    """A `RoomService` with quicker tokens, and `list_undecoded`."""

    async def list_undecoded(self) -> bytes:
        """The answer to a ListRooms for all rooms; read it with `pieces`."""
        answer: object = await self._client.request(
            "RoomService",
            "ListRooms",
            proto.ListRoomsRequest(),
            self._auth_header(VideoGrants(room_list=True)),
            _Undecoded,  # type: ignore[type-var]
        )
        assert isinstance(answer, bytes)
        return answer


def sign(key: str, secret: str, grants: VideoGrants, now: float) -> str:
    """A token with those grants, valid from `now` (seconds since the epoch) on. Grants with lists are not for
    this."""
    given = {name: value for name, value in vars(grants).items() if value is not None and value != ""}
    video = {_camel(name): value for name, value in given.items()}
    claims = {"video": video, "iss": key, "nbf": int(now), "exp": int(now) + TTL}
    signed = _HEADER + urlsafe_b64encode(msgspec.json.encode(claims)).rstrip(b"=")
    signature = urlsafe_b64encode(hmac.digest(secret.encode(), signed, "sha256")).rstrip(b"=")
    return (signed + b"." + signature).decode()


@functools.cache
def _camel(name: str) -> str:
    first, *rest = name.split("_")
    return first + "".join(word.capitalize() for word in rest)


def pieces(answer: bytes) -> Iterator[proto.ListRoomsResponse]:
    """A long ListRooms answer as short ones: a message may be cut between any two of its fields.

    Raises DecodeError when it is no such answer.
    """
    begun = at = 0
    while at < len(answer):
        if answer[at] != _ROOMS:  # a newer server tells something else, too
            yield proto.ListRoomsResponse.FromString(answer[begun:])
            return
        size, at = _varint(answer, at + 1)
        at += size
        if at - begun >= PIECE:
            yield proto.ListRoomsResponse.FromString(answer[begun:at])
            begun = at
    yield proto.ListRoomsResponse.FromString(answer[begun:at])


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        if at >= len(data):
            raise DecodeError("the answer ends in the middle of a number")
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
        shift += 7
