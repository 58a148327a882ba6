"""What LiveKit's own client for browsers does with `/api/token`: `TokenSource.endpoint`, run by node."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import anyio
import pytest

from tests.live.conftest import Rooms
from tests.live.gateway import Gateway
from tests.live.observer import Observer
from tests.live.site import Site
from tests.node import NODE_MODULES

pytestmark = [pytest.mark.anyio, pytest.mark.needs("livekit-server", "livekit-client")]

SCRIPT = Path(__file__).parent / "js" / "token_source.cjs"
SOON = 15.0


@pytest.fixture(scope="module")
async def gateway(site: Site) -> AsyncIterator[Gateway]:
    async with site.gateway("tests.live.agents.talker:server", slots=2) as gateway:
        await gateway.wait_until("/readyz", 200, timeout=SOON)
        yield gateway


async def fetched(gateway: Gateway, **options: Any) -> subprocess.CompletedProcess[bytes]:
    return await anyio.run_process(
        ["node", str(SCRIPT), f"{gateway.url}/api/token", json.dumps(options)],
        env={**os.environ, "NODE_PATH": str(NODE_MODULES)},
        check=False,
    )


async def test_a_page_gets_its_token_and_with_it_the_agent_that_it_named(
    site: Site, gateway: Gateway, observer: Observer, rooms: Rooms
) -> None:
    """Every option of `TokenSource.endpoint`; whoever joins with the token finds one agent."""
    room = rooms("token-source")
    run = await fetched(
        gateway,
        roomName=room,
        participantIdentity="alice",
        participantName="Alice",
        participantMetadata="m",
        participantAttributes={"seat": "12"},
        agentName=gateway.agent,
        agentMetadata='{"language": "de"}',
    )
    assert run.returncode == 0, run.stderr.decode()
    details = json.loads(run.stdout)
    assert details["serverUrl"] == site.livekit.url
    async with site.person(room, token=details["participantToken"]) as alice:
        await observer.wait_for_agents(room, 1, timeout=SOON)
        await alice.ask(timeout=SOON)
        me = alice.room.local_participant
        assert (me.identity, me.name, me.metadata) == ("alice", "Alice", "m")
        assert me.attributes["seat"] == "12"


async def test_a_refusal_reaches_the_page(gateway: Gateway) -> None:
    """An agent's identity is nobody else's; the client tells the status and the problem's words."""
    run = await fetched(gateway, roomName="r", participantIdentity="agent-AJ_x")
    assert run.returncode == 1
    assert b"400" in run.stderr, run.stderr.decode()
