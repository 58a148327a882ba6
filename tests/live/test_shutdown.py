"""The end of the gateway leaves nothing behind: no process, no agent."""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import Iterator

import pytest

from tests.live.conftest import Rooms
from tests.live.observer import Observer
from tests.live.processes import survivors
from tests.live.site import Site

pytestmark = [pytest.mark.anyio, pytest.mark.needs("livekit-server")]

SERVED = 10.0
GONE = 5.0


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("agent", ["talker", "stubborn"])
async def test_a_signal_ends_dev_and_all_its_processes(
    site: Site, observer: Observer, rooms: Rooms, number: signal.Signals, agent: str
) -> None:
    """Ctrl-C or SIGTERM with an agent in a room, even one that swallows cancellation: every process ends."""
    async with site.gateway(f"tests.live.agents.{agent}:server", slots=2) as gateway:
        room = rooms("ended")
        async with site.person(room):
            await gateway.ask(room, wait=SERVED)
            processes = gateway.processes()
            await gateway.stop(number)
            assert await asyncio.to_thread(survivors, processes, timeout=GONE) == []


class TestProduction:
    """`roomkeeper start`, with keys of its own."""

    @pytest.fixture(scope="class")
    def site(self) -> Iterator[Site]:
        site = Site(key="live-test-key", secret="live-test-secret-of-32-bytes-or-more")
        with site.livekit:
            yield site

    async def test_sigterm_lets_the_call_go_on_and_ends_with_it(
        self, site: Site, observer: Observer, rooms: Rooms
    ) -> None:
        """A drain: the agent answers, `/readyz` says no, HTTP is served; the process ends with the call."""
        async with site.gateway("tests.live.agents.talker:server", slots=2, command="start") as gateway:
            room = rooms("drain")
            async with site.person(room) as person:
                await gateway.ask(room, wait=SERVED)
                first = await person.ask(timeout=2)
                processes = gateway.processes()
                processes[0].send_signal(signal.SIGTERM)
                await gateway.wait_until("/readyz", 503, timeout=3)
                assert await gateway.metric("roomkeeper_draining") == 1
                assert await gateway.metric("roomkeeper_drain_deadline_seconds") > time.time() + 3000
                assert (await person.ask(timeout=2)).identity == first.identity
            await site.end(room)
            assert await asyncio.to_thread(survivors, processes, timeout=GONE) == []

    async def test_a_second_sigterm_ends_it_at_once(
        self, site: Site, observer: Observer, rooms: Rooms
    ) -> None:
        """Whoever does not want to wait for the calls signals again: every process ends."""
        async with site.gateway("tests.live.agents.talker:server", slots=2, command="start") as gateway:
            room = rooms("impatient")
            async with site.person(room):
                await gateway.ask(room, wait=SERVED)
                processes = gateway.processes()
                processes[0].send_signal(signal.SIGTERM)
                await gateway.wait_until("/readyz", 503, timeout=3)
                await gateway.stop(signal.SIGTERM)
                assert await asyncio.to_thread(survivors, processes, timeout=GONE) == []
