"""docs/faults.json, the last full run of each row, and docs/faults.md, the table made from nothing else."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Mapping
from datetime import UTC, datetime
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
- I2: a room that wants an agent and has none when the row's time is up; an accepted request that is
  forgotten (`kill-post` counts them: *accepted lost*).
- refusal: a request that could not be accepted, and was not told so by 503 with Retry-After.
- I3: an agent put out, or a call cut, on no evidence but that something could not be reached.
- uninvited: an agent in a room after the room's end (I4), or after it was told to end (I5), and nobody had
  asked again; in whatever row.
- I4: the same in rows that provoke it.
- I7: the API says `joined`, and for 6 s no living agent has been there under that identity (a gateway
  that was started less than 15 s ago, or has not been ready since, is not held to it).
- failed: the row itself could not be played.

Made by `make faults` (all rows), `make faults ROW=name` (one). The rows with a number under *CI* are played
with so many tries for each change (`make test-processes`).

*Seconds to heal*: from the fault to a published track of a working agent, as LiveKit lists it, in each room
that was hit; the observer looks every 0.1 s. *Overlaps*: rooms with two agents after a process was paused,
which LiveKit cannot prevent; they end within 2 s of the pause's end, else they are violations. A p99 above
what is *promised* is a violation of I2. A `+` behind a commit: with changes that it lacks.

"""
COLUMNS = "| row | fault | tries | CI | violations | heals | p50 s | p99 s | promised | overlaps | more |"
RULES = "|---|---|--:|--:|--:|--:|--:|--:|--:|--:|---|"


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


def circumstances() -> dict[str, Any]:
    """When, from which commit and on how many cores rows are played; `+`: with changes that it lacks. To be
    taken before the first row: what is written afterwards is a change itself."""
    dirty = _git("status", "--porcelain", "--", ".", ":!docs/faults.*", ":!README.md")
    return {
        "date": datetime.now(UTC).date().isoformat(),
        "commit": _git("rev-parse", "--short", "HEAD") + ("+" if dirty else ""),
        "cores": len(os.sched_getaffinity(0)),
    }


def _git(*command: str) -> str:
    """What it prints; "" where there is no git."""
    try:
        done = subprocess.run(["git", *command], cwd=REPOSITORY, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return ""
    return done.stdout.strip()


def keep(row: Row, outcome: Outcome, played: Mapping[str, Any]) -> None:
    """Put a full run into docs/faults.json in place of the row's last one."""
    rows = _kept()
    rows[row.name] = {
        "played": dict(played),
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
    TABLE.write_text(page(rows))
    before, _, rest = README.read_text().partition(BEGIN)
    _, _, after = rest.partition(END)
    short = "".join(_short_cells(row, rows[row.name]) for row in ROWS.values() if row.name in rows)
    table = f"{played_by_all(rows)}\n\n{SHORT_HEAD}{short}"
    README.write_text(before + BEGIN + table + "\n" + END + after)


def page(rows: Mapping[str, Mapping[str, Any]]) -> str:
    """docs/faults.md. Rows of different runs say each which one it was, in a column more."""
    same = len({_played(kept) for kept in rows.values()}) <= 1
    column, rule = ("", "") if same else (" played |", "---|")
    lines = [HEAD, played_by_all(rows), "\n\n", COLUMNS, column, "\n", RULES, rule, "\n"]
    for row in ROWS.values():
        kept = rows.get(row.name)
        cell = "" if same else f" {_played(kept) if kept else ''} |"
        lines.append(f"{_cells(row, kept)}{cell}\n")
    return "".join(lines)


def played_by_all(rows: Mapping[str, Mapping[str, Any]]) -> str:
    """When and from what the rows were played, in a sentence."""
    runs = sorted({_played(kept) for kept in rows.values()})
    if len(runs) == 1:
        return f"Played {runs[0]}."
    return "Rows were played in different runs: docs/faults.json says which in each." if runs else ""


def _played(kept: Mapping[str, Any]) -> str:
    if "played" not in kept:
        return "before runs were noted"
    return "on {date} at commit {commit}, {cores} cores".format(**kept["played"])


def _short_cells(row: Row, kept: Mapping[str, Any]) -> str:
    violations = ", ".join(f"{k}: {v}" for k, v in kept["violations"].items()) or "0"
    p50, p99 = (f"{percentile(kept['heals'], p):.1f}" if kept["heals"] else "" for p in (0.5, 0.99))
    return f"| {row.fault} | {kept['n']} | {violations} | {p50} | {p99} |\n"


def _kept() -> dict[str, dict[str, Any]]:
    kept: dict[str, dict[str, Any]] = json.loads(KEPT.read_text()) if KEPT.exists() else {}
    return {name: kept[name] for name in ROWS if name in kept}


def _cells(row: Row, kept: Mapping[str, Any] | None) -> str:
    ci = str(row.bounded or "")
    if kept is None:
        return f"| {row.name} | {row.fault} | not run in full yet | {ci} | | | | | {row.limit:g} | | |"
    violations = ", ".join(f"{k}: {v}" for k, v in kept["violations"].items()) or "0"
    heals = kept["heals"]
    p50, p99 = (f"{percentile(heals, p):.1f}" if heals else "" for p in (0.5, 0.99))
    overlaps = str(kept["overlaps"])
    if kept["overlaps"]:
        overlaps += f" (at most {kept['longest_overlap']:.1f} s)"
    figures = ", ".join(f"{name.replace('_', ' ')} {value:g}" for name, value in kept["figures"].items())
    return (
        f"| {row.name} | {row.fault} | {kept['n']} | {ci} | {violations} | {len(heals)} | {p50} | {p99} "
        f"| {row.limit:g} | {overlaps} | {figures} |"
    )
