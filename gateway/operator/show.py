"""How a check is shown: coloured on a terminal, plain in a pipe, or as one JSON object."""

from __future__ import annotations

import sys
from collections.abc import Callable

import msgspec
from rich.console import Console
from rich.text import Text

from gateway.operator.line import Line, Report, Status

Told = Callable[[Line], object]

STYLES = {Status.OK: "green", Status.WARN: "yellow", Status.FAIL: "bold red", Status.SKIPPED: "dim"}
NAME_WIDTH = 12
STATUS_WIDTH = 8
INDENT = " " * (STATUS_WIDTH + NAME_WIDTH)


class Printer:
    """Tells each line as it comes, and the sum."""

    def __init__(self, *, quiet: bool = False) -> None:
        self._console = Console(highlight=False, soft_wrap=True, quiet=quiet)

    def line(self, line: Line) -> None:
        status = f"{line.status.value:{STATUS_WIDTH}}", STYLES[line.status]
        todo = f"\n{INDENT}-> {line.todo}" if line.todo else ""
        self._console.print(
            Text.assemble(status, (f"{line.name:{NAME_WIDTH}}", "bold"), line.found, (todo, "italic"))
        )

    def end(self, report: Report) -> None:
        counts = [(sum(line.status is status for line in report.lines), status) for status in Status]
        told = ", ".join(f"{number} {status.value}" for number, status in counts if number)
        self._console.print(Text(f"\n{told}; {report.took_s:.1f} s"))


def as_json(report: Report) -> None:
    told = {"ok": report.ok, "took_s": round(report.took_s, 3), "lines": report.lines}
    sys.stdout.write(msgspec.json.encode(told).decode() + "\n")
    sys.stdout.flush()
