"""`/api/token`: our two shapes and LiveKit's standard endpoint format."""

from __future__ import annotations

import json
import re
import time
from typing import Any

import jwt
import pytest

from tests.door import Door, OpenDoor, operator, participant
from tests.fakes.keeper import NOW
from tests.hostile import KEY, SECRET

pytestmark = pytest.mark.anyio

BOTH_SETS = {"token", "url", "room", "identity", "participant_token", "server_url"}


def claims(token: str) -> dict[str, Any]:
    read: dict[str, Any] = jwt.decode(token, SECRET, algorithms=["HS256"], issuer=KEY)
    return read


async def test_a_post_mints_a_token_for_the_room(door: Door) -> None:
    """`{"identity","room"}` answers `token`, `url`, `room`, `identity`."""
    room = "session-1703123456789-k3m9x7q2w"
    answer = await door.http.post("/api/token", json={"identity": "user-1", "room": room})

    assert answer.status_code == 200
    body = answer.json()
    assert set(body) == BOTH_SETS
    assert (body["room"], body["identity"], body["url"]) == (room, "user-1", "wss://livekit.example.com")
    read = claims(body["token"])
    assert (read["sub"], read["video"]["room"], read["video"]["roomJoin"]) == ("user-1", room, True)
    assert "roomAdmin" not in read["video"]


async def test_a_post_without_a_room_makes_fresh_ones(door: Door) -> None:
    """`room-<timestamp>`, and never the same one twice."""
    rooms = {(await door.http.post("/api/token", json={"identity": "u"})).json()["room"] for _ in range(50)}
    assert len(rooms) == 50
    assert all(re.fullmatch(r"room-\d+", room) for room in rooms)


async def test_a_get_mints_a_token(door: Door) -> None:
    """`?room=paula-demo&name=testuser` answers `token` and `url`."""
    answer = await door.http.get("/api/token", params={"room": "paula-demo", "name": "testuser"})
    assert answer.status_code == 200
    assert set(answer.json()) == BOTH_SETS
    assert claims(answer.json()["token"])["name"] == "testuser"


async def test_livekits_standard_format_is_answered_201_with_both_sets(door: Door) -> None:
    """What every LiveKit SDK's `TokenSource.endpoint` sends and expects."""
    answer = await door.http.post(
        "/api/token",
        json={
            "room_name": "room-1",
            "participant_identity": "alice",
            "participant_name": "Alice",
            "participant_metadata": "site's own",
            "participant_attributes": {"seat": "12"},
            "room_config": {"agents": [{"agent_name": "clerk", "metadata": "m"}]},
        },
    )

    assert answer.status_code == 201
    body = answer.json()
    assert set(body) == BOTH_SETS
    assert body["participant_token"] == body["token"]
    assert body["server_url"] == "wss://livekit.example.com"
    read = claims(body["participant_token"])
    assert (read["sub"], read["name"], read["metadata"]) == ("alice", "Alice", "site's own")
    assert read["attributes"] == {"seat": "12"}


@pytest.mark.parametrize("content", [b"{}", b""], ids=["an empty object", "no body"])
async def test_everything_in_the_standard_format_is_optional(door: Door, content: bytes) -> None:
    """A room and an identity are made up."""
    answer = await door.http.post("/api/token", content=content)
    assert answer.status_code == 201
    assert answer.json()["room"]
    assert answer.json()["identity"]


async def test_agents_of_a_room_config_become_invitations_and_leave_the_token(door: Door) -> None:
    """LiveKit would dispatch them as well, or ignore them when the room exists (fact 78)."""
    answer = await door.http.post(
        "/api/token",
        json={
            "room_name": "room-1",
            "participant_identity": "alice",
            "room_config": {"agents": [{"agent_name": "clerk", "metadata": "m"}, {}]},
        },
    )

    invited = [(i.room, i.identity, i.agent, i.metadata) for i in door.keeper.invitations]
    assert invited == [
        ("room-1", "alice", "clerk", "m"),
        ("room-1", "alice", "my-telephony-agent", ""),
    ]
    assert "roomConfig" not in claims(answer.json()["token"])


