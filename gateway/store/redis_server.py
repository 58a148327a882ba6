"""Whether a Redis server is fit to be the store: its version, and what it does when memory runs short."""

from __future__ import annotations

import time
from collections.abc import Callable

import anyio
import structlog

from gateway.errors import StartupError
from gateway.keeper.ports import StoreUnavailable
from gateway.store.redis_link import RedisLink

PAUSE = 0.5
"""Seconds between looks at a server that is not there yet."""

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
    if int(info.get("redis_version", "0").partition(".")[0]) < 7:
        raise StartupError(f"the store {shown} is Redis {info.get('redis_version')}: 7 or newer is needed")
    _check_memory(info, shown)
    if info.get("aof_enabled") == "0":
        log.warning(
            "store_not_durable", store=shown, advice="appendonly yes: else a restart of Redis forgets wants"
        )


def _check_memory(info: dict[str, str], shown: str) -> None:
    policy = info.get("maxmemory_policy", "noeviction")
    if policy == "noeviction":
        return
    if policy.startswith("allkeys") and info.get("maxmemory", "0") != "0":
        raise StartupError(
            f"the store {shown} has maxmemory-policy {policy}: it would throw claims away when memory runs "
            "short; set it to noeviction"
        )
    log.warning("store_evicts", store=shown, policy=policy, advice="maxmemory-policy noeviction")
