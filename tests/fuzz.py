"""Coverage-guided fuzzing of what decides about strangers: `make fuzz TARGET=webhook`.

- `webhook`: our receiver beside the SDK's. Of tokens we never take more; where a body that was signed rightly
  is judged differently, `_why_taken` and `_why_refused` know why (docs/http.md lists it).
- `token`: tokens of participants, operators and sessions' reports beside the SDK's verifier.
- `door`: what operators and agents may send to the routes that take a body, and what is told of it then:
  never a 5xx.

Ends with 0 when nothing was found, else with 77; a finding is printed with its input, which belongs into a
test. What led somewhere new is kept in `.run/fuzz`, where the next run begins.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import contextlib
import hashlib
import hmac
import json
import logging
import math
import random
import re
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch

import atheris
import msgspec
import structlog
from livekit.protocol.webhook import WebhookEvent

with atheris.instrument_imports(include=["gateway", "google.protobuf.json_format", "jwt"]):
    from google.protobuf.json_format import Parse
    from livekit.api import TokenVerifier

    from gateway.environment import read
    from gateway.http import wire
    from gateway.livekit import tokens, webhooks
    from gateway.sessions.model import Session
    from tests.door import PRODUCTION, door_of
    from tests.fakes.livekit import FakeLiveKit
    from tests.hostile import (
        EVENT,
        GOOD_JOB,
        JOB,
        KEY,
        SECRET,
        SESSION,
        TOKEN,
        UNCOUNTED,
        Attempt,
        digest_of,
        jwt,
        operator,
        status_of,
    )

KEYS = {KEY: SECRET}
SDK = TokenVerifier(KEY, SECRET)
Target = Callable[[bytes], None]
"""Takes an input of at least one byte, which says what the rest is. Raises when it has found something."""


# ---- webhooks ---------------------------------------------------------------------------------------------

FULL_EVENT = {
    "event": "participant_left",
    "id": "EV_1",
    "createdAt": "1700000000",
    "room": {"name": "room-a", "sid": "RM_1", "creationTime": "1700000000", "numParticipants": 2},
    "participant": {
        "identity": "agent-AJ_1",
        "sid": "PA_1",
        "kind": "AGENT",
        "metadata": "{}",
        "state": "ACTIVE",
        "attributes": {"lk.agent_name": "echo"},
        "disconnectReason": "ROOM_DELETED",
    },
}


def webhook(data: bytes) -> None:
    """A body that was signed, claims, a header, a whole token, or a body under the token of another."""
    material = data[1:]
    now = int(time.time())
    claims = {"iss": KEY, "exp": now + 300, "sha256": digest_of(EVENT)}
    match data[0] % 5:
        case 0:
            return _compare_bodies(material)
        case 1:
            token, body = jwt(material), EVENT
        case 2:
            token, body = jwt(claims, header=material), EVENT
        case 3:
            token, body = material.decode("latin-1"), EVENT
        case _:
            token, body = jwt(claims), material
    try:
        webhooks.verify(body, token, KEYS, now)
    except webhooks.Rejected:
        return None
    believed = SDK.verify(token.removeprefix("Bearer "))
    assert base64.b64decode(believed.sha256 or "") == hashlib.sha256(body).digest(), "another body was signed"
    return None


def _compare_bodies(body: bytes) -> None:
    token = jwt({"iss": KEY, "exp": int(time.time()) + 300, "sha256": digest_of(body)})
    ours, theirs = None, _sdk(body)
    try:
        ours = webhooks.verify(body, token, KEYS, time.time())
    except webhooks.Rejected as refused:
        if refused.verdict != "malformed":
            raise AssertionError(f"signed rightly, and yet {refused.verdict}") from None
    if ours is None and theirs is not None:
        assert _why_refused(body), "the SDK takes what we refuse"
    elif ours is not None and theirs is None:
        assert _why_taken(body), "we take what the SDK refuses"
    elif ours is not None and theirs is not None:
        assert (ours.event, ours.id, ours.room.name) == (theirs.event, theirs.id, theirs.room.name)


def _sdk(body: bytes) -> WebhookEvent | None:
    with contextlib.suppress(Exception):  # it raises many kinds (fact 27)
        return Parse(body.decode(), WebhookEvent(), ignore_unknown_fields=True)
    return None


def _why_refused(body: bytes) -> str:
    """Why the SDK may take a body that we refuse; "" when we know of no reason."""
    event = json.loads(body, parse_constant=lambda _: NO_JSON)
    if not isinstance(event, dict) or not isinstance(event.get("event"), str):
        return "no event, of which the SDK makes an empty one: [] (fact 27)"
    within = list(_values(event))
    if None in within:
        return "null for a value"
    if NO_JSON in within or any(isinstance(value, str) and _is_half(value) for value in within):
        return "no JSON: NaN, half a character"
    if any(isinstance(event.get(name, {}), list | str) for name in ("room", "participant", "job")):
        return "a text or list for an object"
    who = event.get("participant", {})
    if any(isinstance(who.get(name), int | float) for name in ("kind", "disconnectReason")):
        return "a number for an enum's name, which LiveKit writes"
    at = event.get("createdAt", 0)
    if isinstance(at, str) and not re.fullmatch(r"-?(0|[1-9][0-9]*)", at, re.ASCII):
        return "a time that only Python reads, as 07 or 1_000"
    return ""


def _why_taken(body: bytes) -> str:
    """The other way round."""
    event = json.loads(body)
    narrowed = _narrowed(event)
    if not float(narrowed.created_at).is_integer() or abs(narrowed.created_at) >= 2**63:
        return "a time that is no int64"
    if _sdk(msgspec.json.encode(msgspec.to_builtins(narrowed))) is not None:
        return "a field that we do not read is of another type, or there twice"
    return ""


NO_JSON = "no JSON"


def _values(value: object) -> Iterator[Any]:
    """Everything within, keys too."""
    if isinstance(value, dict):
        yield from value
        value = list(value.values())
    if isinstance(value, list):
        for inner in value:
            yield from _values(inner)
    else:
        yield value


def _is_half(text: str) -> bool:
    return any("\ud800" <= character <= "\udfff" for character in text)


def _narrowed(event: dict[str, Any]) -> webhooks.Event:
    """What our types read of it, each key once."""
    return msgspec.convert(event, webhooks.Event, strict=False)


# ---- tokens -----------------------------------------------------------------------------------------------


def token(data: bytes) -> None:
    """Claims, a header, or a whole token."""
    material = data[1:]
    now = int(time.time())
    match data[0] % 3:
        case 0:
            text = jwt(material)
        case 1:
            text = jwt(
                {"iss": KEY, "exp": now + 300, "video": {"roomJoin": True, "room": "a"}}, header=material
            )
        case _:
            text = material.decode("latin-1")
    for check in (tokens.verify, tokens.verify_report):
        with contextlib.suppress(tokens.InvalidToken):
            check(text, KEYS, now)
            break
    else:
        return
    raw = json.loads(base64.urlsafe_b64decode(text.split(".")[1] + "=="))
    SDK.verify(text)
    if check is tokens.verify:
        grants, video = tokens.verify(text, KEYS, now), raw.get("video") or {}
        assert not grants.joins or video["roomJoin"] is True
        assert (
            not grants.is_operator or video["roomAdmin"] is video["roomCreate"] is video["roomList"] is True
        )


# ---- the front door ---------------------------------------------------------------------------------------


def door() -> Target:
    """A fake keeper stands behind it. The fuzzer never returns, and so nothing of this is closed."""
    loop = asyncio.new_event_loop()
    door = door_of(read({**PRODUCTION, **UNCOUNTED}, dev=False), FakeLiveKit(clock=time.time))
    now = time.time()
    told = Session(id="session-1-a", agent="echo", identity="alice", created_at=now, keep_until=now + 60)
    shown = Attempt("fuzz", f"/api/session/{told.id}", b"", "GET", headers=operator())
    reports = tokens.mint_report(KEY, SECRET, session=told.id, ttl=86_400, now=now)
    paths = (JOB, "/start", TOKEN, SESSION, f"{shown.path}/report")

    async def statuses(path: str, body: bytes) -> list[int]:
        if path != paths[-1]:
            return [await status_of(door.app, Attempt("fuzz", path, body, headers=operator()))]
        await door.stored.forget(math.inf)
        await door.stored.add(told)
        headers = {"authorization": f"Bearer {reports}"}
        took = await status_of(door.app, Attempt("fuzz", path, body, headers=headers))
        return [took, await status_of(door.app, shown)]

    def target(data: bytes) -> None:
        path = paths[data[0] % len(paths)]
        found = loop.run_until_complete(statuses(path, data[1:]))
        assert all(200 <= status < 500 for status in found), f"{path} answered {found}"

    return target


# ---- the fuzzer -------------------------------------------------------------------------------------------

SEEDS: dict[str, list[bytes]] = {
    "webhook": [
        b"\x00" + json.dumps(FULL_EVENT).encode(),
        b"\x00" + EVENT,
        b"\x00[]",
        b"\x01"
        + json.dumps({"iss": KEY, "exp": 4_000_000_000, "nbf": 1, "sha256": digest_of(EVENT)}).encode(),
        b'\x02{"alg":"HS256","typ":"JWT"}',
        b"\x03Bearer " + jwt({"iss": KEY, "exp": 4_000_000_000, "sha256": digest_of(EVENT)}).encode(),
        b"\x04" + EVENT,
    ],
    "token": [
        b"\x00"
        + json.dumps({"iss": KEY, "exp": 4_000_000_000, "sub": "a", "video": {"roomJoin": True}}).encode(),
        b"\x00" + json.dumps({"iss": KEY, "exp": 4_000_000_000, "roomkeeper.reports": "s"}).encode(),
        b'\x01{"alg":"HS256","typ":"JWT"}',
        b"\x02" + jwt({"iss": KEY, "exp": 4_000_000_000, "sub": "a"}).encode(),
    ],
    "door": [
        b"\x00" + GOOD_JOB,
        b'\x01{"roomName": "room-a", "agentName": "echo"}',
        b'\x02{"room_name": "r", "participant_identity": "i", "participant_attributes": {"a": "b"}}',
        b'\x02{"room": "r", "identity": "i", "metadata": {"a": 1}}',
        b'\x03{"language": "de", "instructions": "Be kind.", "metadata": {"a": [1, null]}}',
        b'\x04{"transcript": [{"role": "user", "text": "hello", "id": "1", "at": 1.5}], "questionnaire": {}}',
    ],
}


def mutate(data: bytes, max_size: int, seed: int) -> bytes:
    """Half of the time JSON becomes other JSON, which changed bytes rarely are; else as libFuzzer would."""
    rng = random.Random(seed)
    with contextlib.suppress(ValueError, RecursionError):
        if rng.random() < 0.5:
            text = json.dumps(_changed(json.loads(data[1:]), rng))
            if rng.random() < 0.1:  # a key twice
                text = text.replace("{", '{"name": "again", "name": "b", ', 1)
            return (data[:1] + text.encode())[:max_size]
    return bytes(atheris.Mutate(data, max_size))


def _changed(value: Any, rng: random.Random) -> Any:
    """One place of it is something else."""
    if isinstance(value, dict) and value and rng.random() < 0.9:
        key = rng.choice(list(value))
        rest = {name: inner for name, inner in value.items() if name != key}
        match rng.randrange(4):
            case 0:
                return rest
            case 1:
                return {**rest, key + rng.choice("_sS\u00e9"): value[key]}
            case _:
                return {**value, key: _changed(value[key], rng)}
    if isinstance(value, list) and value and rng.random() < 0.9:
        at = rng.randrange(len(value))
        return [*value[:at], _changed(value[at], rng), *value[at + 1 :]]
    return rng.choice(VALUES)


VALUES: list[Any] = [
    *("", "x", "1", "-1.5", "1e400", "NaN", "\u0000", "\ud800", "\u200b", "AGENT", "true", "x" * 300),
    *(0, 1, -1, 1.5, 2**31, 2**63, 2**64, 1e308, float("nan"), float("inf")),
    *(True, False, None, [], {}, [[]], {"a": {}}, ["x"], {"": ""}),
]


def _break(target: str) -> None:
    """Takes out one wall."""
    match target:
        case "webhook":
            blind = SimpleNamespace(digest=hmac.digest, compare_digest=lambda ours, theirs: True)
            patch.object(webhooks, "hmac", blind).start()
        case "token":
            patch.object(tokens, "_check_times").start()
        case _:
            patch.object(wire, "_translated", KeyError).start()


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("target", choices=sorted(SEEDS))
    parser.add_argument("--runs", type=int, default=100_000)
    parser.add_argument("--seconds", type=int, default=600)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--folder", type=Path, default=Path(".run/fuzz"))
    parser.add_argument("--broken", action="store_true", help="with a wall taken out, which must be found")
    asked = parser.parse_args()
    logging.disable(logging.CRITICAL)
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    target = {"webhook": webhook, "token": token}.get(asked.target) or door()
    folder = asked.folder / asked.target
    folder.mkdir(parents=True, exist_ok=True)
    for number, data in enumerate(SEEDS[asked.target]):
        (folder / f"seed-{number}").write_bytes(data)
    if asked.broken:
        _break(asked.target)
    atheris.Setup(
        [
            sys.argv[0],
            str(folder),
            f"-runs={asked.runs}",
            f"-max_total_time={asked.seconds}",
            f"-seed={asked.seed}",
            "-max_len=4096",
            f"-artifact_prefix={folder}/found-",
            "-reduce_inputs=0",  # nothing is seen of msgspec's inside: shorter inputs would seem as good
            "-print_final_stats=1",
        ],
        lambda data: target(data) if data else None,
        custom_mutator=mutate,
    )
    atheris.Fuzz()


if __name__ == "__main__":
    main()
