"""One step on the SQLite file: a transaction, in the store's thread. Knows no table."""

from __future__ import annotations

import functools
import sqlite3
import threading
from collections.abc import Callable, Coroutine
from typing import Any, Concatenate, ParamSpec, Protocol, TypeVar

import anyio
import anyio.to_thread

from gateway.keeper.ports import StoreUnavailable

P = ParamSpec("P")
R = TypeVar("R")


class Steps(Protocol):
    """Whatever takes steps on the file: one at a time, all of them together."""

    db: sqlite3.Connection
    one_at_a_time: anyio.CapacityLimiter
    in_step: threading.Lock


S = TypeVar("S", bound=Steps)


def step(work: Callable[Concatenate[S, P], R]) -> Callable[Concatenate[S, P], Coroutine[Any, Any, R]]:
    """One transaction, in the store's thread. A fault is `StoreUnavailable`, and nothing was written."""

    def transaction(self: S, *args: P.args, **kwargs: P.kwargs) -> R:
        # The lock, and not the limiter alone: a caller that is cancelled lets go of the limiter while its
        # step still runs in the thread.
        with self.in_step:
            try:
                self.db.execute("BEGIN IMMEDIATE")
                try:
                    result = work(self, *args, **kwargs)
                except BaseException:
                    self.db.execute("ROLLBACK")
                    raise
                self.db.execute("COMMIT")
            except sqlite3.Error as fault:
                raise StoreUnavailable(f"the store cannot be used: {fault}") from fault
        return result

    async def stepping(self: S, /, *args: P.args, **kwargs: P.kwargs) -> R:
        call = functools.partial(transaction, self, *args, **kwargs)
        return await anyio.to_thread.run_sync(call, limiter=self.one_at_a_time)

    stepping.__doc__ = work.__doc__
    return stepping
