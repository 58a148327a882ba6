"""Which store it is: Redis for a URL, else a file."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Protocol

from gateway.keeper.ports import LEASE, Store
from gateway.sessions.ports import SessionStore
from gateway.settings import StoreSettings
from gateway.store import redis, sqlite
from gateway.store.clock import steady_clock


class OpenStore(Store, Protocol):
    """The rooms' store, and that of sessions, which knows nothing of them."""

    @property
    def sessions(self) -> SessionStore: ...


@asynccontextmanager
async def open_store(
    settings: StoreSettings, *, lease: float = LEASE, told_to_end: Callable[[], bool] = lambda: False
) -> AsyncIterator[OpenStore]:
    """Open the store for as long as the block lasts; all times are its `clock`. A server that is not up yet
    is waited for, until this process is told to end.

    Raises:
        StoreLocked: another process has the file.
        StoreUnavailable: it cannot be opened, reached, or does not let us in.
        StartupError: the Redis server is not fit for a store.
    """
    if settings.url:
        async with redis.open_store(settings, lease=lease, told_to_end=told_to_end) as shared:
            yield shared
    else:
        async with sqlite.open_store(settings, steady_clock()) as own:
            yield own
