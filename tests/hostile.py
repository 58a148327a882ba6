"""Requests that must never be accepted: forged, altered, out of time, for somebody else, or not what they say
they are. Endless, from a seed; shared by a test and a bench.

Each attempt is wrong by its making, so whatever is answered 2xx was let in.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import random
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from starlette.types import ASGIApp, Message, Scope

KEY, SECRET = "site-key", "site-secret-of-more-than-32-bytes-length"
SITE = "a-secret-of-the-site-with-over-32-bytes"
WEBHOOK, JOB, TOKEN = "/api/livekit/webhook", "/api/livekit/job", "/api/token"
SESSION = "/api/session/create"
UNCOUNTED = {"ROOMKEEPER_RATE_BY_ADDRESS": "any", "ROOMKEEPER_RATE_BY_CALLER": "any"}
"""Settings with which a door answers as often as somebody asks."""
ROOM = "room-a"
GOOD_JOB = json.dumps({"jobType": "start_agent", "roomName": ROOM}).encode()
EVENT = json.dumps({"event": "room_started", "id": "EV_1", "room": {"sid": "RM_1", "name": ROOM}}).encode()


@dataclass(frozen=True, slots=True)
class Attempt:
    what: str
    """In words."""
    path: str
    body: bytes
    method: str = "POST"
    headers: Mapping[str, str] = field(default_factory=dict)


def part(value: object) -> str:
    encoded = value if isinstance(value, bytes) else json.dumps(value).encode()
    return base64.urlsafe_b64encode(encoded).rstrip(b"=").decode()


def jwt(claims: object, secret: str = SECRET, header: object = None, digest: str = "sha256") -> str:
    """Any JWT, right or wrong."""
    signed = f"{part(header or {'alg': 'HS256', 'typ': 'JWT'})}.{part(claims)}"
    return f"{signed}.{part(hmac.digest(secret.encode(), signed.encode(), digest))}"


def operator() -> dict[str, str]:
    """The header of somebody who may do everything."""
    now = int(time.time())
    grants = {"roomAdmin": True, "roomCreate": True, "roomList": True}
    return {"authorization": f"Bearer {jwt({'iss': KEY, 'exp': now + 300, 'video': grants})}"}


def digest_of(body: bytes) -> str:
    """As LiveKit writes it into the claim `sha256`."""
    return base64.b64encode(hashlib.sha256(body).digest()).decode()


async def status_of(app: ASGIApp, attempt: Attempt) -> int:
    """What the application answers to it, handed over as uvicorn does."""
    path, _, query = attempt.path.partition("?")
    scope: Scope = {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": "1.1",
        "method": attempt.method,
        "scheme": "http",
        "path": path,
        "raw_path": path.encode(),
        "query_string": query.encode(),
        "root_path": "",
        "headers": [(b"host", b"x"), *((k.encode(), v.encode()) for k, v in attempt.headers.items())],
        "client": ("203.0.113.9", 1),
        "server": ("127.0.0.1", 80),
        "state": {},
    }
    body: list[Message] = [{"type": "http.request", "body": attempt.body, "more_body": False}]
    status = 0

    async def receive() -> Message:
        return body.pop() if body else {"type": "http.disconnect"}

    async def send(message: Message) -> None:
        nonlocal status
        if message["type"] == "http.response.start":
            status = message["status"]

    await app(scope, receive, send)
    return status


def attempts(seed: int) -> Iterator[Attempt]:
    """Without an end; every kind in turn."""
    rng = random.Random(seed)
    kinds: tuple[Callable[[random.Random], Attempt], ...] = (
        *(*_WEBHOOKS, *_TOKENS, _named_twice, *_REPORTS, *_OTHERS, *_BODIES, *_LOGINS),
    )
    while True:
        for kind in kinds:
            yield kind(rng)


# ---- webhooks ---------------------------------------------------------------------------------------------


def _event(rng: random.Random) -> bytes:
    return EVENT.replace(b"EV_1", f"EV_{rng.randrange(10**9)}".encode())


def _webhook(
    what: str, make: Callable[[random.Random, bytes, dict[str, Any]], tuple[bytes, str | None]]
) -> Any:
    def attempt(rng: random.Random) -> Attempt:
        body, now = _event(rng), int(time.time())
        right = {"iss": KEY, "nbf": now - 5, "exp": now + 300, "sha256": digest_of(body)}
        sent, authorization = make(rng, body, right)
        headers = {"content-type": "application/webhook+json"}
        if authorization is not None:
            headers["authorization"] = authorization
        return Attempt(f"webhook: {what}", WEBHOOK, sent, headers=headers)

    return attempt


def _without(claims: Mapping[str, Any], name: str) -> dict[str, Any]:
    return {key: value for key, value in claims.items() if key != name}


def _altered(rng: random.Random, text: str) -> str:
    """One character of the first two thirds is another one: no other spelling of the same bytes."""
    at = rng.randrange(len(text) * 2 // 3)
    return text[:at] + chr((ord(text[at]) + rng.randrange(1, 60) - 48) % 75 + 48) + text[at + 1 :]


def _other_body(rng: random.Random, body: bytes) -> bytes:
    at = rng.randrange(len(body))
    return body[:at] + bytes([body[at] ^ rng.randrange(1, 256)]) + body[at + 1 :]


_WEBHOOKS = (
    _webhook("unsigned", lambda rng, body, claims: (body, None)),
    _webhook("empty", lambda rng, body, claims: (body, "")),
    _webhook("noise", lambda rng, body, claims: (body, rng.randbytes(rng.randrange(1, 200)).hex())),
    _webhook("alg none", lambda rng, body, claims: (body, f"{part({'alg': 'none'})}.{part(claims)}.")),
    _webhook("alg none, signed", lambda rng, body, claims: (body, jwt(claims, header={"alg": "none"}))),
    _webhook(
        "HS512", lambda rng, body, claims: (body, jwt(claims, header={"alg": "HS512"}, digest="sha512"))
    ),
    _webhook("RS256 by name", lambda rng, body, claims: (body, jwt(claims, header={"alg": "RS256"}))),
    _webhook(
        "kid that leads elsewhere",
        lambda rng, body, claims: (
            body,
            jwt(claims, "", header={"alg": "HS256", "kid": "../../dev/null", "jku": "http://127.0.0.1:1"}),
        ),
    ),
    _webhook("crit", lambda rng, body, claims: (body, jwt(claims, header={"alg": "HS256", "crit": ["exp"]}))),
    _webhook("wrong secret", lambda rng, body, claims: (body, jwt(claims, rng.randbytes(32).hex()))),
    _webhook("no secret", lambda rng, body, claims: (body, jwt(claims, ""))),
    _webhook("the key as secret", lambda rng, body, claims: (body, jwt(claims, KEY))),
    _webhook("unknown key", lambda rng, body, claims: (body, jwt({**claims, "iss": rng.randbytes(4).hex()}))),
    _webhook("no issuer", lambda rng, body, claims: (body, jwt(_without(claims, "iss")))),
    _webhook("missing exp", lambda rng, body, claims: (body, jwt(_without(claims, "exp")))),
    _webhook(
        "replay past the window",
        lambda rng, body, claims: (body, jwt({**claims, "exp": claims["nbf"] - rng.randrange(120, 10**6)})),
    ),
    _webhook(
        "nbf ahead",
        lambda rng, body, claims: (body, jwt({**claims, "nbf": claims["exp"] + rng.randrange(10**6)})),
    ),
    _webhook(
        "exp that is no time",
        lambda rng, body, claims: (body, jwt({**claims, "exp": rng.choice(["soon", None, [], {}])})),
    ),
    _webhook("no sha256", lambda rng, body, claims: (body, jwt(_without(claims, "sha256")))),
    _webhook(
        "wrong sha256",
        lambda rng, body, claims: (body, jwt({**claims, "sha256": digest_of(rng.randbytes(8))})),
    ),
    _webhook(
        "hex sha256",
        lambda rng, body, claims: (body, jwt({**claims, "sha256": hashlib.sha256(body).hexdigest()})),
    ),
    _webhook("empty sha256", lambda rng, body, claims: (body, jwt({**claims, "sha256": ""}))),
    _webhook("body altered", lambda rng, body, claims: (_other_body(rng, body), jwt(claims))),
    _webhook("body cut", lambda rng, body, claims: (body[: rng.randrange(len(body))], jwt(claims))),
    _webhook("token altered", lambda rng, body, claims: (body, _altered(rng, jwt(claims)))),
    _webhook("token cut", lambda rng, body, claims: (body, jwt(claims)[: rng.randrange(1, 200)])),
    _webhook(
        "signed list",
        lambda rng, body, claims: (b"[]", jwt({**claims, "sha256": digest_of(b"[]")})),
    ),
    _webhook(
        "a participant's token",
        lambda rng, body, claims: (body, jwt(_without({**claims, "video": {"roomJoin": True}}, "sha256"))),
    ),
)


# ---- tokens of participants and operators -----------------------------------------------------------------


def _bearer(what: str, make: Callable[[random.Random, dict[str, Any]], str]) -> Any:
    def attempt(rng: random.Random) -> Attempt:
        now = int(time.time())
        video = {"roomJoin": True, "room": ROOM}
        right = {"iss": KEY, "sub": "alice", "nbf": now - 5, "exp": now + 300, "video": video}
        path, body = rng.choice(((JOB, GOOD_JOB), ("/start", json.dumps({"roomName": ROOM}).encode())))
        return Attempt(f"token: {what}", path, body, headers={"authorization": f"Bearer {make(rng, right)}"})

    return attempt


def _video(claims: Mapping[str, Any], **video: Any) -> dict[str, Any]:
    return {**claims, "video": video}


def _joins(claims: Mapping[str, Any], room: object) -> dict[str, Any]:
    return _video(claims, roomJoin=True, room=room)


_ADMIN = ("roomAdmin", "roomCreate", "roomList")

_TOKENS = (
    _bearer("noise", lambda rng, claims: rng.randbytes(rng.randrange(0, 100)).hex()),
    _bearer("alg none", lambda rng, claims: f"{part({'alg': 'none'})}.{part(claims)}."),
    _bearer("HS512", lambda rng, claims: jwt(claims, header={"alg": "HS512"}, digest="sha512")),
    _bearer("RS256 by name", lambda rng, claims: jwt(claims, header={"alg": "RS256"})),
    _bearer("wrong secret", lambda rng, claims: jwt(claims, rng.randbytes(32).hex())),
    _bearer("no secret", lambda rng, claims: jwt(claims, "")),
    _bearer("unknown key", lambda rng, claims: jwt({**claims, "iss": rng.randbytes(4).hex()})),
    _bearer("no issuer", lambda rng, claims: jwt(_without(claims, "iss"))),
    _bearer("missing exp", lambda rng, claims: jwt(_without(claims, "exp"))),
    _bearer("expired", lambda rng, claims: jwt({**claims, "exp": claims["nbf"] - rng.randrange(120, 10**6)})),
    _bearer("nbf ahead", lambda rng, claims: jwt({**claims, "nbf": claims["exp"] + rng.randrange(10**6)})),
    _bearer("altered", lambda rng, claims: _altered(rng, jwt(claims))),
    _bearer(
        "another room",
        lambda rng, claims: jwt(_video(claims, roomJoin=True, room=ROOM + chr(rng.randrange(97, 123)))),
    ),
    _bearer(
        "the room in capitals", lambda rng, claims: jwt(_video(claims, roomJoin=True, room=ROOM.upper()))
    ),
    _bearer("a list of rooms", lambda rng, claims: jwt(_video(claims, roomJoin=True, room=[ROOM]))),
    _bearer("no right to join", lambda rng, claims: jwt(_video(claims, roomJoin=False, room=ROOM))),
    _bearer("a right that is a word", lambda rng, claims: jwt(_video(claims, roomJoin="true", room=ROOM))),
    _bearer("an admin of one room", lambda rng, claims: jwt(_video(claims, roomAdmin=True, room=ROOM))),
    _bearer(
        "half an operator",
        lambda rng, claims: jwt(
            _video(claims, **{rng.choice(["roomAdmin", "roomCreate", "roomList"]): True})
        ),
    ),
    _bearer("no grants", lambda rng, claims: jwt(_without(claims, "video"))),
    _bearer("grants that are none", lambda rng, claims: jwt({**claims, "video": rng.choice([[], "all", 1])})),
    _bearer(
        "a session's reports",
        lambda rng, claims: jwt({**_without(claims, "video"), "roomkeeper.reports": ROOM}),
    ),
    _bearer(
        "the site's login",
        lambda rng, claims: jwt({"sub": "alice", "exp": claims["exp"], "rooms": "*"}, SITE),
    ),
)


def _named_twice(rng: random.Random) -> Attempt:
    """A room that the token is for, and then another one."""
    claims = {"iss": KEY, "sub": "alice", "exp": int(time.time()) + 300}
    other = f'"roomName": "room-{rng.randrange(10**6)}"}}'.encode()
    headers = {"authorization": f"Bearer {jwt(_joins(claims, ROOM))}"}
    return Attempt("token: the room twice", JOB, GOOD_JOB[:-1] + b", " + other, headers=headers)


# ---- a session's reports ----------------------------------------------------------------------------------


def _report(what: str, make: Callable[[random.Random, dict[str, Any]], str]) -> Any:
    def attempt(rng: random.Random) -> Attempt:
        session = f"session-{rng.randrange(10**13)}-{rng.randbytes(8).hex()}"
        right = {"iss": KEY, "sub": "report", "exp": int(time.time()) + 300, "roomkeeper.reports": session}
        headers = {"authorization": f"Bearer {make(rng, right)}"}
        body = b'{"transcript": [{"role": "user", "text": "hello"}]}'
        return Attempt(f"report: {what}", f"/api/session/{session}/report", body, headers=headers)

    return attempt


_REPORTS = (
    _report("wrong secret", lambda rng, claims: jwt(claims, rng.randbytes(32).hex())),
    _report("expired", lambda rng, claims: jwt({**claims, "exp": 1_000_000})),
    _report("another session", lambda rng, claims: jwt({**claims, "roomkeeper.reports": "session-1-a"})),
    _report(
        "every session", lambda rng, claims: jwt({**claims, "roomkeeper.reports": rng.choice(["*", "", []])})
    ),
    _report("a participant", lambda rng, claims: jwt(_joins(_without(claims, "roomkeeper.reports"), ROOM))),
    _report("no such session", lambda rng, claims: jwt(claims)),
)


# ---- reading and ending what is somebody else's -----------------------------------------------------------

_READS = (
    ("GET", "/api/livekit/job/job_1"),
    ("GET", "/api/livekit/job/job_1/events"),
    ("GET", "/api/livekit/rooms"),
    ("GET", f"/api/livekit/rooms/{ROOM}"),
    ("GET", "/api/session/session-1-a"),
    ("DELETE", "/api/session/session-1-a"),
)


def _read(what: str, make: Callable[[random.Random, dict[str, Any]], str]) -> Any:
    def attempt(rng: random.Random) -> Attempt:
        now = int(time.time())
        claims = _joins({"iss": KEY, "sub": "alice", "nbf": now - 5, "exp": now + 300}, "elsewhere")
        method, path = rng.choice(_READS)
        token = make(rng, claims)
        if rng.random() < 0.3:
            return Attempt(f"read: {what}, in the URL", f"{path}?access_token={token}", b"", method)
        return Attempt(f"read: {what}", path, b"", method, headers={"authorization": f"Bearer {token}"})

    return attempt


_OTHERS = (
    _read("no token", lambda rng, claims: ""),
    _read("wrong secret", lambda rng, claims: jwt(claims, rng.randbytes(32).hex())),
    _read("another room", lambda rng, claims: jwt(claims)),
    _read("expired", lambda rng, claims: jwt({**claims, "exp": 1_000_000})),
    _read("every room", lambda rng, claims: jwt(_joins(claims, rng.choice(["*", "", None, [ROOM]])))),
    _read("half an operator", lambda rng, claims: jwt(_video(claims, roomAdmin=True, roomList=True))),
    _read("the site's login", lambda rng, claims: jwt({"sub": "alice", "exp": claims["exp"]}, SITE)),
)


# ---- bodies, sent by somebody who may ---------------------------------------------------------------------


def _deep(rng: random.Random) -> bytes:
    depth = rng.randrange(1000, 20_000)
    opening, closing = rng.choice(((b"[", b"]"), (b'{"a":', b"}")))
    return opening * depth + b"1" + closing * rng.choice((0, depth))


def _wrong_type(rng: random.Random) -> Any:
    return rng.choice((7, -1.5, True, [], ["x"], {}, {"x": 1}, 10**400, "\x00", "x" * 300, "", "\u200b"))


def _job(rng: random.Random) -> bytes:
    field_name = rng.choice(("jobType", "roomName"))
    return json.dumps({"jobType": "start_agent", "roomName": ROOM, field_name: _wrong_type(rng)}).encode()


def _payload(rng: random.Random) -> bytes:
    payload = rng.choice(
        (
            {"agentName": rng.choice((7, True, ["x"], {"x": 1}, "\x00", "", "\u200b", "x" * 300))},
            {"workerUrl": rng.choice((7, ["x"], "\x00", "http://169.254.169.254/", "file:///etc/passwd"))},
            {"metadata": rng.choice((7, True, ["x"], "x" * 600_000))},
        )
    )
    return json.dumps({"jobType": "start_agent", "roomName": ROOM, "payload": payload}).encode()


def _body(what: str, path: str, make: Callable[[random.Random], bytes]) -> Any:
    def attempt(rng: random.Random) -> Attempt:
        return Attempt(f"body: {what}", path, make(rng), headers=operator())

    return attempt


_BODIES = (
    _body("noise", JOB, lambda rng: b"\xff" + rng.randbytes(rng.randrange(0, 200))),
    _body("not UTF-8", JOB, lambda rng: GOOD_JOB.replace(b"room-a", b"room-\xff\xfe")),
    _body("a lone surrogate", JOB, lambda rng: GOOD_JOB.replace(b"room-a", rb"\ud800")),
    _body("cut", JOB, lambda rng: GOOD_JOB[: rng.randrange(1, len(GOOD_JOB))]),
    _body("deep", JOB, _deep),
    _body(
        "NaN", JOB, lambda rng: GOOD_JOB.replace(b'"room-a"', rng.choice((b"NaN", b"Infinity", b"-Infinity")))
    ),
    _body("no object", JOB, lambda rng: rng.choice((b"[]", b"null", b"1", b'"x"', b"[{}]", b"true"))),
    _body("wrong types", JOB, _job),
    _body("wrong payload", JOB, _payload),
    _body("control characters", JOB, lambda rng: GOOD_JOB.replace(b"room-a", rb"a\u0000b")),
    _body("nothing to be seen", JOB, lambda rng: GOOD_JOB.replace(b"room-a", rb"\u200b\u2060\ufeff")),
    _body("a long name", JOB, lambda rng: GOOD_JOB.replace(b"room-a", b"x" * rng.randrange(257, 5000))),
    _body("too much", JOB, lambda rng: GOOD_JOB[:-1] + b" " * 1_100_000 + b"}"),
    _body("trailing", JOB, lambda rng: GOOD_JOB + rng.choice((b"{}", b",", b"x", b"\x00"))),
    _body("a worker's door, no room", "/start", lambda rng: b'{"agentName": "a"}'),
    _body("a token with grants", TOKEN, lambda rng: b'{"room": "r", "grants": {"roomAdmin": true}}'),
    _body("a token as an agent", TOKEN, lambda rng: b'{"room": "r", "identity": "agent-AJ_x"}'),
    _body("LiveKit's attributes", TOKEN, lambda rng: b'{"attributes": {"lk.agent_name": "x"}}'),
    _body("a room's settings", TOKEN, lambda rng: b'{"room_config": {"egress": {"room": {}}}}'),
    _body("a session as an agent", SESSION, lambda rng: b'{"identity": "agent-AJ_x"}'),
    _body("a session, wrong types", SESSION, lambda rng: _language(rng)),
    _body("deep metadata", SESSION, lambda rng: b'{"metadata": ' + _deep(rng) + b"}"),
)


def _language(rng: random.Random) -> bytes:
    return json.dumps({"language": rng.choice((7, True, [], {}, "x" * 40, "\x07"))}).encode()


# ---- the site's login -------------------------------------------------------------------------------------


def _login(what: str, make: Callable[[random.Random, dict[str, Any]], tuple[str, dict[str, Any]]]) -> Any:
    def attempt(rng: random.Random) -> Attempt:
        right = {"sub": "alice", "exp": int(time.time()) + 300, "rooms": ["room-1"]}
        token, body = make(rng, right)
        headers = {"authorization": f"Bearer {token}"}
        return Attempt(
            f"login: {what}", rng.choice((TOKEN, SESSION)), json.dumps(body).encode(), headers=headers
        )

    return attempt


_LOGINS = (
    _login("wrong secret", lambda rng, claims: (jwt(claims, rng.randbytes(32).hex()), {})),
    _login("LiveKit's secret", lambda rng, claims: (jwt(claims, SECRET), {})),
    _login("alg none", lambda rng, claims: (f"{part({'alg': 'none'})}.{part(claims)}.", {})),
    _login("RS256 by name", lambda rng, claims: (jwt(claims, SITE, header={"alg": "RS256"}), {})),
    _login("expired", lambda rng, claims: (jwt({**claims, "exp": 1_000_000}, SITE), {})),
    _login("missing exp", lambda rng, claims: (jwt(_without(claims, "exp"), SITE), {})),
    _login("nobody", lambda rng, claims: (jwt({**claims, "sub": rng.choice(["", None, 7])}, SITE), {})),
    _login("somebody else", lambda rng, claims: (jwt(claims, SITE), {"identity": "bob"})),
    _login("an agent", lambda rng, claims: (jwt({**claims, "sub": "agent-AJ_x"}, SITE), {})),
    _login("altered", lambda rng, claims: (_altered(rng, jwt(claims, SITE)), {})),
)
