"""Whether a Redis server is fit to be the store: its version, and what it does when memory runs short."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping

import anyio
import structlog

from gateway.errors import StartupError
from gateway.keeper.ports import StoreUnavailable
from gateway.store.redis_link import RedisLink

PAUSE = 0.5
"""Seconds between looks at a server that is not there yet."""
OLDEST = 7
"""Redis' version that has all that the scripts need."""

log = structlog.get_logger(__name__)


async def ready(
    link: RedisLink, shown: str, patience: float, *, told_to_end: Callable[[], bool] = lambda: False
) -> None:
    """Return once the server answers and is fit.

    Raises:
        StoreUnavailable: it does not answer within `patience` seconds, or before this process is told to
            end, or does not let us in.
        StartupError: it is not fit.
    """
    give_up_at = time.monotonic() + patience
    while True:
        try:
            info = await link.info()
            break
        except StoreUnavailable as fault:
            if time.monotonic() > give_up_at or told_to_end() or "ROOMKEEPER_STORE" in str(fault):
                raise
            log.warning("waiting_for_the_store", why=str(fault))
            await anyio.sleep(PAUSE)
    if unfit := unfitness(info):
        raise StartupError(f"the store {shown} {unfit}")
    for event, advice in worries(info):
        log.warning(event, store=shown, advice=advice)


def unfitness(info: Mapping[str, str]) -> str:
    """Why a server that tells this of itself cannot be the store, in words that follow its name; "" when it
    can."""
    version, policy = version_of(info), info.get("maxmemory_policy", "noeviction")
    if int(version.partition(".")[0]) < OLDEST:
        return f"is Redis {version}: {OLDEST} or newer is needed"
    if policy.startswith("allkeys") and info.get("maxmemory", "0") != "0":
        return (
            f"has maxmemory-policy {policy}: it would throw claims away when memory runs short; "
            "set it to noeviction"
        )
    return ""


def worries(info: Mapping[str, str]) -> list[tuple[str, str]]:
    """What is not as it should be on a server that can be the store: the log's event, and what to do."""
    found = []
    if info.get("aof_enabled") == "0":
        found.append(("store_not_durable", "appendonly yes: else a restart of Redis forgets wants"))
    if (policy := info.get("maxmemory_policy", "noeviction")) != "noeviction":
        found.append(("store_evicts", f"maxmemory-policy noeviction, not {policy}"))
    return found


def version_of(info: Mapping[str, str]) -> str:
    return info.get("redis_version", "0")
