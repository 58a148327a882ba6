"""A session with real clients: the agent is there first, its story can be read, and its end is one."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from gateway.settings import Lane
from tests.live.gateway import Gateway
from tests.live.observer import Observer
from tests.live.site import Site

pytestmark = [pytest.mark.anyio, pytest.mark.needs("livekit-server")]

SOON = 10.0


@pytest.fixture(scope="module")
async def gateway(site: Site, lane: Lane) -> AsyncIterator[Gateway]:
    async with site.gateway("tests.live.agents.reporter:server", slots=2) as gateway:
        await gateway.warm(2)
        yield gateway


async def shown(gateway: Gateway, session_id: str) -> dict[str, Any]:
    told: dict[str, Any] = (await gateway.http.get(f"/api/session/{session_id}")).json()["session"]
    return told


async def until(gateway: Gateway, session_id: str, **what: object) -> dict[str, Any]:
    """The session once it is so."""
    async with asyncio.timeout(SOON):
        while True:
            told = await shown(gateway, session_id)
            if all(told[key] == value for key, value in what.items()):
                return told
            await asyncio.sleep(0.05)


async def test_a_visitor_finds_their_agent_there_and_its_story_is_told_until_after_the_end(
    site: Site, gateway: Gateway, observer: Observer
) -> None:
    """Made, joined, reported, ended: each as the API says; nobody is left, and nobody comes again."""
    body = {"identity": "alice", "language": "de", "instructions": "Ask for the number."}
    answer = await gateway.http.post("/api/session/create", json=body, params={"wait": SOON})
    made = answer.json()
    session_id = made["sessionId"]
    observer.watch(session_id)
    assert (answer.status_code, made["job"]["state"]) == (201, "joined")
    assert (await shown(gateway, session_id))["state"] == "waiting"

    person = site.person(session_id, token=made["token"])
    async with person:
        track = await person.agent_track(timeout=SOON)
        assert track.at - person.joined_at < 1.0
        told = await until(
            gateway, session_id, state="active", questionnaire={"asked": "Ask for the number."}
        )
        assert [line["text"] for line in told["transcript"]] == ["de: alice?"]
        assert [p["identity"] for p in told["people"]] == ["alice"]
        assert [a["identity"] for a in told["agents"]] == [track.identity]

        assert (await gateway.http.delete(f"/api/session/{session_id}")).status_code == 204
        told = await until(gateway, session_id, state="ended", people=[], agents=[])
        assert told["transcript"]
    assert told["job"]["state"] == "stopped"

    async with site.person(session_id, token=made["token"]):
        await asyncio.sleep(2.0)
        assert observer.agents(session_id) == frozenset()


async def test_an_agent_comes_again_with_a_visitor_who_comes_when_the_room_has_ended(
    site: Site, gateway: Gateway
) -> None:
    """A link that is opened later: the token still invites."""
    body = {"language": "en", "instructions": "x"}
    answer = await gateway.http.post("/api/session/create", json=body, params={"wait": SOON})
    made = answer.json()
    session_id = made["sessionId"]
    await site.end(session_id)
    await until(gateway, session_id, state="ended")
    async with site.person(session_id, token=made["token"]) as person:
        await person.agent_track(timeout=SOON)
        assert (await until(gateway, session_id, state="active"))["people"]
