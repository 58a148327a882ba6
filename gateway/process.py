"""One process, from its first answer to its exit code. Answers `/livez` before anything heavy is imported."""

from __future__ import annotations

import asyncio
import importlib
import socket
import sys
from typing import cast

import anyio.to_thread
import structlog
import uvloop

from gateway.errors import RoomkeeperError
from gateway.keeper.ports import StoreUnavailable
from gateway.server import Front, Signals, serve
from gateway.settings import Settings
from pool.errors import PoolError

log = structlog.get_logger(__name__)


def run(settings: Settings, listener: socket.socket, *, own_livekit: bool = False) -> int:
    """Run until told to end; returns the exit code. Faults that an operator can mend are said in words."""
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(_run(settings, listener, own_livekit))
    except BaseExceptionGroup as group:
        return _failed(_only(group))
    except (RoomkeeperError, PoolError, StoreUnavailable) as error:
        return _failed(error)
    return 0


async def _run(settings: Settings, listener: socket.socket, own_livekit: bool) -> None:
    front, signals = Front(), Signals()
    async with serve(front, listener, signals, proxies=settings.http.trusted_proxies):
        # Some 0.6 s; in a thread, so that `/livez` is answered meanwhile (fact 66).
        app = await anyio.to_thread.run_sync(importlib.import_module, "gateway.app")
        await app.live(settings, front, signals, own_livekit=own_livekit)


def _only(error: BaseException) -> BaseException:
    """The fault inside the groups that nested task groups put around it."""
    while isinstance(error, BaseExceptionGroup) and len(error.exceptions) == 1:
        error = cast(BaseException, error.exceptions[0])
    return error


def _failed(error: BaseException) -> int:
    if isinstance(error, RoomkeeperError | PoolError | StoreUnavailable):
        sys.stderr.write(f"{error}\n")
    else:
        log.error("ended_by_a_fault", exc_info=error)
    return 1
