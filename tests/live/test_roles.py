"""Gateways without workers, and workers that are nothing else: to zero and from zero."""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from tests.live.conftest import Rooms
from tests.live.gateway import Gateway
from tests.live.observer import Observer
from tests.live.site import Site, tries
from tests.redis_server import RedisServer

pytestmark = [pytest.mark.anyio, pytest.mark.needs("livekit-server", "redis-server")]

PATIENCE = 15.0
SERVED_WITHIN = 2.0
"""Seconds from a worker's registration until those who waited have their agent."""
SLOTS = 2


def process(site: Site, redis: RedisServer, role: str) -> Gateway:
    """A gateway on the site's port, or a worker of its; `async with` ends it."""
    env = {
        "ROOMKEEPER_ROLE": role,
        "ROOMKEEPER_STORE": redis.url,
        "ROOMKEEPER_BUFFER": "0",
        "ROOMKEEPER_DRAIN_TIMEOUT": "60",
    }
    if role == "gateway":
        return Gateway(site.livekit, None, slots=SLOTS, port=site.port, env=env)
    return Gateway(site.livekit, "tests.live.agents.talker:server", slots=SLOTS, env=env)


@asynccontextmanager
async def gateway_alone(site: Site) -> AsyncIterator[tuple[Gateway, RedisServer]]:
    with RedisServer() as redis:
        async with process(site, redis, "gateway") as gateway:
            yield gateway, redis


async def until_wanted(gateway: Gateway, count: int) -> None:
    """Until `roomkeeper_wanted_workers` is so many, as Prometheus would scrape it."""
    deadline = time.monotonic() + PATIENCE
    while (wanted := await gateway.metric("roomkeeper_wanted_workers")) != count:
        assert time.monotonic() < deadline, f"{wanted} workers are wanted, not {count}"
        await asyncio.sleep(0.05)


async def test_from_zero_and_back_to_zero(site: Site, observer: Observer, rooms: Rooms) -> None:
    """A room waits while no worker runs; the first one that registers serves it within 2 s, ends its call
    before it ends itself, and then none is wanted."""
    async with gateway_alone(site) as (gateway, redis):
        room = rooms("zero")
        async with site.person(room) as person:
            job = (await gateway.ask(room)).job
            await until_wanted(gateway, 1)
            assert (await gateway.job(job["jobId"])).job["state"] == "waiting"
            async with process(site, redis, "worker") as worker:
                ready = time.monotonic()
                await gateway.wait_for_state(job["jobId"], "joined", timeout=PATIENCE)
                assert time.monotonic() - ready < SERVED_WITHIN
                await until_wanted(gateway, 1)
                first = await person.ask(timeout=5)
                processes = worker.processes()
                processes[0].send_signal(signal.SIGTERM)
                await worker.wait_until("/readyz", 503, timeout=3)
                await until_wanted(gateway, 0)  # its call goes on, and is nobody else's
                assert (await person.ask(timeout=5)).identity == first.identity
                await site.end(room)
                await asyncio.to_thread(processes[0].wait, PATIENCE)
            await until_wanted(gateway, 0)


async def test_the_first_worker_serves_those_who_asked_first(
    site: Site, observer: Observer, rooms: Rooms
) -> None:
    """As many as it has slots; the others want more workers."""
    count = tries(full=8, bounded=3)
    async with gateway_alone(site) as (gateway, redis):
        line = [rooms("line") for _ in range(count)]
        for room in line:
            await gateway.ask(room)
        await until_wanted(gateway, -(-count // SLOTS))
        async with process(site, redis, "worker"):
            for room in line[:SLOTS]:
                await observer.wait_for_agents(room, 1, timeout=PATIENCE)
            assert not any(observer.ever_present(room) for room in line[SLOTS:])
            await until_wanted(gateway, -(-count // SLOTS))


async def test_a_worker_has_probes_and_metrics_only(site: Site) -> None:
    """What frontends ask belongs to gateways; a worker never leads, not even alone."""
    with RedisServer() as redis:
        worker = process(site, redis, "worker")
        try:
            worker.launch()
            await worker.wait_until("/livez", 200, timeout=PATIENCE)
            await worker.wait_until("/api/livekit/rooms", 404, timeout=PATIENCE)
            checks = (await worker.http.get("/healthz")).json()["checks"]
            assert checks["keeper"]["why"] == "no replica leads (yet)"
            assert await worker.metric("roomkeeper_leading") == 0
        finally:
            await worker.close()