@pytest.mark.parametrize(
    ("metadata", "agent"),
    [
        ({"agent": True, "language": "de"}, "my-telephony-agent"),
        ('{"agent": true, "language": "de"}', "my-telephony-agent"),
        ({"agent": "clerk"}, "clerk"),
        ({"agent": False}, None),
        ({"language": "de"}, None),
        ("agent: true", None),
        ("{not json", None),
    ],
)
async def test_metadata_can_ask_for_an_agent(door: Door, metadata: Any, agent: str | None) -> None:
    """The invitation lives as long as the token, by the store's clock, which is another one than this
    machine's; the agent gets the whole metadata."""
    body = {"identity": "alice", "room": "r", "metadata": metadata}
    answer = await door.http.post("/api/token", json=body)

    assert [i.agent for i in door.keeper.invitations] == ([agent] if agent else [])
    carried = claims(answer.json()["token"])["metadata"]
    lives = claims(answer.json()["token"])["exp"] - time.time()
    assert [i.metadata for i in door.keeper.invitations] == ([carried] if agent else [])
    assert [i.expires_at for i in door.keeper.invitations] == pytest.approx(
        [NOW + lives] if agent else [], abs=5
    )


async def test_a_get_can_ask_for_an_agent_too(door: Door) -> None:
    """`metadata` in the query string."""
    params = {"room": "r", "name": "n", "metadata": json.dumps({"agent": True})}
    await door.http.get("/api/token", params=params)
    assert [(i.identity, i.agent) for i in door.keeper.invitations] == [("n", "my-telephony-agent")]


async def test_attributes_can_ask_for_an_agent(door: Door) -> None:
    """`{"agent": "clerk"}`."""
    await door.http.post("/api/token", json={"identity": "a", "room": "r", "attributes": {"agent": "clerk"}})
    assert [i.agent for i in door.keeper.invitations] == ["clerk"]


async def test_fields_at_their_protobuf_default_count_as_not_sent(door: Door) -> None:
    """Some SDKs write them out."""
    config = {"name": "", "empty_timeout": 0, "egress": None, "tags": {}, "agents": []}
    answer = await door.http.post("/api/token", json={"room_name": "r", "room_config": config})
    assert answer.status_code == 201


WRONG: list[tuple[dict[str, Any], str]] = [
    ({"room": "x" * 257}, "room"),
    ({"room_name": "x" * 257}, "room_name"),
    ({"room": 5}, "room"),
    ({"room": "a", "room_name": "a"}, "room_name"),
    ({"identity": "x" * 257}, "identity"),
    ({"identity": "agent-AJ_123"}, "identity"),
    ({"participant_identity": "agent-AJ_123"}, "participant_identity"),
    ({"participant_name": "x" * 257}, "participant_name"),
    ({"participant_metadata": "x" * 16385}, "participant_metadata"),
    ({"metadata": {"agent": 7}}, "metadata.agent"),
    ({"attributes": {"lk.publish_on_behalf": "x"}}, "attributes.lk.publish_on_behalf"),
    ({"participant_attributes": {"lk.agent_name": "x"}}, "participant_attributes.lk.agent_name"),
    ({"attributes": {"a": "x" * 16384}}, "attributes"),
    ({"grants": {"roomAdmin": True}}, "grants"),
    ({"ttl": 999999}, "ttl"),
    ({"room_config": {"empty_timeout": 999}}, "room_config.empty_timeout"),
    ({"room_config": {"egress": {"room": {}}}}, "room_config.egress"),
    ({"room_config": {"agents": {}, "metadata": "x"}}, "room_config.metadata"),
    ({"room_config": {"agents": "x"}}, "room_config.agents"),
    ({"room_config": {"agents": [{"agent_name": "x"}] * 9}}, "room_config.agents"),
    ({"room_config": {"agents": ["x"]}}, "room_config.agents[0]"),
    ({"room_config": {"agents": [{"agent_name": 7}]}}, "room_config.agents[0].agent_name"),
    ({"room_config": {"agents": [{"deployment": "x"}]}}, "room_config.agents[0].deployment"),
    ({"room_config": []}, "room_config"),
]


