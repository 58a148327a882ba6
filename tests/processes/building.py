"""From what a row needs to a stage where all of it is up and ready; judged and ended afterwards."""

from __future__ import annotations

import asyncio
import contextlib
import os
import tempfile
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

from tests.livekit_server import KEY, SECRET, LiveKitServer
from tests.processes import lives
from tests.processes.hooks import Hooks
from tests.processes.meddler import Meddler
from tests.processes.outcome import Outcome
from tests.processes.record import Record
from tests.processes.replica import Replica
from tests.processes.rooms import SERVED
from tests.processes.setup import AGENT, Setup
from tests.processes.stage import Stage
from tests.processes.toxiproxy import Link, Toxiproxy
from tests.redis_server import RedisServer


@asynccontextmanager
async def stage(setup: Setup, outcome: Outcome) -> AsyncIterator[Stage]:
    """Everything up and ready; judged and ended afterwards, whatever happened."""
    async with AsyncExitStack() as stack:
        book = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="lives-")))
        hooks = await stack.enter_async_context(Hooks())
        nodes = [stack.enter_context(node) for node in _nodes(setup, hooks.url, stack)]
        with _environment(setup.redis_env):
            redis = stack.enter_context(RedisServer(appendonly=setup.appendonly)) if setup.redis else None
        meddler = await stack.enter_async_context(Meddler(nodes[0].port)) if setup.meddled else None
        links = await _links(setup, nodes[0], redis, stack)
        replicas = [
            _replica(number, setup, nodes, redis, meddler, links, book) for number in range(setup.replicas)
        ]
        hooks.deliver_to([replica.url for replica in replicas])
        for replica in replicas:
            stack.push_async_callback(replica.close)
        await asyncio.gather(*(_start(replica, setup) for replica in replicas))
        urls = [node.http_url for node in nodes]
        record = await stack.enter_async_context(Record(urls, KEY, SECRET, book, setup.watched))
        here = Stage(
            setup=setup,
            nodes=nodes,
            redis=redis,
            hooks=hooks,
            meddler=meddler,
            links=links,
            replicas=replicas,
            record=record,
            book=book,
            outcome=outcome,
        )
        listener = asyncio.create_task(here.listen(), name="states")
        try:
            yield here
            here.judge()
        finally:
            listener.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await listener
            for replica in replicas:
                outcome.keep_log(f"gateway-{replica.number}", replica.log_tail(20000))
            for person in here.people.values():
                await person.leave()


async def _start(replica: Replica, setup: Setup) -> None:
    if replica.number in setup.unready:
        replica.launch()
        await replica.wait_until("/readyz", 503, timeout=SERVED)
    else:
        await replica.start()
        await replica.warm(setup.slots)


@contextlib.contextmanager
def _environment(extra: Mapping[str, str]) -> Iterator[None]:
    """What children started meanwhile find in their environment."""
    before = {name: os.environ.get(name) for name in extra}
    os.environ.update(extra)
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name) if value is None else os.environ.update({name: value})


def _nodes(setup: Setup, hook: str, stack: AsyncExitStack) -> list[LiveKitServer]:
    extra: dict[str, dict[str, Any]] = {"room": {"departure_timeout": setup.departure_timeout}}
    if setup.nodes > 1:
        bus = stack.enter_context(RedisServer())
        extra["redis"] = {"address": f"127.0.0.1:{bus.port}"}
    return [LiveKitServer(webhook_urls=[hook], extra=extra) for _ in range(setup.nodes)]


async def _links(
    setup: Setup, livekit: LiveKitServer, redis: RedisServer | None, stack: AsyncExitStack
) -> dict[tuple[int, str], Link]:
    if not setup.proxied:
        return {}
    toxiproxy = await stack.enter_async_context(Toxiproxy())
    ports = {"livekit": livekit.port} | ({"redis": redis.port} if redis else {})
    return {
        (number, what): await toxiproxy.proxy(f"{what}-{number}", ports[what])
        for number in range(setup.replicas)
        for what in sorted(setup.proxied)
    }


def _replica(
    number: int,
    setup: Setup,
    nodes: Sequence[LiveKitServer],
    redis: RedisServer | None,
    meddler: Meddler | None,
    links: Mapping[tuple[int, str], Link],
    book: Path,
) -> Replica:
    node = nodes[number % len(nodes)]
    port = node.port
    if (number, "livekit") in links:
        port = links[number, "livekit"].port
    elif meddler is not None and number == 0:
        port = meddler.port
    env = {"LIVEKIT_URL": f"ws://127.0.0.1:{port}", "ROOMKEEPER_LOG": "json", lives.BOOK: str(book)}
    if redis is not None:
        link = links.get((number, "redis"))
        env["ROOMKEEPER_STORE"] = f"redis://127.0.0.1:{link.port if link else redis.port}/0"
    return Replica(
        number,
        node,
        f"tests.processes.agents.{setup.module}:server",
        slots=setup.slots,
        agent=setup.agents.get(number, AGENT),
        env={**env, **setup.env, **setup.envs.get(number, {})},
        livekit_port=port,
        entry=setup.entry,
    )
