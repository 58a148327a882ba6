"""Webhooks are hints (I6): all of them are understood, and none of them is needed."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.live.conftest import Rooms
from tests.live.observer import Observer
from tests.live.site import Site

pytestmark = [pytest.mark.anyio, pytest.mark.needs("livekit-server")]

SERVED = 10.0
RESYNC = 1.0
EVENTS = ("room_started", "participant_joined", "track_published", "participant_left", "room_finished")


async def test_every_webhook_of_a_call_is_accepted(site: Site, observer: Observer, rooms: Rooms) -> None:
    """From room_started to room_finished: livekit-server's webhooks are all verified, none refused."""
    async with site.gateway("tests.live.agents.beeper:server", slots=2) as gateway:
        room = rooms("webhooks")
        async with site.person(room) as person:
            await gateway.ask(room)
            await person.agent_track(timeout=SERVED)
        await site.end(room)
        for event in EVENTS:
            await gateway.wait_for_metric("roomkeeper_webhooks_total", at_least=1, timeout=5, event=event)
        assert await gateway.metric("roomkeeper_webhooks_total", event="unknown") == 0


class TestLost:
    """A server that sends no webhook at all."""

    @pytest.fixture(scope="class")
    def site(self) -> Iterator[Site]:
        site = Site(webhooks=False)
        with site.livekit:
            yield site

    async def test_a_room_gets_its_agent_by_one_resync(
        self, site: Site, observer: Observer, rooms: Rooms
    ) -> None:
        """A room whose name wants an agent, a person in it, no webhook: the next resync sees it."""
        env = {"ROOMKEEPER_ROOMS": "policy-*", "ROOMKEEPER_RESYNC": str(RESYNC)}
        async with site.gateway("tests.live.agents.talker:server", slots=2, env=env) as gateway:
            room = rooms("policy")
            async with site.person(room) as person:
                await observer.wait_for_agents(room, 1, timeout=2 * RESYNC + 2)
                await person.ask(timeout=2)
                assert len((await gateway.http.get("/api/livekit/rooms")).json()["rooms"]) == 1

    async def test_a_person_who_comes_back_is_answered(
        self, site: Site, observer: Observer, rooms: Rooms
    ) -> None:
        """The reload without a webhook: after one resync the returned person is answered (fact 82)."""
        env = {"ROOMKEEPER_RESYNC": str(RESYNC)}
        async with site.gateway("tests.live.agents.talker:server", slots=2, env=env) as gateway:
            room = rooms("silent")
            person = site.person(room)
            async with person:
                job = (await gateway.ask(room)).job
                await person.ask(timeout=SERVED)
            await gateway.wait_for_state(job["jobId"], "replacing", timeout=SERVED)  # its session has closed
            async with person:
                await person.ask(timeout=2 * RESYNC + 2)
