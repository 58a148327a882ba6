"""The instruments can fail: on a stock worker the witness sees two agents, and knows a ghost as one."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from pathlib import Path

import pytest
from livekit import api

from tests.live.worker import StockWorker
from tests.livekit_server import LiveKitServer
from tests.processes import lives
from tests.processes.lives import Life
from tests.processes.record import Record
from tests.processes.toxiproxy import Toxiproxy
from tests.processes.verdict import doubles

pytestmark = [pytest.mark.anyio, pytest.mark.needs("livekit-server")]


async def test_the_witness_sees_two_agents_and_a_ghost(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two dispatches bring two agents on a stock LiveKit (fact 5); one killed stays listed (fact 12)."""
    monkeypatch.setenv(lives.BOOK, str(tmp_path))
    with LiveKitServer() as livekit:
        async with (
            StockWorker(livekit, "tests.processes.agents.stock") as worker,
            Record([livekit.http_url], livekit.key, livekit.secret, tmp_path) as record,
            api.LiveKitAPI(livekit.http_url, livekit.key, livekit.secret) as client,
        ):
            request = api.CreateAgentDispatchRequest(agent_name=worker.agent, room="two")
            await asyncio.gather(*(client.agent_dispatch.create_dispatch(request) for _ in range(2)))
            both = await record.wait("two", lambda s: len(s.working()) == 2, timeout=10)
            first = both.agents[0].identity
            signature = lives.signature_of(tmp_path, first)
            assert signature is not None
            os.kill(signature.pid, signal.SIGKILL)
            alone = await record.wait("two", lambda s: len(s.working()) == 1, timeout=2)
            assert {a.identity: a.life for a in alone.agents}[first] is Life.DEAD
            samples = record.samples[record.rooms["two"][-1]]
            (double,) = doubles(samples, until=time.monotonic())
            assert not double.excused


@pytest.mark.needs("toxiproxy-server")
async def test_a_link_can_be_cut_and_hung_and_healed() -> None:
    """Each fault on the wire is one that a client notices, and each ends."""
    with LiveKitServer() as livekit:
        async with Toxiproxy() as toxiproxy:
            link = await toxiproxy.proxy("livekit", livekit.port)
            assert await answers(link.port)
            for fault in (link.cut, link.hang):
                await fault()
                assert not await answers(link.port)
                await link.heal()
                assert await answers(link.port)
            await link.slow(400)
            began = time.monotonic()
            assert await answers(link.port)
            assert time.monotonic() - began >= 0.4


async def answers(port: int) -> bool:
    """Whether an HTTP server answers on that port of loopback within a second."""
    try:
        async with asyncio.timeout(1):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(b"GET / HTTP/1.0\r\n\r\n")
            line = await reader.readline()
            writer.close()
            return line.startswith(b"HTTP/")
    except (OSError, TimeoutError):
        return False
