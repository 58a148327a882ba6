"""One step on the SQLite file: a transaction. Knows no table.

It is taken where it is asked for, on the event loop: a step takes some 50 us, for nobody waits for the disk
(WAL, `synchronous=NORMAL`). In a thread each of them waited for two switches, and behind all the others: when
200 rooms a second asked, some of them waited for half a second (`make bench NAME=post`).
"""

from __future__ import annotations

import functools
import sqlite3
from collections.abc import Callable, Coroutine
from typing import Any, Concatenate, ParamSpec, Protocol, TypeVar

import anyio.lowlevel

from gateway.keeper.ports import StoreUnavailable

P = ParamSpec("P")
R = TypeVar("R")


class Steps(Protocol):
    """Whatever takes steps on the file."""

    db: sqlite3.Connection


S = TypeVar("S", bound=Steps)


def step(work: Callable[Concatenate[S, P], R]) -> Callable[Concatenate[S, P], Coroutine[Any, Any, R]]:
    """One transaction: all of it, or nothing for a caller that is cancelled or gets `StoreUnavailable`."""

    @functools.wraps(work)
    async def stepping(self: S, /, *args: P.args, **kwargs: P.kwargs) -> R:
        await anyio.lowlevel.checkpoint()  # others take their turn
        try:
            self.db.execute("BEGIN IMMEDIATE")
            try:
                result = work(self, *args, **kwargs)
                self.db.execute("COMMIT")
            except BaseException:
                if self.db.in_transaction:  # SQLite has not done so itself
                    self.db.execute("ROLLBACK")
                raise
        except sqlite3.Error as fault:
            raise StoreUnavailable(f"the store cannot be used: {fault}") from fault
        return result

    return stepping
