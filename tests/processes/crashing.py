"""The gateway with a bomb in it: it ends by `os._exit` just before, or just after, one call on a port.

Run as `python -m tests.processes.crashing dev ...` with ROOMKEEPER_TEST_CRASH="store.update:after:2" and
ROOMKEEPER_TEST_CRASHED=<a path>: at the second such call that is made once the first `store.ask` has begun.
It leaves a file at that path; where there is one already, nothing goes off. The adapters behind the ports are
the real ones.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

import gateway.app

WHERE = "ROOMKEEPER_TEST_CRASH"
MARK = "ROOMKEEPER_TEST_CRASHED"
CRASHED = 77
"""The exit code of a crash on purpose."""


@dataclass
class Bomb:
    """Counts calls on the ports, and goes off at the one that was named."""

    port: str
    call: str
    when: str
    left: int
    armed: bool = False

    @classmethod
    def read(cls, text: str) -> Bomb:
        where, when, nth = text.split(":")
        port, call = where.split(".")
        assert when in {"before", "after"}, when
        return cls(port=port, call=call, when=when, left=int(nth))

    async def around(self, port: str, call: str, make: Callable[[], Awaitable[Any]]) -> Any:
        self.armed = self.armed or (port, call) == ("store", "ask")
        counts = self.armed and (port, call) == (self.port, self.call)
        if counts:
            self.left -= 1
        goes_off = counts and not self.left
        if goes_off and self.when == "before":
            self._go_off()
        answer = await make()
        if goes_off:
            self._go_off()
        return answer

    def _go_off(self) -> NoReturn:
        Path(os.environ[MARK]).touch()
        os._exit(CRASHED)


class Mined:
    """A port whose every call passes the bomb."""

    def __init__(self, port: str, behind: object, bomb: Bomb) -> None:
        self._port, self._behind, self._bomb = port, behind, bomb

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._behind, name)
        if name in {"clock", "probe"} or not callable(found):
            return found

        async def call(*args: object, **kwargs: object) -> Any:
            return await self._bomb.around(self._port, name, lambda: found(*args, **kwargs))

        return call


def plant(bomb: Bomb) -> None:
    """Put the bomb between the gateway's parts."""
    _mine("open_store", "store", bomb)
    _mine("_open_livekit", "livekit", bomb)


def _mine(opener: str, port: str, bomb: Bomb) -> None:
    open_port = getattr(gateway.app, opener)

    @asynccontextmanager
    async def mined(*args: Any, **kwargs: Any) -> AsyncIterator[Mined]:
        async with open_port(*args, **kwargs) as behind:
            yield Mined(port, behind, bomb)

    setattr(gateway.app, opener, mined)


if __name__ == "__main__":
    from gateway.cli import app

    if not Path(os.environ[MARK]).exists():
        plant(Bomb.read(os.environ[WHERE]))
    app()
