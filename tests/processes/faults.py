"""`make faults`: plays rows of the fault table, one line each, and writes docs/faults.md from what came out.

`python -m tests.processes.faults [ROW ...] [--bounded]`; without a name all of them. docs/faults.json keeps
the last full run of each row, so that one row can be played again and the table be rewritten.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import shutil
import signal
import sys
import time
import traceback
import warnings

import tests.processes.rows  # noqa: F401  (fills the table)
from tests.live.gateway import REPOSITORY
from tests.processes import report
from tests.processes.outcome import Outcome
from tests.processes.table import ROWS, Row

LOGS = REPOSITORY / ".run" / "faults"


async def play(row: Row, n: int, *, bounded: bool = False) -> Outcome:
    """One row; what it could not do for itself is a violation of the row, named `failed`."""
    log = LOGS / row.name
    shutil.rmtree(log, ignore_errors=True)
    outcome = Outcome(row.name, n, log, bounded=bounded)
    began = time.monotonic()
    try:
        await row.play(outcome)
    except Exception:  # noqa: BLE001  (a row's root: the other rows go on, and this one says so)
        outcome.violate("failed", traceback.format_exc())
    outcome.healed_within(row.limit)
    outcome.seconds = time.monotonic() - began
    return outcome


def main() -> int:
    # LiveKit's dev secret is short, and meant to be.
    warnings.filterwarnings("ignore", message="The HMAC key is")
    parser = argparse.ArgumentParser(prog="make faults")
    parser.add_argument("rows", nargs="*", metavar="ROW", help=f"one of {', '.join(ROWS)}")
    parser.add_argument("--bounded", action="store_true", help="few tries, as in CI; writes nothing")
    parser.add_argument("-n", type=int, help="so many tries; writes nothing")
    given = parser.parse_args()
    if unknown := set(given.rows) - ROWS.keys():
        parser.error(f"no such row: {', '.join(sorted(unknown))}. There are {', '.join(ROWS)}")
    signal.signal(signal.SIGTERM, lambda *_: os.kill(os.getpid(), signal.SIGINT))  # asyncio cleans up then
    violations, played = 0, report.circumstances()
    for name in given.rows or ROWS:
        row = ROWS[name]
        n = given.n or (row.bounded or 1 if given.bounded else row.n)
        outcome = asyncio.run(play(row, n, bounded=given.bounded))
        print(report.line(row, outcome), flush=True)
        violations += outcome.violations.total()
        if not (given.bounded or given.n):
            report.keep(row, outcome, played)
            report.write()
    return 1 if violations else 0


if __name__ == "__main__":
    sys.exit(main())
