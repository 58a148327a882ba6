"""docs/faults.json, the last full run of each row, and docs/faults.md, the table made from nothing else."""

from __future__ import annotations

import json
from typing import Any

from tests.live.gateway import REPOSITORY
from tests.processes.outcome import Outcome, percentile
from tests.processes.table import ROWS, Row

KEPT = REPOSITORY / "docs" / "faults.json"
TABLE = REPOSITORY / "docs" / "faults.md"
README = REPOSITORY / "README.md"
BEGIN, END = "<!-- made by `make faults` -->\n", "<!-- end -->\n"
SHORT_HEAD = """\
| what was done | tries | violations | healed after p50, s | p99, s |
|---|--:|--:|--:|--:|
"""

HEAD = """\
# The fault table

Every fault that we know of, done to real processes: gateways with their job processes, livekit-server,
redis-server, and toxiproxy in between. A person (a WebRTC client) is in each room. An observer outside, which
shares no code with the keeper, asks LiveKit ten times a second who is in each room, and the kernel which of
those processes live. It counts violations:

- I1: two agents of a name in a room at once, longer than a pause excuses (see *overlaps*).
- I2: a room that wants an agent and has none when the row's time is up, or an accepted request forgotten.
- I3: an agent put out, or a call cut, on no evidence but that something could not be reached.
- I4: an agent in a room that came back after its end, and nobody asked.
- I7: the API says `joined`, and for 6 s no living agent has been there under that identity (a gateway
  that was started less than 15 s ago is not held to it).
- failed: the row itself could not be played.

Made by `make faults` (all rows), `make faults ROW=name` (one). The rows with a number under *CI* are played
with so many tries for each change (`make test-processes`).

*Seconds to heal*: from the fault to a published track of a working agent, as LiveKit lists it, in each room
that was hit; the observer looks every 0.1 s. *Overlaps*: rooms with two agents after a process was paused,
which LiveKit cannot prevent; they end within 2 s of the pause's end, else they are violations. A p99 above
what is *promised* is a violation of I2.

| row | fault | tries | CI | violations | heals | p50 s | p99 s | promised | overlaps | more |
|---|---|--:|--:|--:|--:|--:|--:|--:|--:|---|
"""


def line(row: Row, outcome: Outcome) -> str:
    """What the runner prints of a row."""
    violations = ", ".join(f"{k} {v}" for k, v in sorted(outcome.violations.items())) or "0"
    heals = outcome.heals
    healed = f"p50 {percentile(heals, 0.5):.2f} p99 {percentile(heals, 0.99):.2f} s" if heals else "-"
    figures = " ".join(f"{name}={value:g}" for name, value in outcome.figures.items())
    return (
        f"{row.name:26} n={outcome.n:<5} violations: {violations:14} heals {len(heals):4}: {healed:24} "
        f"overlaps {outcome.overlaps}  {figures}  ({outcome.seconds:.0f} s)"
    )


def keep(row: Row, outcome: Outcome) -> None:
    """Put a full run into docs/faults.json in place of the row's last one."""
    rows = _kept()
    rows[row.name] = {
        "n": outcome.n,
        "violations": dict(sorted(outcome.violations.items())),
        "heals": [round(seconds, 2) for seconds in outcome.heals],
        "overlaps": outcome.overlaps,
        "longest_overlap": round(outcome.longest_overlap, 2),
        "figures": {name: round(value, 3) for name, value in outcome.figures.items()},
    }
    KEPT.write_text(json.dumps(rows, indent=1) + "\n")


def write() -> None:
    """Make docs/faults.md, and the table in README.md, from docs/faults.json."""
    rows = _kept()
    TABLE.write_text(HEAD + "".join(_cells(row, rows.get(row.name)) for row in ROWS.values()))
    before, _, rest = README.read_text().partition(BEGIN)
    _, _, after = rest.partition(END)
    short = "".join(_short_cells(row, rows[row.name]) for row in ROWS.values() if row.name in rows)
    README.write_text(before + BEGIN + SHORT_HEAD + short + "\n" + END + after)


def _short_cells(row: Row, kept: dict[str, Any]) -> str:
    violations = ", ".join(f"{k}: {v}" for k, v in kept["violations"].items()) or "0"
    p50, p99 = (f"{percentile(kept['heals'], p):.1f}" if kept["heals"] else "" for p in (0.5, 0.99))
    return f"| {row.fault} | {kept['n']} | {violations} | {p50} | {p99} |\n"


def _kept() -> dict[str, dict[str, Any]]:
    kept: dict[str, dict[str, Any]] = json.loads(KEPT.read_text()) if KEPT.exists() else {}
    return {name: kept[name] for name in ROWS if name in kept}


def _cells(row: Row, kept: dict[str, Any] | None) -> str:
    ci = str(row.bounded or "")
    if kept is None:
        return f"| {row.name} | {row.fault} | not run in full yet | {ci} | | | | | {row.limit:g} | | |\n"
    violations = ", ".join(f"{k}: {v}" for k, v in kept["violations"].items()) or "0"
    heals = kept["heals"]
    p50, p99 = (f"{percentile(heals, p):.1f}" if heals else "" for p in (0.5, 0.99))
    overlaps = str(kept["overlaps"])
    if kept["overlaps"]:
        overlaps += f" (at most {kept['longest_overlap']:.1f} s)"
    figures = ", ".join(f"{name.replace('_', ' ')} {value:g}" for name, value in kept["figures"].items())
    return (
        f"| {row.name} | {row.fault} | {kept['n']} | {ci} | {violations} | {len(heals)} | {p50} | {p99} "
        f"| {row.limit:g} | {overlaps} | {figures} |\n"
    )
