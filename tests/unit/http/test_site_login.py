"""Tokens for whom the site's own login names, and for nobody else."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from jwt.algorithms import ECAlgorithm, RSAAlgorithm

from gateway.livekit.tokens import verify
from tests.door import Door, OpenDoor, bearer, participant
from tests.hostile import KEY, SECRET
from tests.hostile import jwt as by_hand

pytestmark = pytest.mark.anyio

SITE = "a-secret-of-the-site-with-over-32-bytes"
RSA = rsa.generate_private_key(public_exponent=65537, key_size=2048)
EC = ec.generate_private_key(ec.SECP256R1())


def claims(**more: Any) -> dict[str, Any]:
    return {"sub": "alice", "exp": time.time() + 60, "rooms": ["room-1", "team-*"], **more}


def site_token(key: Any = SITE, algorithm: str = "HS256", kid: str | None = None, **more: Any) -> str:
    made = {name: value for name, value in claims(**more).items() if value is not None}
    return jwt.encode(made, key, algorithm, headers={"kid": kid} if kid else None)


async def minted(door: Door, token: str, **body: Any) -> tuple[int, dict[str, Any]]:
    answer = await door.http.post("/api/token", json=body, headers=bearer(token))
    return answer.status_code, answer.json()


@pytest.fixture
def door(open_door: OpenDoor) -> Door:
    return open_door(dev=False, ROOMKEEPER_SITE_SECRET=SITE)


async def test_a_visitor_gets_a_token_for_themselves_and_a_room_of_theirs(door: Door) -> None:
    """Identity by the claim, the room by its name or a pattern; nothing beyond joining it."""
    status, made = await minted(door, site_token(), room="team-blue")
    assert (status, made["identity"], made["room"]) == (200, "alice", "team-blue")
    grants = verify(made["token"], {KEY: SECRET}, time.time())
    assert (grants.identity, grants.joins, grants.is_operator) == ("alice", "team-blue", False)


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"room": "room-2"}, "room"),
        ({"room_name": "TEAM-blue"}, "room_name"),
        ({"identity": "bob"}, "identity"),
        ({"participant_identity": "bob"}, "participant_identity"),
    ],
)
async def test_a_visitor_gets_nobody_elses(door: Door, body: dict[str, str], field: str) -> None:
    """403 and the field."""
    status, problem = await minted(door, site_token(), **body)
    assert (status, problem["field"]) == (403, field)


async def test_without_a_room_a_visitor_gets_their_only_one_or_a_fresh_one(door: Door) -> None:
    """A pattern, or several, is no room to go to."""
    assert (await minted(door, site_token(rooms="room-7")))[1]["room"] == "room-7"
    for rooms in (["a", "b"], "team-*", [], None):
        status, made = await minted(door, site_token(rooms=rooms))
        assert (status, made["room"][:5]) == (201, "room-"), rooms


async def test_a_login_that_names_no_rooms_lets_nobody_name_one(door: Door) -> None:
    """Whoever knew a name could listen."""
    assert (await minted(door, site_token(rooms=None), room="room-1"))[0] == 403


@pytest.mark.parametrize(
    "token",
    [
        site_token("another-secret-of-the-site-with-32-bytes"),
        site_token(exp=time.time() - 120),
        site_token(exp=None),
        site_token(nbf=time.time() + 3600),
        site_token(sub=None),
        site_token(sub=""),
        site_token(sub=7),
        site_token(rooms=7),
        site_token(rooms=["room-1", 7]),
        site_token(rooms=["r"] * 101),
        jwt.encode(claims(), "", "none"),
        site_token(RSA, "RS256"),
        site_token(padding="x" * 20_000),
        site_token(iss=KEY),
        "no.jwt.atall",
        "",
    ],
)
async def test_a_token_that_is_not_the_sites_is_a_401(door: Door, token: str) -> None:
    """And nothing of it is in the answer."""
    status, problem = await minted(door, token, room="room-1")
    assert status == 401
    assert not token or token not in json.dumps(problem)


@pytest.mark.parametrize(
    "names", [{"sub": "\ud800"}, {"sub": "a\ud800b"}, {"rooms": "\ud800"}, {"rooms": ["room-1", "\udfff"]}]
)
async def test_half_a_character_is_no_name(door: Door, names: dict[str, Any]) -> None:
    """JSON can carry it, and no answer can."""
    token = by_hand({**claims(), **names}, SITE)
    assert (await door.http.post("/api/token", json={}, headers=bearer(token))).status_code == 401
    assert (await door.http.post("/api/session/create", json={}, headers=bearer(token))).status_code == 401


async def test_issuer_and_audience_are_checked_when_they_are_set(open_door: OpenDoor) -> None:
    """Another site's login may sign with the same keys."""
    door = open_door(
        dev=False,
        ROOMKEEPER_SITE_SECRET=SITE,
        ROOMKEEPER_SITE_ISSUER="https://login.example.com",
        ROOMKEEPER_SITE_AUDIENCE="rooms",
    )
    right: dict[str, Any] = {"iss": "https://login.example.com", "aud": ["rooms", "mail"]}
    assert (await minted(door, site_token(**right)))[0] == 201
    assert (await minted(door, site_token(**{**right, "iss": "https://evil.example.com"})))[0] == 401
    assert (await minted(door, site_token(**{**right, "aud": "mail"})))[0] == 401
    assert (await minted(door, site_token()))[0] == 401


