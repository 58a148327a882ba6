"""Calls made cheap: their tokens are LiveKit's, and a list in pieces is the list."""

from __future__ import annotations

import jwt
import pytest
from google.protobuf.message import DecodeError
from livekit.api import AccessToken, VideoGrants
from livekit.protocol import models
from livekit.protocol import room as proto

from gateway.livekit import services

SECRET = "secret-of-32-bytes-or-more-for-tests"


def claims_of(token: str) -> dict[str, object]:
    claims: dict[str, object] = jwt.decode(token, SECRET, algorithms=["HS256"])
    return {name: value for name, value in claims.items() if name not in {"exp", "nbf", "iat", "sub"}}


def test_a_token_says_what_upstreams_says() -> None:
    """Signed alike, the same grants, the same issuer: LiveKit sees no difference."""
    for grants in (VideoGrants(room_list=True), VideoGrants(room_admin=True, room="a room, ünd more")):
        upstream = AccessToken("key", SECRET).with_grants(grants).to_jwt()
        now = jwt.decode(upstream, options={"verify_signature": False})["nbf"]
        assert claims_of(services.sign("key", SECRET, grants, now)) == claims_of(upstream)


def test_a_list_in_pieces_is_the_whole_list() -> None:
    """No room is lost or doubled where the answer is cut."""
    rooms = [models.Room(name=f"room-{n}", sid=f"RM_{n}", metadata="x" * (n % 300)) for n in range(2000)]
    answer = proto.ListRoomsResponse(rooms=rooms).SerializeToString()
    found = [list(piece.rooms) for piece in services.pieces(answer)]
    assert len(found) > 1
    assert [room for piece in found for room in piece] == rooms


def test_an_empty_list_has_no_rooms() -> None:
    """No room at all is an answer, too."""
    assert [room for piece in services.pieces(b"") for room in piece.rooms] == []


def test_what_a_newer_server_adds_is_no_fault() -> None:
    """An unknown field behind the rooms is left to protobuf."""
    answer = proto.ListRoomsResponse(rooms=[models.Room(name="r")]).SerializeToString()
    unknown = b"\x10\x05"
    assert [room.name for piece in services.pieces(answer + unknown) for room in piece.rooms] == ["r"]


@pytest.mark.parametrize("answer", [b"<html>bad gateway</html>", b"\x0a\xff", b"\x0a\x05ab"])
def test_what_is_no_list_is_not_taken_for_one(answer: bytes) -> None:
    """A proxy's page, or half an answer, is a fault, not a list without rooms (I3)."""
    with pytest.raises(DecodeError):
        list(services.pieces(answer))
