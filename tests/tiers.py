"""Runs the test tiers one after the other: what each took, and one line with the sum of all at the end.

`python -m tests.tiers lint unit simulation contract live processes deploy`. Each tier is a pytest run of its
folder; `lint` counts only when it fails. Of some tiers two tests run at a time (`ABREAST`), and those
that are marked `alone` after the others.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

ROOT = Path(__file__).parents[1]
OUT = ROOT / ".run"
LIMITS = {
    "lint": 600.0,
    "unit": 600.0,
    "simulation": 1200.0,
    "contract": 900.0,
    "live": 3600.0,
    "processes": 1800.0,
    "deploy": 900.0,
}
"""Seconds after which a tier counts as failed: far above what it takes."""
WORKERS = 2
ABREAST = {"unit": "loadfile", "contract": "loadfile", "live": "loadfile", "processes": "worksteal"}
"""Tiers that mostly wait for processes and for time to pass, or that use one core of two: how pytest-xdist
shares their tests among `WORKERS` processes. By `loadfile` those of a file share what is made once for it."""


@dataclass(frozen=True, slots=True)
class Sum:
    passed: int = 0
    failed: int = 0
    skipped: int = 0

    def __add__(self, other: Sum) -> Sum:
        return Sum(self.passed + other.passed, self.failed + other.failed, self.skipped + other.skipped)

    def __str__(self) -> str:
        skipped = f", {self.skipped} skipped" if self.skipped else ""
        return f"{self.passed} passed, {self.failed} failed{skipped}"


def main(tiers: list[str]) -> int:
    OUT.mkdir(exist_ok=True)
    lines, total = [], Sum()
    for tier in tiers:
        print(f"==== {tier} ====", flush=True)
        began = time.monotonic()
        result = run_lint() if tier == "lint" else run_tier(tier)
        lines.append(f"{tier:10} {time.monotonic() - began:7.1f} s   {result}")
        total += result
    print("", *lines, str(total), sep="\n", flush=True)
    return 1 if total.failed else 0


def run_lint() -> Sum:
    return Sum(failed=0 if run(["make", "--no-print-directory", "lint"], LIMITS["lint"]) == 0 else 1)


def run_tier(tier: str) -> Sum:
    ends = time.monotonic() + LIMITS[tier]
    if tier not in ABREAST or os.environ.get("ROOMKEEPER_LIVE") == "full":  # that measures what it promises
        return run_pytest(tier, f"tests/{tier}", ends=ends)
    abreast = ["-n", str(WORKERS), "--dist", ABREAST[tier], "-m", "not alone"]
    together = run_pytest(tier, f"tests/{tier}", *abreast, ends=ends)
    return together + run_pytest(f"{tier}-alone", f"tests/{tier}", "-m", "alone", ends=ends)


def run_pytest(name: str, *arguments: str, ends: float) -> Sum:
    report = OUT / f"{name}.xml"
    report.unlink(missing_ok=True)
    command = [sys.executable, "-m", "pytest", "-q", *arguments, f"--junitxml={report}"]
    code = run(command, max(0.0, ends - time.monotonic()))
    found = read(report)
    if code != 0 and not found.failed:  # it was cut short, or pytest itself failed
        return found + Sum(failed=1)
    return found


def run(command: list[str], limit: float) -> int:
    """Run in a process group of its own, so that a tier that hangs is ended with all it started."""
    process = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.DEVNULL, start_new_session=True)
    try:
        return process.wait(limit)
    except subprocess.TimeoutExpired:
        print(f"!!! ended after {limit:g} s: {' '.join(command)} !!!", flush=True)
        return -1
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def read(report: Path) -> Sum:
    """The sum of a JUnit report; nothing when pytest did not get as far as writing one."""
    if not report.exists():
        return Sum()
    total = Sum()
    for suite in ElementTree.parse(report).getroot().iter("testsuite"):
        tests, skipped = int(suite.get("tests", 0)), int(suite.get("skipped", 0))
        failed = int(suite.get("failures", 0)) + int(suite.get("errors", 0))
        total += Sum(tests - failed - skipped, failed, skipped)
    return total


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that a tier under way is ended with us
    sys.exit(main(sys.argv[1:]))
