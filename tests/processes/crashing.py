"""The gateway with a bomb in it: it ends by `os._exit` just before, or just after, one call on a port.

Run as `python -m tests.processes.crashing dev ...` with ROOMKEEPER_TEST_BOMB=<a path>. The bomb is armed by a
file at that path, before the start or at any time: "store.update:after:2" means the second such call from
then on, "store.update:after:2 store.ask" the second one once the first `store.ask` has begun. It goes off
once: the file is renamed to `SPENT`. The adapters behind the ports are the real ones.
"""

from __future__ import annotations

import importlib
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

BOMB = "ROOMKEEPER_TEST_BOMB"
SPENT = ".spent"
"""The suffix of the file's name when the bomb has gone off."""
CRASHED = 77
"""The exit code of a crash on purpose."""


@dataclass
class Fuse:
    """Counts calls on the ports."""

    port: str
    call: str
    when: str
    left: int
    since: str
    """The call from which on it counts: `store.ask`; "": at once."""

    @classmethod
    def read(cls, text: str) -> Fuse:
        what, _, since = text.partition(" ")
        where, when, nth = what.split(":")
        port, call = where.split(".")
        assert when in {"before", "after"}, when
        return cls(port=port, call=call, when=when, left=int(nth), since=since)

    def burns_down(self, port: str, call: str) -> bool:
        """Whether this is the call at which it goes off."""
        if self.since == f"{port}.{call}":
            self.since = ""
        if self.since or (port, call) != (self.port, self.call):
            return False
        self.left -= 1
        return not self.left


class Bomb:
    """Between the gateway's parts: every call on a port passes it."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._text = ""
        self._fuse: Fuse | None = None

    async def around(self, port: str, call: str, make: Callable[[], Awaitable[Any]]) -> Any:
        self._look()
        fuse = self._fuse
        goes_off = fuse is not None and fuse.burns_down(port, call)
        if goes_off and fuse is not None and fuse.when == "before":
            self._go_off()
        answer = await make()
        if goes_off:
            self._go_off()
        return answer

    def _look(self) -> None:
        try:
            text = self._path.read_text()
        except FileNotFoundError:
            text = ""
        if text != self._text:
            self._text, self._fuse = text, Fuse.read(text) if text else None

    def _go_off(self) -> NoReturn:
        self._path.rename(self._path.with_suffix(SPENT))
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
    """Put the bomb between the gateway's parts; whoever only imports this module knows nothing of them."""
    _mine("open_store", "store", bomb)
    _mine("_open_livekit", "livekit", bomb)


def _mine(opener: str, port: str, bomb: Bomb) -> None:
    app = importlib.import_module("gateway.app")
    open_port = getattr(app, opener)

    @asynccontextmanager
    async def mined(*args: Any, **kwargs: Any) -> AsyncIterator[Mined]:
        async with open_port(*args, **kwargs) as behind:
            yield Mined(port, behind, bomb)

    setattr(app, opener, mined)


if __name__ == "__main__":
    from gateway.cli import app

    plant(Bomb(Path(os.environ[BOMB])))
    app()
