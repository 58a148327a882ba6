"""What agents' sessions tell of their turns is in the gateway's `/metrics`."""

from __future__ import annotations

import pytest

from tests.live.conftest import Rooms
from tests.live.site import Site

pytestmark = [pytest.mark.anyio, pytest.mark.needs("livekit-server"), pytest.mark.alone]


async def test_a_turn_is_in_the_metrics(site: Site, rooms: Rooms) -> None:
    """Beside all others; of a room, a job or a model there is no label."""
    async with site.gateway("tests.live.agents.talker:server", slots=1) as gateway:
        room = rooms("voice")
        async with site.person(room) as person:
            await gateway.ask(room, wait=15)
            await person.ask(timeout=5)
            name = "roomkeeper_voice_time_to_first_token_seconds_count"
            await gateway.wait_for_metric(name, at_least=1, timeout=5)
        told = [line for line in (await gateway.http.get("/metrics")).text.splitlines() if "_voice_" in line]
        assert not any(room in line or "Parrot" in line for line in told)
