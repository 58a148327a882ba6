"""Draws `docs/scale.svg` from what `make bench NAME=scale` wrote: rooms against CPU per event, and against
memory. `python -m bench.plot`, which also draws `docs/day.svg` (`bench.day_plot`), each when its bench has
run. Draws what was measured, and nothing between.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path

from bench.report import OUT

DOCS = Path(__file__).parents[1] / "docs"
WIDTH, HEIGHT = 860, 356
PANEL = 330
"""Width of the axes of one of the two."""
TOP, BOTTOM = 64, 286
LABELS = 84
"""Room for a line's name behind its last point."""
INK, QUIET, GRID = "#1f2328", "#59636e", "#d8dee4"

Point = tuple[float, float]


@dataclass(frozen=True, slots=True)
class Line:
    name: str
    prefix: str
    """Its variants are this and a number of rooms."""
    colour: str


LINES = (
    Line("in memory", "rooms", "#0550ae"),
    Line("HTTP to LiveKit", "http", "#1a7f37"),
    Line("a look each", "passes", "#bc4c00"),
    Line("3 replicas", "replicas3", "#8250df"),
)


@dataclass(frozen=True, slots=True)
class Panel:
    title: str
    field: str
    left: float
    top: float
    """The axis' upper end."""
    unit: str

    def x(self, rooms: float) -> float:
        return self.left + PANEL * (math.log10(rooms) - 2) / 2 * 0.7 + 10

    def y(self, value: float) -> float:
        return BOTTOM - (BOTTOM - TOP) * value / self.top


def draw(rows: Sequence[Mapping[str, object]], where: Mapping[str, object]) -> str:
    """The picture as SVG."""
    cpu = _panel(rows, "CPU for each webhook, ms", "cpu_ms_per_event", 56, " ms")
    memory = _panel(rows, "Memory of the gateway, MB", "rss_mb", 56 + PANEL + 96, " MB")
    machine = f"{where['cpu']}, {where['cores']} cores, Python {where['python']}; make bench NAME=scale"
    body = [
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="#ffffff"/>',
        *_axes(cpu),
        *_axes(memory),
        *(part for panel in (cpu, memory) for part in _lines(panel, rows)),
        text(56, HEIGHT - 10, machine, colour=QUIET, size=11),
    ]
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" role="img"'
        f' font-family="system-ui, sans-serif" aria-label="Cost by number of rooms">\n'
        + "\n".join(body)
        + "\n</svg>\n"
    )


def points(rows: Sequence[Mapping[str, object]], prefix: str, field: str) -> list[Point]:
    """What was measured of one line: rooms and value, by rooms."""
    found = [row for row in rows if str(row["variant"]) == f"{prefix}_{row['rooms']}"]
    return sorted((float(str(row["rooms"])), float(str(row[field]))) for row in found)


def _panel(rows: Sequence[Mapping[str, object]], title: str, field: str, left: float, unit: str) -> Panel:
    most = max(value for line in LINES for _, value in points(rows, line.prefix, field))
    step = 10 ** math.floor(math.log10(most))
    top = next(step * factor for factor in (1, 1.5, 2, 3, 4, 5, 6, 8, 10) if step * factor >= most)
    return Panel(title, field, left, top, unit)


def _axes(panel: Panel) -> Iterator[str]:
    yield text(panel.left, 30, panel.title, size=15, weight=600)
    for part in range(5):
        value = panel.top * part / 4
        y = panel.y(value)
        yield f'<path d="M{panel.left} {y:.1f}h{PANEL - LABELS + 20}" stroke="{GRID}"/>'
        yield text(panel.left - 8, y + 4, f"{value:g}", colour=QUIET, anchor="end")
    for rooms in (100, 1000, 10_000):
        yield text(panel.x(rooms), BOTTOM + 18, f"{rooms:,}", colour=QUIET, anchor="middle")
    yield text(panel.x(1000), BOTTOM + 34, "rooms with an agent", colour=QUIET, anchor="middle")


def _lines(panel: Panel, rows: Sequence[Mapping[str, object]]) -> Iterator[str]:
    ends: list[tuple[float, float, Line, float]] = []
    for line in LINES:
        found = [(panel.x(rooms), panel.y(v), v) for rooms, v in points(rows, line.prefix, panel.field)]
        if not found:
            continue
        path = "L".join(f"{x:.1f} {y:.1f}" for x, y, _ in found)
        yield f'<path d="M{path}" fill="none" stroke="{line.colour}" stroke-width="2"/>'
        for x, y, value in found:
            tip = escape(f"{line.name}: {value:g}{panel.unit}")
            dot = f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3.5" fill="{line.colour}">'
            yield f"{dot}<title>{tip}</title></circle>"
        ends.append((found[-1][0], found[-1][1], line, found[-1][2]))
    lowest = math.inf
    for x, y, line, value in sorted(ends, key=lambda end: -end[1]):
        lowest = min(y + 4, lowest - 15)  # names do not lie on each other
        yield text(x + 8, lowest, f"{line.name} {value:g}", colour=line.colour, size=11)


def text(
    x: float,
    y: float,
    words: str,
    *,
    colour: str = INK,
    size: int = 12,
    weight: int = 400,
    anchor: str = "start",
) -> str:
    style = f'fill="{colour}" font-size="{size}" font-weight="{weight}" text-anchor="{anchor}"'
    return f'<text x="{x:.1f}" y="{y:.1f}" {style}>{escape(words)}</text>'


def main() -> None:
    from bench import day_plot

    for name, picture in (("scale", draw), ("day", day_plot.draw)):
        found = OUT / f"{name}.json"
        if not found.exists():
            print(f"no {found}: make bench NAME={name}")
            continue
        report = json.loads(found.read_text())
        path = DOCS / f"{name}.svg"
        path.write_text(picture(report["rows"], report["machine"]))
        print(path)


if __name__ == "__main__":
    main()
