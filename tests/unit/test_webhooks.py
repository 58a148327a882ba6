"""Webhook verification: the SDK's receiver is the oracle, and hostile input is refused in words."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from livekit.api import TokenVerifier, WebhookReceiver

from gateway.livekit.tokens import LEEWAY
from gateway.livekit.webhooks import Event, Rejected, SeenIds, verify

KEY, SECRET = "devkey", "secret-of-more-than-thirty-two-bytes"
KEYS = {KEY: SECRET}
NOW = 1_700_000_000.0
BODY = json.dumps(
    {
        "event": "participant_joined",
        "room": {"sid": "RM_1", "name": "room-1", "creationTime": "1700000000", "turnPassword": "hidden"},
        "participant": {
            "sid": "PA_1",
            "identity": "agent-1",
            "kind": "AGENT",
            "metadata": "{}",
            "attributes": {"lk.agent_name": "echo"},
            "joinedAt": "1700000000",
            "permission": {"canPublish": True},
        },
        "id": "EV_1",
        "createdAt": "1700000000",
        "aFieldOfTomorrow": [1, {"x": None}],
    }
).encode()


def b64url(data: bytes) -> bytes:
    return base64.urlsafe_b64encode(data).rstrip(b"=")


def digest(body: bytes) -> str:
    return base64.b64encode(hashlib.sha256(body).digest()).decode()


HEADER = b'{"alg": "HS256", "typ": "JWT"}'


def signed(header: bytes, claims: bytes, secret: str = SECRET) -> str:
    """A JWT of these very bytes."""
    text = b64url(header) + b"." + b64url(claims)
    return (text + b"." + b64url(hmac.digest(secret.encode(), text, "sha256"))).decode()


def token(claims: object, *, header: object = {"alg": "HS256", "typ": "JWT"}, secret: str = SECRET) -> str:
    return signed(json.dumps(header).encode(), json.dumps(claims).encode(), secret)


def claims_for(body: bytes, **changes: Any) -> dict[str, Any]:
    """LiveKit's claims for a body; a change to None leaves the claim out."""
    claims = {"iss": KEY, "nbf": int(NOW), "exp": int(NOW) + 300, "sha256": digest(body)} | changes
    return {name: value for name, value in claims.items() if value is not None}


def verdict_of(body: bytes, authorization: str | None, now: float = NOW) -> str:
    with pytest.raises(Rejected) as refused:
        verify(body, authorization, KEYS, now)
    assert str(refused.value)
    return refused.value.verdict


def test_an_event_is_decoded_to_what_the_keeper_needs() -> None:
    """Room, SID, who, of what kind; unknown fields are passed over, int64 comes as text."""
    event = verify(BODY, token(claims_for(BODY)), KEYS, NOW)
    assert (event.event, event.id, event.created_at) == ("participant_joined", "EV_1", 1_700_000_000.0)
    assert (event.room.name, event.room.sid) == ("room-1", "RM_1")
    assert event.participant is not None
    assert (event.participant.identity, event.participant.sid) == ("agent-1", "PA_1")
    assert event.participant.kind == "AGENT"
    assert event.participant.attributes == {"lk.agent_name": "echo"}


def test_no_secret_of_the_body_is_kept() -> None:
    """`room.turnPassword` is nowhere in the event, so no log can show it (fact 25)."""
    assert "hidden" not in repr(verify(BODY, token(claims_for(BODY)), KEYS, NOW))


def test_bearer_before_the_token_is_accepted() -> None:
    """A proxy that normalises the header breaks nothing."""
    assert verify(BODY, "Bearer " + token(claims_for(BODY)), KEYS, NOW).id == "EV_1"


def test_the_issuer_picks_the_key() -> None:
    """While keys rotate, both sign."""
    keys = {"old": "old-secret", "new": "new-secret"}
    for key, secret in keys.items():
        assert verify(BODY, token(claims_for(BODY, iss=key), secret=secret), keys, NOW).id == "EV_1"