@pytest.mark.parametrize(("body", "field"), WRONG, ids=[field for _, field in WRONG])
async def test_a_field_that_the_client_may_not_set_is_refused_by_name(
    door: Door, body: dict[str, Any], field: str
) -> None:
    """No token, no invitation, 400."""
    answer = await door.http.post("/api/token", json=body)
    assert answer.status_code == 400
    assert answer.json()["field"] == field
    assert answer.headers["content-type"] == "application/problem+json"
    assert not door.keeper.invitations


async def test_without_the_store_there_is_no_token_that_promises_an_agent(door: Door) -> None:
    """The invitation would be forgotten."""
    door.keeper.store_down = True
    answer = await door.http.post("/api/token", json={"metadata": {"agent": True}})
    assert answer.status_code == 503


async def test_in_production_tokens_are_for_operators(open_door: OpenDoor) -> None:
    """Unless `ROOMKEEPER_OPEN_TOKENS` is set by hand."""
    door = open_door(dev=False)
    assert (await door.http.post("/api/token", json={})).status_code == 401
    assert (await door.http.get("/api/token", headers=participant("r"))).status_code == 403
    assert (await door.http.post("/api/token", json={}, headers=operator())).status_code == 201

    open_one = open_door(dev=False, ROOMKEEPER_OPEN_TOKENS="1")
    assert (await open_one.http.post("/api/token", json={})).status_code == 201


async def test_clients_are_given_the_public_url_as_ws(open_door: OpenDoor) -> None:
    """`ROOMKEEPER_LIVEKIT_PUBLIC_URL`, and ws(s) where LiveKit was given as http(s)."""
    door = open_door(ROOMKEEPER_LIVEKIT_PUBLIC_URL="https://public.example.com")
    assert (await door.http.get("/api/token")).json()["url"] == "wss://public.example.com"


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"metadata": {"agent": "butler"}}, "metadata.agent"),
        ({"attributes": {"agent": "butler"}}, "attributes.agent"),
        ({"room_config": {"agents": [{"agent_name": "butler"}]}}, "room_config.agents"),
    ],
)
async def test_open_tokens_invite_the_agents_that_are_listed(
    open_door: OpenDoor, body: dict[str, Any], field: str
) -> None:
    """403 and the field; nobody is invited. An operator may invite any."""
    door = open_door(dev=False, ROOMKEEPER_OPEN_TOKENS="1", LIVEKIT_AGENT_NAME="clerk")
    refused = await door.http.post("/api/token", json=body)
    assert (refused.status_code, refused.json()["field"]) == (403, field)
    assert door.keeper.invitations == []
    assert (await door.http.post("/api/token", json={"metadata": {"agent": True}})).status_code == 200

    closed = open_door(dev=False, LIVEKIT_AGENT_NAME="clerk")
    answer = await closed.http.post("/api/token", json=body, headers=operator())
    assert answer.is_success
    assert [i.agent for i in closed.keeper.invitations] == ["butler"]


@pytest.mark.parametrize("body", [{"room": "room-1"}, {"room_name": "room-1"}])
async def test_open_tokens_in_production_are_for_fresh_rooms(
    open_door: OpenDoor, body: dict[str, str]
) -> None:
    """Unless the operator says otherwise, or asks themselves."""
    door = open_door(dev=False, ROOMKEEPER_OPEN_TOKENS="1")
    refused = await door.http.post("/api/token", json=body)
    assert (refused.status_code, refused.json()["field"]) == (403, next(iter(body)))
    assert (await door.http.get("/api/token", params={"room": "room-1"})).status_code == 403
    assert (await door.http.post("/api/token", json=body, headers=operator())).json()["room"] == "room-1"

    named = open_door(dev=False, ROOMKEEPER_OPEN_TOKENS="1", ROOMKEEPER_CUSTOM_ROOMS="1")
    assert (await named.http.post("/api/token", json=body)).json()["room"] == "room-1"


async def test_a_token_allows_to_publish_what_the_setting_names(open_door: OpenDoor) -> None:
    """LiveKit's own grant; all of it without the setting."""
    for env, sources in (({}, None), ({"ROOMKEEPER_PUBLISH": "microphone"}, ["microphone"])):
        made = (await open_door(**env).http.post("/api/token", json={})).json()
        video = jwt.decode(made["token"], options={"verify_signature": False})["video"]
        assert video.get("canPublishSources") == sources
        assert "roomAdmin" not in video
