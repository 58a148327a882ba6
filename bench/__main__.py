"""`python -m bench NAME [--n N]`: run one bench, print its table, write `bench/out/NAME.json`."""

from __future__ import annotations

import argparse
import asyncio
import os
import time
import warnings
from types import ModuleType

from bench import (
    answers,
    burst,
    cold,
    day,
    hostile,
    memory,
    pool,
    post,
    prefork,
    recovery,
    report,
    scale,
    session,
    simulate_fleet,
    slow,
    time_to_agent,
    webhook,
)

BENCHES: dict[str, ModuleType] = {
    b.NAME: b
    for b in (
        answers,
        hostile,
        post,
        session,
        slow,
        webhook,
        time_to_agent,
        burst,
        day,
        recovery,
        memory,
        prefork,
        pool,
        cold,
        scale,
        simulate_fleet,
    )
}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("name", choices=sorted(BENCHES))
    parser.add_argument("--n", type=int, help="rounds or rooms of each side; see the bench")
    arguments = parser.parse_args()
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")  # fact 36
    warnings.filterwarnings("ignore", message="The HMAC key is")  # the dev secret is short, and meant to be
    bench = BENCHES[arguments.name]
    where = report.machine()
    began = time.monotonic()
    rows, notes = asyncio.run(bench.run(arguments.n or bench.N))
    path = report.write(arguments.name, where, rows, [*notes, f"took {time.monotonic() - began:.0f} s"])
    print(path)


if __name__ == "__main__":
    main()