def test_another_keys_secret_does_not_sign_for_this_key() -> None:
    """Keys are pairs, not a bag of secrets."""
    keys = {"old": "old-secret", "new": "new-secret"}
    with pytest.raises(Rejected) as refused:
        verify(BODY, token(claims_for(BODY, iss="new"), secret="old-secret"), keys, NOW)
    assert refused.value.verdict == "bad_signature"


def test_an_empty_secret_signs_nothing() -> None:
    """A key that is set without its secret must not let everybody in."""
    with pytest.raises(Rejected) as refused:
        verify(BODY, token(claims_for(BODY), secret=""), {KEY: ""}, NOW)
    assert refused.value.verdict == "unknown_key"


@pytest.mark.parametrize("authorization", [None, ""])
def test_an_unsigned_webhook_is_refused(authorization: str | None) -> None:
    """Anybody can post; only LiveKit signs."""
    assert verdict_of(BODY, authorization) == "unsigned"


@pytest.mark.parametrize(
    "authorization",
    [
        "x",
        "a.b",
        "a.b.c.d",
        "..",
        "Bearer ",
        "Bearer Bearer x.y.z",
        "é.é.é",
        "\x00.\x00.\x00",
        token([]),
        token("iss"),
        token(None),
        token(claims_for(BODY), header=[]),
        token(claims_for(BODY), header={}),
        token({}),
        token(claims_for(BODY, exp=None)),
        token(claims_for(BODY, exp="soon")),
        token(claims_for(BODY, exp=True)),
        token(claims_for(BODY, iss=["devkey"])),
        token(claims_for(BODY, sha256="not base64!")),
        token(claims_for(BODY, sha256=7)),
        signed(b'{"alg": "HS256", "typ": "\xff"}', json.dumps(claims_for(BODY)).encode()),
        signed(HEADER, json.dumps(claims_for(BODY)).encode()[:-1] + b', "jti": "\xff"}'),
        b64url(b"[" * 100_000).decode() + ".e30.x",
        "e30." + b64url(b'{"iss":' + b"[" * 100_000).decode() + ".x",
    ],
)
def test_what_is_no_token_of_livekits_is_a_bad_token(authorization: str) -> None:
    """No shape of the header gets past, or out as another exception."""
    assert verdict_of(BODY, authorization) == "bad_token"


@pytest.mark.parametrize(
    "header",
    [
        {"alg": "none"},
        {"alg": "None"},
        {"alg": "hs256"},
        {"alg": "HS512"},
        {"alg": "RS256"},
        {"alg": ""},
        {"alg": "HS256", "crit": ["b64"], "b64": False},
    ],
)
def test_no_algorithm_but_hs256_is_accepted(header: dict[str, object]) -> None:
    """`none`, and extensions that we do not know, are refused whatever the signature."""
    assert verdict_of(BODY, token(claims_for(BODY), header=header)) == "bad_algorithm"


def test_a_signature_of_the_wrong_secret_is_refused() -> None:
    """The operator reads that the secrets differ."""
    assert verdict_of(BODY, token(claims_for(BODY), secret="wrong")) == "bad_signature"


def test_no_signature_at_all_is_refused() -> None:
    """HS256 with an empty third part."""
    assert verdict_of(BODY, token(claims_for(BODY)).rpartition(".")[0] + ".") == "bad_signature"


def test_an_unknown_key_is_named_as_such() -> None:
    """LiveKit signs with webhook.api_key: the operator must look there."""
    assert verdict_of(BODY, token(claims_for(BODY, iss="other"))) == "unknown_key"


def test_a_body_that_was_changed_on_its_way_is_refused() -> None:
    """The signature covers the body by its digest."""
    assert verdict_of(BODY + b" ", token(claims_for(BODY))) == "bad_hash"


def test_a_participants_token_signs_no_webhook() -> None:
    """Every client has a token of the same key; without the digest it proves nothing."""
    assert verdict_of(BODY, token(claims_for(BODY, sha256=None))) == "bad_hash"


