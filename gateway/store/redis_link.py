"""The way to a Redis server: connections, time-outs, faults in words. Knows nothing of wants or claims.

Nothing is tried again here: a step whose answer was lost may have been written, and only who asked for it
knows whether it may be repeated. Connections come back by themselves with the next step.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import urlsplit

from redis import exceptions as redis_faults
from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from gateway.keeper.ports import LeaseLost, StoreUnavailable
from gateway.settings import StoreSettings
from gateway.store.scripts import PREFIX, script

CONNECT_TIMEOUT = 1.0
ANSWER_TIMEOUT = 2.0
"""Seconds that the server may take for a step. It takes a fraction of a millisecond, or it hangs."""
CONNECTIONS = 16
BLOCKING = 1.0
"""Seconds that a blocking read waits in the server."""

Value = str | bytes | float


class RedisLink:
    """One process's connections to one server. Made by `open_link`.

    Every call raises StoreUnavailable. Keys are given without the prefix.
    """

    def __init__(self, steps: Redis, beats: Redis, waits: Redis, shown: str) -> None:
        self._steps = steps
        self._beats = beats
        self._waits = waits
        self._shown = shown

    async def run(self, name: str, *args: Value) -> Any:
        """Run a script: one atomic step. Raises LeaseLost as well."""
        step = script(name)
        client = self._beats if name == "beat" else self._steps
        async with self._answered():
            try:
                return await _execute(client, "EVALSHA", step.sha, 1, PREFIX, *args)
            except redis_faults.NoScriptError:  # a new server, or SCRIPT FLUSH: it has run nothing yet
                return await _execute(client, "EVAL", step.source, 1, PREFIX, *args)

    async def pop_all(self, key: str, limit: int) -> list[bytes]:
        """Up to `limit` elements from the head of a list; waits about a second for the first one."""
        async with self._answered(BLOCKING):
            popped = await _execute(self._waits, "BLMPOP", BLOCKING, 1, PREFIX + key, "LEFT", "COUNT", limit)
        return [] if popped is None else list(popped[1])

    async def info(self) -> dict[str, str]:
        """What the server tells of itself."""
        async with self._answered():
            told = await self._steps.info()
        return {str(name): str(value) for name, value in told.items()}

    @asynccontextmanager
    async def _answered(self, waiting: float = 0.0) -> AsyncIterator[None]:
        """All that can go wrong, in words and in time."""
        try:
            async with asyncio.timeout(CONNECT_TIMEOUT + waiting + ANSWER_TIMEOUT):
                yield
        except (redis_faults.RedisError, OSError) as fault:  # a TimeoutError is an OSError
            text = str(fault)
            if isinstance(fault, redis_faults.ConnectionError):
                # Those that idle are as dead as this one: each would fail a call of its own.
                for client in (self._steps, self._beats):
                    await client.connection_pool.disconnect(inuse_connections=False)
            if text.startswith("LEASELOST"):
                raise LeaseLost(text.partition(" ")[2]) from None
            raise StoreUnavailable(f"the store {self._shown} {_in_words(fault)}") from fault


async def _execute(client: Redis, *command: Value) -> Any:
    return await client.execute_command(*command)  # type: ignore[no-untyped-call]


def _in_words(fault: Exception) -> str:
    text = str(fault)
    if isinstance(fault, redis_faults.AuthenticationError) or text.startswith(("NOAUTH", "WRONGPASS")):
        return f"refused the user or password in ROOMKEEPER_STORE: {text}"
    if "DB index is out of range" in text:
        return "has no database of the number in ROOMKEEPER_STORE"
    if isinstance(fault, redis_faults.BusyLoadingError):
        return f"is starting: {text}"
    if isinstance(fault, redis_faults.TimeoutError | TimeoutError):
        return "did not answer in time"
    if isinstance(fault, redis_faults.ConnectionError | OSError):
        return f"cannot be reached: {text}"
    if text.startswith(("RENEWED", "UNSETTLED")):
        return text.partition(" ")[2].removeprefix("it ")
    return f"refused: {text}"


@asynccontextmanager
async def open_link(settings: StoreSettings) -> AsyncIterator[RedisLink]:
    """Connects with the first step, not before."""
    async with (
        _client(settings, CONNECTIONS, ANSWER_TIMEOUT) as steps,
        # No queue of steps may hold up the heartbeat, and whoever waits for notes may hold up no step.
        _client(settings, 2, ANSWER_TIMEOUT) as beats,
        _client(settings, 2, BLOCKING + ANSWER_TIMEOUT) as waits,
    ):
        yield RedisLink(steps, beats, waits, settings.shown)


@asynccontextmanager
async def _client(settings: StoreSettings, connections: int, timeout: float) -> AsyncIterator[Redis]:
    async with pool_of(settings, connections, timeout) as pool:
        yield Redis(connection_pool=pool)


@asynccontextmanager
async def pool_of(
    settings: StoreSettings, connections: int, timeout: float
) -> AsyncIterator[BlockingConnectionPool]:
    """Connects with the first command. `timeout`: seconds for each command's answer."""
    scheme, _, rest = settings.url.partition("://")
    pool = BlockingConnectionPool.from_url(
        f"{'rediss' if scheme in {'rediss', 'valkeys'} else 'redis'}://{rest}",
        max_connections=connections,
        timeout=None,  # the whole call has a limit
        socket_connect_timeout=CONNECT_TIMEOUT,
        socket_timeout=timeout,
        retry=Retry(NoBackoff(), 0),  # redis-py's own default tries three times, written or not
        protocol=2,
        client_name=f"roomkeeper{urlsplit(settings.url).path.replace('/', '-')}",
    )
    try:
        yield pool
    finally:
        await pool.disconnect()
