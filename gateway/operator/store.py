"""Whether the store is fit: the Redis server that is named, or the place of the file."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from gateway.keeper.ports import StoreUnavailable
from gateway.operator.line import Finding, fail, ok, warn
from gateway.operator.site import Site
from gateway.store.redis_link import open_link
from gateway.store.redis_server import unfitness, version_of, worries


async def store(site: Site) -> Finding:
    settings = site.settings.store
    if not settings.url:
        return file(settings.path)
    try:
        async with open_link(settings) as link:
            return judged(await link.info(), settings.shown)
    except StoreUnavailable as fault:
        return fail(
            str(fault),
            "see that Redis runs, and that ROOMKEEPER_STORE has its host, port, password and number; "
            "meanwhile requests are answered 503, and calls go on",
        )


def judged(info: Mapping[str, str], shown: str) -> Finding:
    """What follows from what a Redis server tells of itself. Pure."""
    name = f"{shown} is Redis {version_of(info)}"
    if fault := unfitness(info):
        return fail(f"{shown} {fault}", "the gateway does not start with it: mend redis.conf")
    if found := worries(info):
        return warn(f"{name}, and not safe", "set in redis.conf: " + "; ".join(advice for _, advice in found))
    return ok(f"{name}, with appendonly and noeviction")


def file(path: Path) -> Finding:
    """A file of one process. The gateway has it open; here nobody touches it."""
    folder = path.absolute().parent
    if not folder.is_dir():
        return fail(f"{folder} is no folder", "make it, or set ROOMKEEPER_STORE to a file on a local disk")
    writable = os.access(path if path.exists() else folder, os.W_OK) and os.access(folder, os.W_OK)
    if not writable:
        return fail(
            f"{path.absolute()} cannot be written by this user",
            "give it and its folder to the user that the gateway runs as, or set ROOMKEEPER_STORE",
        )
    return ok(f"{path.absolute()}, for one process; several need Redis")
