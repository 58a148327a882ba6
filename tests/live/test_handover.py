"""At the end of a drain a call is handed over: its successor is there before its agent leaves."""

from __future__ import annotations

import asyncio
import signal
import time

import pytest

from gateway.keeper.plan import HANDS_OVER
from tests.live.clients import Person
from tests.live.gateway import Gateway
from tests.live.site import Site
from tests.redis_server import RedisServer

pytestmark = [pytest.mark.anyio, pytest.mark.needs("livekit-server", "redis-server")]

PATIENCE = 15.0
BOTH_FOR = 2.0
"""Seconds for which LiveKit lists both at most, once the successor is there: it has to open, the keeper to
hear of it, and the old one to leave."""


def process(site: Site, redis: RedisServer, role: str) -> Gateway:
    env = {
        "ROOMKEEPER_ROLE": role,
        "ROOMKEEPER_STORE": redis.url,
        "ROOMKEEPER_DRAIN_TIMEOUT": "1",
        "ROOMKEEPER_HANDOVER": "1",
        "ROOMKEEPER_WORKER_AGENTS": "test-agent",
    }
    if role == "gateway":
        return Gateway(site.livekit, None, slots=2, port=site.port, env=env)
    return Gateway(site.livekit, "tests.live.agents.successor:server", slots=2, env=env)


def attribute(person: Person, identity: str, name: str) -> str | None:
    others = {p.identity: p for p in person.room.remote_participants.values()}
    return others[identity].attributes.get(name) if identity in others else None


async def until_told(person: Person, identity: str, name: str, value: str) -> None:
    deadline = time.monotonic() + PATIENCE
    while (told := attribute(person, identity, name)) != value:
        assert time.monotonic() < deadline, f"{name} of {identity} is {told!r}, not {value!r}"
        await asyncio.sleep(0.02)


async def test_the_successor_is_there_before_its_predecessor_leaves(site: Site) -> None:
    """The room is never without an agent, has two only for a moment, and both agents know."""
    room = site.room("handover")
    with RedisServer() as redis:
        async with (
            process(site, redis, "gateway") as gateway,
            process(site, redis, "worker") as old,
            site.person(room) as person,
            site.observer() as observer,
        ):
            observer.watch(room)
            observer.pace(0.02)
            job = (await gateway.ask(room)).job
            joined = await gateway.wait_for_state(job["jobId"], "joined", timeout=PATIENCE)
            first = joined["agentIdentity"]
            async with process(site, redis, "worker"):
                old.processes()[0].send_signal(signal.SIGTERM)
                await until_told(person, first, f"told: {HANDS_OVER}", "yes")
                second = await observer.wait_for_other_agent(room, first, timeout=PATIENCE)
                await until_told(person, second, "predecessor", first)
                await asyncio.to_thread(old.processes()[0].wait, PATIENCE)
                joined = await gateway.wait_for_state(job["jobId"], "joined", timeout=PATIENCE)
                assert joined["agentIdentity"] == second
                assert await gateway.metric("roomkeeper_handovers_total", outcome="handed_over") == 1
    samples = observer.timeline(room)
    of_both = [s for s in samples if first in s.identities or second in s.identities]
    together = [n for n, s in enumerate(of_both) if s.identities == {first, second}]
    assert all(s.identities for s in of_both), observer.describe(room)
    assert together, observer.describe(room)
    assert of_both[together[-1] + 1].at - of_both[together[0]].at < BOTH_FOR