async def test_a_visitor_asks_for_agents_that_are_listed(door: Door) -> None:
    """The login says who somebody is, not what they may bring."""
    status, problem = await minted(door, site_token(), metadata={"agent": "butler"})
    assert (status, problem["field"]) == (403, "metadata.agent")


async def test_a_sites_token_is_good_for_tokens_alone(door: Door) -> None:
    """Jobs and rooms are for LiveKit's tokens."""
    assert (await door.ask("room-1", headers=bearer(site_token()))).status_code == 401
    rooms = await door.http.get("/api/livekit/rooms", headers=bearer(site_token()))
    assert rooms.status_code == 401


async def test_a_participants_token_mints_no_other(door: Door) -> None:
    """Else it would never end."""
    answer = await door.http.post("/api/token", json={}, headers=participant("room-1"))
    assert answer.status_code == 403


# ---- published keys ---------------------------------------------------------------------------------------


@dataclass
class Publisher:
    """A server that publishes keys."""

    url: str = ""
    asked: int = 0
    broken: bool = False
    page: bytes | None = None
    """What it says instead of its keys."""
    keys: list[dict[str, Any]] = field(default_factory=list)


@pytest.fixture
def publisher() -> Iterator[Publisher]:
    made = Publisher()
    made.keys = [
        {**RSAAlgorithm.to_jwk(RSA.public_key(), as_dict=True), "kid": "rsa", "use": "sig"},
        {**ECAlgorithm.to_jwk(EC.public_key(), as_dict=True), "kid": "ec", "use": "sig"},
    ]

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            made.asked += 1
            self.send_response(500 if made.broken else 200)
            self.end_headers()
            self.wfile.write(json.dumps({"keys": made.keys}).encode() if made.page is None else made.page)

        def log_message(self, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    made.url = f"http://127.0.0.1:{server.server_port}/keys"
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield made
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.mark.parametrize(("key", "algorithm", "kid"), [(RSA, "RS256", "rsa"), (EC, "ES256", "ec")])
async def test_a_published_key_is_fetched_once(
    open_door: OpenDoor, publisher: Publisher, key: Any, algorithm: str, kid: str
) -> None:
    """By its id."""
    door = open_door(dev=False, ROOMKEEPER_SITE_JWKS=publisher.url)
    for _ in range(5):
        assert (await minted(door, site_token(key, algorithm, kid), room="room-1"))[0] == 200
    assert publisher.asked == 1


async def test_made_up_key_ids_do_not_make_us_flood_the_publisher(
    open_door: OpenDoor, publisher: Publisher
) -> None:
    """An unknown one may be new, but not a hundred times."""
    door = open_door(dev=False, ROOMKEEPER_SITE_JWKS=publisher.url)
    for n in range(100):
        assert (await minted(door, site_token(RSA, "RS256", f"made-up-{n}")))[0] == 401
    assert publisher.asked <= 2


async def test_a_public_key_is_no_secret_to_sign_with(open_door: OpenDoor, publisher: Publisher) -> None:
    """The oldest trick: HS256 with the published key as the secret."""
    door = open_door(dev=False, ROOMKEEPER_SITE_JWKS=publisher.url)
    pem = RSA.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    forged = _hs256_with(pem, kid="rsa")
    assert (await minted(door, forged, room="room-1"))[0] == 401


@pytest.mark.parametrize("page", [None, b"<html>Sign in</html>", b"[]", b'{"keys": []}', b"", b"\xff"])
async def test_a_key_set_that_cannot_be_fetched_is_a_503_and_is_not_asked_for_again_at_once(
    open_door: OpenDoor, publisher: Publisher, page: bytes | None
) -> None:
    """Nobody's fault who asks."""
    publisher.broken, publisher.page = page is None, page
    door = open_door(dev=False, ROOMKEEPER_SITE_JWKS=publisher.url)
    for _ in range(20):
        answer = await door.http.post("/api/token", json={}, headers=bearer(site_token(RSA, "RS256", "rsa")))
        assert (answer.status_code, answer.headers["retry-after"]) == (503, "5")
    assert publisher.asked == 1


def _hs256_with(secret: bytes, kid: str) -> str:
    """By hand: PyJWT refuses to sign with a public key."""

    def part(value: object) -> bytes:
        return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=")

    signed = part({"alg": "HS256", "typ": "JWT", "kid": kid}) + b"." + part(claims())
    signature = hmac.new(secret, signed, hashlib.sha256).digest()
    return (signed + b"." + base64.urlsafe_b64encode(signature).rstrip(b"=")).decode()