@pytest.mark.parametrize(
    ("late", "accepted"),
    [(300 + LEEWAY - 1, True), (300 + LEEWAY, False), (-LEEWAY, True), (-LEEWAY - 1, False)],
)
def test_clocks_may_differ_by_livekits_leeway(late: float, accepted: bool) -> None:
    """60 s on both ends, as LiveKit itself allows (fact 85)."""
    signed = token(claims_for(BODY))
    if accepted:
        assert verify(BODY, signed, KEYS, NOW + late).id == "EV_1"
    else:
        assert verdict_of(BODY, signed, NOW + late) == ("expired" if late > 0 else "not_yet_valid")


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b"{}",
        b"{",
        b"null",
        b'"x"',
        b"\xff\xfe",
        b'{"event":"x","aFieldOfTomorrow":"\xff"}',
        b'{"event":7}',
        b'{"event":"x","room":[]}',
        b'{"event":"x","participant":{"attributes":{"a":1}}}',
        b"[" * 100_000,
        b'{"event":"x","y":' + b"[" * 100_000,
    ],
)
def test_a_signed_body_that_is_no_event_is_malformed(body: bytes) -> None:
    """The SDK's receiver takes a signed `[]` for an event (fact 27); we do not."""
    assert verdict_of(body, token(claims_for(body))) == "malformed"


# Against the SDK (PyJWT under it)


def oracle(body: bytes, authorization: str) -> str | None:
    """The event's name by the SDK's receiver; None when it refuses, in whichever way (fact 27)."""
    try:
        return WebhookReceiver(TokenVerifier(KEY, SECRET)).receive(body.decode(), authorization).event
    except Exception:  # noqa: BLE001  (it raises many kinds)
        return None


def ours(body: bytes, authorization: str) -> str | None:
    try:
        return verify(body, authorization, KEYS, time.time()).event
    except Rejected:
        return None


def fresh(body: bytes, **changes: Any) -> dict[str, Any]:
    now = int(time.time())
    return claims_for(body, **({"nbf": now, "exp": now + 300} | changes))


names = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=20)
events = st.builds(
    lambda event, room, sid, identity, kind, attributes, at: {
        "event": event,
        "room": {"name": room, "sid": sid},
        "participant": {"identity": identity, "kind": kind, "attributes": attributes, "state": "ACTIVE"},
        "createdAt": at,
        "id": "EV_" + sid,
    },
    names,
    names,
    names,
    names,
    st.sampled_from(["STANDARD", "AGENT", "SIP", "EGRESS", "INGRESS"]),
    st.dictionaries(names, names, max_size=3),
    st.integers(0, 2**62).map(str),
)


@given(events)
def test_what_the_sdk_reads_we_read(event: dict[str, Any]) -> None:
    """Every well-formed event has the same fields by the SDK's protobuf parser and by ours."""
    body = json.dumps(event, ensure_ascii=False).encode()
    theirs = WebhookReceiver(TokenVerifier(KEY, SECRET)).receive(body.decode(), token(fresh(body)))

    got: Event = verify(body, token(claims_for(body)), KEYS, NOW)

    assert (got.event, got.id, got.created_at) == (theirs.event, theirs.id, float(theirs.created_at))
    assert (got.room.name, got.room.sid) == (theirs.room.name, theirs.room.sid)
    assert got.participant is not None
    assert got.participant.identity == theirs.participant.identity
    assert got.participant.kind == type(theirs.participant).Kind.Name(theirs.participant.kind)
    assert got.participant.attributes == dict(theirs.participant.attributes)


@given(st.integers(0, 10_000), st.integers(0, 255))
def test_no_altered_token_is_accepted_that_the_sdk_refuses(at: int, byte: int) -> None:
    """One changed byte anywhere in a valid token: we accept nothing that PyJWT refuses."""
    valid = bytearray(token(fresh(BODY)).encode())
    valid[at % len(valid)] = byte
    altered = valid.decode("latin-1")
    if oracle(BODY, altered) is None:
        assert ours(BODY, altered) is None


@given(st.integers(0, 10_000), st.integers(0, 255))
def test_an_altered_body_is_accepted_only_if_it_is_the_same(at: int, byte: int) -> None:
    """The digest covers every byte."""
    altered = bytearray(BODY)
    altered[at % len(altered)] = byte
    accepted = ours(bytes(altered), token(fresh(BODY)))
    assert (accepted is not None) == (bytes(altered) == BODY)


