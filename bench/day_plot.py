"""Draws `docs/day.svg`: on a Monday, what each policy costs and who waits; and the hour of the mail, in which
they differ. The first from what `make bench NAME=day` wrote; the second is played again.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from bench.day import play, policies
from bench.day_fleet import Played
from bench.day_traffic import DAYS, HOUR, calls
from bench.plot import BOTTOM, GRID, HEIGHT, QUIET, TOP, WIDTH, text

LEFT, RIGHT, PANEL = 56, 486, 350
FROM, TO = 8.75, 10.0
"""Hours of the day."""
COST = (200.0, 300.0)
"""Worker hours on the axis; what costs more is told in words."""
LATE = 15.0
SLOTS_SHOWN = 400.0


@dataclass(frozen=True, slots=True)
class Shown:
    colour: str
    side: str = "start"
    """Of its point on which its name stands: start is right of it."""
    down: float = 4.0


SHOWN = {
    "KEDA, to zero": Shown("#bc4c00", "end"),
    "HPA, buffer 0": Shown("#59636e", down=-2.0),
    "HPA, buffer 1": Shown("#cf222e", down=10.0),
    "HPA, buffer 8": Shown("#9a6700"),
    "HPA, buffer 10 %": Shown("#0550ae", "end"),
    "HPA, buffer 25 %": Shown("#1a7f37", "end"),
    "HPA, CPU 70 %": Shown("#8250df"),
}
PLAYED = ("HPA, buffer 1", "HPA, buffer 10 %", "HPA, buffer 25 %")


def draw(rows: Sequence[Mapping[str, object]], where: Mapping[str, object]) -> str:
    """The picture as SVG."""
    body = [
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="#ffffff"/>',
        *_costs(rows),
        *_hour(),
        text(LEFT, HEIGHT - 10, "simulated; make bench NAME=day", colour=QUIET, size=11),
    ]
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" role="img"'
        f' font-family="system-ui, sans-serif" aria-label="Ways to scale on a Monday">\n'
        + "\n".join(body)
        + "\n</svg>\n"
    )


def _costs(rows: Sequence[Mapping[str, object]]) -> Iterator[str]:
    yield text(LEFT, 30, "Monday: agents late, %, by worker hours", size=15, weight=600)
    for part in range(4):
        value = LATE * part / 3
        yield from _line(LEFT, _y(value, LATE), f"{value:g}")
    for part in range(5):
        hours = COST[0] + (COST[1] - COST[0]) * part / 4
        yield text(_x_cost(hours), BOTTOM + 18, f"{hours:g}", colour=QUIET, anchor="middle")
    for row in rows:
        day, _, name = str(row["variant"]).partition(": ")
        if day != "monday" or name not in SHOWN:
            continue
        shown, hours, late = SHOWN[name], float(str(row["worker_h"])), float(str(row["late_pct"]))
        x, y = _x_cost(hours), _y(late, LATE)
        yield f'<circle cx="{x:.1f}" cy="{y:.1f}" r="4" fill="{shown.colour}"/>'
        off = 8 if shown.side == "start" else -8
        yield text(x + off, y + shown.down, name, colour=shown.colour, size=11, anchor=shown.side)
    beyond = next(row for row in rows if row["variant"] == "monday: fixed, peak")
    off_the_axis = f"fixed, peak: {beyond['worker_h']:g} h, {beyond['late_pct']:g} %  →"
    yield text(LEFT + PANEL, TOP + 14, off_the_axis, colour=QUIET, size=11, anchor="end")


def _hour() -> Iterator[str]:
    yield text(RIGHT, 30, "The mail at 9:00: rooms, and slots", size=15, weight=600)
    for part in range(5):
        yield from _line(RIGHT, _y(SLOTS_SHOWN * part / 4, SLOTS_SHOWN), f"{SLOTS_SHOWN * part / 4:g}")
    for quarter in range(int((TO - FROM) * 4) + 1):
        hour = FROM + quarter / 4
        at = f"{int(hour)}:{60 * (hour % 1):02.0f}"
        yield text(_x_hour(hour * HOUR), BOTTOM + 18, at, colour=QUIET, anchor="middle")
    monday = [calls(DAYS[1], 0)]
    made = {make().name: make for make in policies(monday)}
    played = {name: play(made[name], monday[0]) for name in PLAYED}
    yield _steps(played[PLAYED[-1]], 2, "#1f2328", width=2.0)
    for place, (name, one) in enumerate(played.items()):
        yield _steps(one, 1, SHOWN[name].colour, width=1.5)
        y = TOP + 14 + 16 * place
        yield text(RIGHT + PANEL, y, name, colour=SHOWN[name].colour, size=11, anchor="end")
    yield text(RIGHT + PANEL, TOP + 14 + 16 * len(played), "rooms that want a slot", size=11, anchor="end")


def _steps(played: Played, column: int, colour: str, width: float) -> str:
    points = [(row[0], row[column]) for row in played.fleet if FROM * HOUR <= row[0] <= TO * HOUR]
    path = "L".join(f"{_x_hour(at):.1f} {_y(value, SLOTS_SHOWN):.1f}" for at, value in points)
    return f'<path d="M{path}" fill="none" stroke="{colour}" stroke-width="{width:g}"/>'


def _line(left: float, y: float, label: str) -> Iterator[str]:
    yield f'<path d="M{left} {y:.1f}h{PANEL}" stroke="{GRID}"/>'
    yield text(left - 8, y + 4, label, colour=QUIET, anchor="end")


def _x_cost(hours: float) -> float:
    return LEFT + PANEL * (hours - COST[0]) / (COST[1] - COST[0])


def _x_hour(at: float) -> float:
    return RIGHT + PANEL * (at / HOUR - FROM) / (TO - FROM)


def _y(value: float, top: float) -> float:
    return BOTTOM - (BOTTOM - TOP) * min(value, top) / top
