"""Tokens: what we mint the SDK accepts, what we verify it would accept too, and grants are read narrowly."""

from __future__ import annotations

import time
from typing import Any

import jwt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from livekit.api import AccessToken, TokenVerifier, VideoGrants

from gateway.livekit.tokens import LEEWAY, Grants, InvalidToken, mint, mint_operator, verify

KEY, SECRET = "devkey", "secret-of-more-than-thirty-two-bytes"
KEYS = {KEY: SECRET}
NOW = 1_700_000_000.0


def signed(secret: str = SECRET, algorithm: str = "HS256", **changes: Any) -> str:
    """A token of our key with the claims changed; None leaves one out."""
    claims = {"iss": KEY, "sub": "user-1", "nbf": NOW, "exp": NOW + 60, "video": {}} | changes
    return jwt.encode({k: v for k, v in claims.items() if v is not None}, secret, algorithm=algorithm)


def why_not(token: str, now: float = NOW) -> str:
    with pytest.raises(InvalidToken) as refused:
        verify(token, KEYS, now)
    assert token not in str(refused.value)
    return str(refused.value)


def test_a_minted_token_says_to_livekit_what_was_asked() -> None:
    """LiveKit's own verifier reads identity, name, metadata, attributes, and one room to join."""
    token = mint(
        KEY, SECRET, room="room-1", identity="user-1", name="U", metadata="{}", attributes={"a": "b"}, ttl=60
    )
    claims = TokenVerifier(KEY, SECRET).verify(token)
    assert (claims.identity, claims.name, claims.metadata) == ("user-1", "U", "{}")
    assert claims.attributes == {"a": "b"}
    assert claims.video == VideoGrants(room_join=True, room="room-1")


def test_a_minted_token_names_no_agents() -> None:
    """They become invitations: LiveKit would dispatch them besides the keeper, or ignore them (fact 78)."""
    token = mint(KEY, SECRET, room="room-1", identity="user-1", metadata='{"agent":true}', ttl=60)
    assert TokenVerifier(KEY, SECRET).verify(token).room_config is None


def test_a_minted_token_lives_as_long_as_was_said() -> None:
    """No longer: a token is tied to no SID (fact 86)."""
    token = mint(KEY, SECRET, room="room-1", identity="user-1", ttl=60)
    expires = jwt.decode(token, options={"verify_signature": False})["exp"]
    assert 55 < expires - time.time() <= 61


def test_a_participants_token_joins_its_room_and_administers_nothing() -> None:
    """It may ask for an agent in that room only."""
    token = mint(KEY, SECRET, room="room-1", identity="user-1", ttl=60)
    assert verify(token, KEYS, time.time()) == Grants(identity="user-1", joins="room-1")


def test_an_operators_token_administers_and_joins_nothing() -> None:
    """`roomkeeper token --admin` opens the operator's routes."""
    token = mint_operator(KEY, SECRET, identity="op", ttl=60)
    assert verify(token, KEYS, time.time()) == Grants(identity="op", is_operator=True)


@pytest.mark.parametrize(
    "video",
    [
        {"roomAdmin": True},
        {"roomAdmin": True, "roomCreate": True},
        {"roomAdmin": True, "roomCreate": True, "roomList": True, "room": "room-1"},
        {"roomAdmin": 1, "roomCreate": "yes", "roomList": [0]},
        {"agent": True},
        {},
    ],
)
def test_less_than_all_admin_grants_for_every_room_make_no_operator(video: dict[str, object]) -> None:
    """An admin of one room, a worker, a truthy value: none of them is one."""
    assert not verify(signed(video=video), KEYS, NOW).is_operator


@pytest.mark.parametrize(
    "video", [{"room": "room-1"}, {"roomJoin": "true", "room": "room-1"}, {"roomJoin": True}]
)
def test_a_room_without_the_right_to_join_is_none(video: dict[str, object]) -> None:
    """Only `roomJoin: true` with a room's name lets somebody ask for an agent there."""
    assert verify(signed(video=video), KEYS, NOW).joins == ""


def test_a_token_of_any_of_our_keys_is_accepted() -> None:
    """While keys rotate, both sign."""
    keys = {"old": "old-secret", "new": "new-secret"}
    for key, secret in keys.items():
        assert verify(signed(secret, iss=key), keys, NOW).identity == "user-1"


def test_each_refusal_says_why() -> None:
    """The caller reads what to mend, and never the token."""
    assert "signature" in why_not(signed("wrong"))
    assert "not ours" in why_not(signed(iss="other"))
    assert "not ours" in why_not(signed(iss=None))
    assert "algorithm" in why_not(signed(algorithm="HS512"))
    assert "never expires" in why_not(signed(exp=None))
    assert "expired" in why_not(signed(), NOW + 60 + LEEWAY)
    assert "clock" in why_not(signed(nbf=NOW + LEEWAY + 1))
    assert "clock" in why_not(signed(iat=NOW + LEEWAY + 1))
    assert "no time" in why_not(signed(exp=10**400))
    assert "no time" in why_not(signed(exp=float("inf")))
    assert "no time" in why_not(signed(exp=float("nan")))
    assert "no time" in why_not(signed(exp=True))
    assert "claims" in why_not(signed(video=[]))
    assert "no JWT" in why_not("x.y.z")
    assert "no JWT" in why_not("é")


def test_an_unsigned_token_is_refused() -> None:
    """`alg: none` is no algorithm."""
    assert why_not(jwt.encode({"iss": KEY, "exp": NOW + 60}, "", algorithm="none"))


def test_an_empty_secret_signs_nothing() -> None:
    """A key that is set without its secret must not let everybody in."""
    with pytest.raises(InvalidToken, match="not ours"):
        verify(signed(), {KEY: ""}, NOW)


@given(st.text(max_size=60))
def test_noise_is_refused_and_nothing_else_is_raised(token: str) -> None:
    """Whatever stands in the header, the answer is a refusal."""
    with pytest.raises(InvalidToken):
        verify(token, KEYS, NOW)


@given(st.integers(0, 10_000), st.integers(0, 127))
def test_no_altered_token_is_accepted_that_the_sdk_refuses(at: int, byte: int) -> None:
    """One changed character anywhere in a valid token."""
    valid = bytearray(AccessToken(KEY, SECRET).with_identity("user-1").to_jwt().encode())
    valid[at % len(valid)] = byte
    altered = valid.decode()
    try:
        verify(altered, KEYS, time.time())
    except InvalidToken:
        return
    assert TokenVerifier(KEY, SECRET).verify(altered).identity == "user-1"