offsets = st.one_of(st.none(), st.integers(-1000, 1000), st.floats(allow_nan=True), st.text(max_size=3))


@given(offsets, offsets, offsets, st.sampled_from([KEY, "other", "", None, 7]), st.booleans())
def test_claims_are_judged_as_the_sdk_judges_them(
    exp: object, nbf: object, iat: object, iss: object, with_hash: bool
) -> None:
    """Whatever the signed claims are, we accept nothing that the SDK refuses, and vice versa refuse no more
    than times that are no numbers."""

    def moment(offset: object) -> object:
        return int(time.time()) + offset if isinstance(offset, int) else offset

    claims = fresh(BODY, exp=moment(exp), nbf=moment(nbf), iat=moment(iat), iss=iss)
    if not with_hash:
        del claims["sha256"]
    signed = token(claims)
    if any(isinstance(t, str | float) for t in (exp, nbf, iat)):
        assert ours(BODY, signed) is None or oracle(BODY, signed) is not None
    elif not any(isinstance(t, int) and abs(abs(t) - LEEWAY) < 2 for t in (exp, nbf, iat)):  # not at the edge
        assert ours(BODY, signed) == oracle(BODY, signed)


@given(st.binary(max_size=200), st.text(max_size=200))
def test_nothing_but_rejected_is_raised(body: bytes, authorization: str) -> None:
    """Noise is an answer, never a crash."""
    assert ours(body, authorization) is None
    assert ours(body, token(fresh(body), header={"alg": authorization})) is None


@given(st.binary(max_size=200))
def test_a_signed_body_never_crashes(body: bytes) -> None:
    """Nor does noise that was signed."""
    ours(body, token(fresh(body)))


# Repeats


def test_a_repeated_id_is_seen() -> None:
    """A retry carries the id of the first attempt (fact 25)."""
    seen = SeenIds()
    assert not seen.repeated("EV_1", 0.0)
    assert seen.repeated("EV_1", 60.0)
    assert not seen.repeated("EV_2", 60.0)


def test_an_id_is_forgotten_after_the_window() -> None:
    """What LiveKit no longer repeats costs no memory."""
    seen = SeenIds(window=60.0)
    seen.repeated("EV_1", 0.0)
    assert not seen.repeated("EV_1", 60.1)
    assert len(seen) == 1


def test_the_memory_of_ids_is_bounded() -> None:
    """However many events come, the oldest give way."""
    seen = SeenIds(cap=3)
    for n in range(10):
        seen.repeated(f"EV_{n}", 0.0)
    assert len(seen) == 3
    assert seen.repeated("EV_9", 0.0)
    assert not seen.repeated("EV_0", 0.0)


def test_events_without_an_id_are_no_repeats_of_each_other() -> None:
    """An older LiveKit loses nothing."""
    seen = SeenIds()
    assert not seen.repeated("", 0.0)
    assert not seen.repeated("", 0.0)


@pytest.mark.parametrize("event", ["agent_job_pending", "agent_job_started", "agent_job_ended"])
def test_a_job_event_of_a_newer_server_tells_its_room_and_agent(event: str) -> None:
    """Its room is in the job, as with egress; a status that is the default is left out."""
    body = json.dumps(
        {
            "event": event,
            "id": "EV_1",
            "createdAt": "1700000000",
            "job": {
                "id": "AJ_1",
                "dispatchId": "AD_1",
                "type": "JT_ROOM",
                "room": {"sid": "RM_1", "name": "room-1"},
                "agentName": "echo",
                "state": {"reason": "JSR_RETRYING", "participantIdentity": "agent-AJ_1", "error": "x"},
            },
        }
    ).encode()

    told = verify(body, token(claims_for(body)), KEYS, NOW)

    assert (told.about.name, told.about.sid) == ("room-1", "RM_1")
    assert told.job is not None
    assert (told.job.id, told.job.dispatch_id, told.job.agent_name) == ("AJ_1", "AD_1", "echo")
    assert (told.job.state.status, told.job.state.reason) == ("JS_PENDING", "JSR_RETRYING")
    assert told.job.state.participant_identity == "agent-AJ_1"
