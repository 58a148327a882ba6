"""`roomkeeper rooms`: the rooms as a table, once or again each second."""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Callable, Iterator
from datetime import datetime

import msgspec
from rich import box
from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from gateway.http.shapes import RoomAnswer, RoomClaim, RoomsAnswer, RoomWant
from gateway.keeper.model import State
from gateway.operator.door import DoorFault, Gateway, url_of
from gateway.settings import Settings
from gateway.variables import UNPRINTABLE

EVERY = 1.0
"""Seconds between two looks of --watch."""
COLUMNS = ("room", "agent", "state", "line", "since", "stage", "process", "people", "why")
STYLES = {
    State.JOINED: "green",
    State.WAITING: "yellow",
    State.DISPATCHED: "cyan",
    State.REPLACING: "yellow",
    State.GAVE_UP: "bold red",
}
FOLLOWS = (
    "This replica does not lead: it knows no places in line, and not who is in a room. Ask the one on which "
    "roomkeeper_leading is 1."
)

PIPE_WIDTH = 10_000
"""Columns: a pipe has no width, and nothing is cut in it."""
ENDED_SHOWN = 300.0
"""Seconds for which what has ended is still shown."""
NARROW = ("state", "line", "since", "stage", "process", "people")

Row = tuple[str, ...]


def main(settings: Settings, *, url: str = "", watch: bool = False, json: bool = False) -> int:
    """Returns the exit code. Raises DoorFault, unless it watches: then it tries again."""
    show = _json if json else _Screen(watch=watch)
    try:
        asyncio.run(_look(settings, url_of(settings, url), show, watch=watch))
    except KeyboardInterrupt:
        pass  # it is how one ends it
    finally:
        if isinstance(show, _Screen):
            show.close()
    return 0


Show = Callable[[RoomsAnswer | None, str], object]
"""Is told the rooms, and why they could not be had just now; "" when they could."""


async def _look(settings: Settings, url: str, show: Show, *, watch: bool) -> None:
    last: RoomsAnswer | None = None
    async with Gateway(url, settings.livekit) as gateway:
        while True:
            fault = ""
            try:
                last = await gateway.rooms()
            except DoorFault as error:
                if not watch:
                    raise
                fault = str(error)
            show(last, fault)
            if not watch:
                return
            await asyncio.sleep(EVERY)


def _json(rooms: RoomsAnswer | None, fault: str) -> None:
    """One object a line; with --watch a fault is one, too."""
    told: object = {"fault": fault} if fault else rooms
    sys.stdout.write(msgspec.json.encode(told).decode() + "\n")
    sys.stdout.flush()


class _Screen:
    """A table on the terminal that changes in place; in a pipe one after the other."""

    def __init__(self, *, watch: bool) -> None:
        self._console = Console(highlight=False)
        if not self._console.is_terminal:
            self._console = Console(highlight=False, width=PIPE_WIDTH)
        self._live: Live | None = None
        if watch and self._console.is_terminal:
            self._live = Live(console=self._console, auto_refresh=False, screen=False)
            self._live.start()

    def __call__(self, rooms: RoomsAnswer | None, fault: str) -> None:
        view = drawn(rooms, fault, time.time(), terminal=self._console.is_terminal)
        if self._live is not None:
            self._live.update(view, refresh=True)
        else:
            self._console.print(view)

    def close(self) -> None:
        if self._live is not None:
            self._live.stop()


def drawn(rooms: RoomsAnswer | None, fault: str, now: float, *, terminal: bool) -> Group:
    """`now`: seconds since the epoch. In a terminal long names are folded, in a pipe nothing is."""
    parts: list[Table | Text] = []
    if rooms is not None:
        found = list(rows(rooms, now))
        table = Table(box=box.SIMPLE_HEAD if terminal else None, pad_edge=False, header_style="bold")
        for name in COLUMNS:
            table.add_column(name, no_wrap=not terminal or name in NARROW, overflow="fold")
        for state, row in found:
            table.add_row(*map(_plain, row), style=STYLES.get(state, "dim") if terminal else None)
        parts.append(table)
        if older := sum(len(room.wants) for room in rooms.rooms) - len(found):
            parts.append(Text(f"{older} that ended before are left out; --json has them"))
        if not rooms.rooms:
            parts.append(Text("no agent is or was wanted anywhere"))
        if not rooms.leading:
            parts.append(Text(FOLLOWS))
    if fault:
        parts.append(Text(f"not reachable, trying again: {UNPRINTABLE.sub('?', fault)}", style="bold red"))
    return Group(*parts)


def rows(rooms: RoomsAnswer, now: float) -> Iterator[tuple[State, Row]]:
    """One for each want that lives, or ended lately, and its state. Pure."""
    for room in rooms.rooms:
        for want in room.wants:
            claim = next((c for c in room.claims if c.job_id == want.job_id), None)
            if not want.state.ended or claim is not None or _age(want.since, now) < ENDED_SHOWN:
                yield want.state, _row(room, want, claim, now)


def _row(room: RoomAnswer, want: RoomWant, claim: RoomClaim | None, now: float) -> Row:
    people = sum(1 for p in room.participants if p.agent_name is None and not p.avatar)
    return (
        room.room_name,
        want.agent_name,
        want.state.value,
        "" if want.place is None else str(want.place),
        _ago(want.since, now),
        "" if claim is None else claim.stage.value,
        _process(claim),
        str(people) if room.seen_at else "",
        want.reason,
    )


def _process(claim: RoomClaim | None) -> str:
    """The pid, and whose it is by the end of the replica's id."""
    if claim is None or claim.pid is None:
        return ""
    return f"{claim.pid}@{claim.replica[-6:]}" if claim.replica else str(claim.pid)


def _plain(text: str) -> Text:
    """Names are strangers' words: no markup, and nothing that a terminal takes for an order."""
    return Text(UNPRINTABLE.sub("?", text))


def _age(at: str | None, now: float) -> float:
    return 0.0 if at is None else max(0.0, now - datetime.fromisoformat(at).timestamp())


def _ago(at: str | None, now: float) -> str:
    """How long ago, as people say it."""
    seconds = int(_age(at, now))
    for unit, length in (("d", 86400), ("h", 3600), ("m", 60)):
        if seconds >= 2 * length:
            return f"{seconds // length} {unit}"
    return f"{seconds} s"
