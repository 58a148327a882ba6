"""`make simulate SEEDS=10000`: plays seeded histories of faults, and says which promises were broken.

`--seed n` replays one seed alone and prints its history; so does `--history file` for a remembered one.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path
from statistics import quantiles

from tests.simulation.clock import quiet
from tests.simulation.generator import draw
from tests.simulation.history import load, save
from tests.simulation.many import Tally, play_seeds
from tests.simulation.replay import replay
from tests.simulation.shrink import shrink

OUT = Path(__file__).parents[2] / ".run" / "simulation"
SHOWN = 5
"""So many failing seeds are shortened and shown."""
LISTED = 50
HASH_SEED = "0"
"""The order in which sets of strings are gone through belongs to a history as well."""


def main() -> int:
    options = _options()
    if options.seed is not None:
        return 1 if replay(draw(options.seed)).broken else 0
    if options.history is not None:
        return 1 if replay(load(options.history)).broken else 0
    tally = play_seeds(options.first, options.seeds, _progress)
    quiet()
    for history, broken in tally.failed[:SHOWN]:
        _show(history.seed, broken, options.shrink)
    _sum_up(tally, options.first)
    return 1 if tally.failed else 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.simulation")
    parser.add_argument("--seeds", type=int, default=1000, help="how many")
    parser.add_argument("--first", type=int, default=1, help="the first of them")
    parser.add_argument("--seed", type=int, help="replay this one alone, and print all of it")
    parser.add_argument("--history", type=Path, help="replay a history from a file")
    parser.add_argument("--shrink", type=float, default=60.0, help="seconds for shortening each that fails")
    return parser.parse_args()


def _progress(tally: Tally, news: Tally) -> None:
    for history, broken in news.failed:
        print(f"seed {history.seed}: {'; '.join(broken)}", flush=True)
    if tally.played % 1000 == 0:
        rate = tally.played / tally.real_s * 60
        print(f"{tally.played} seeds, {len(tally.failed)} failed, {rate:.0f} seeds/min", flush=True)


def _show(seed: int, broken: list[str], seconds: float) -> None:
    shortened = shrink(draw(seed), broken, seconds)
    OUT.mkdir(parents=True, exist_ok=True)
    path = OUT / f"seed-{seed}.json"
    save(shortened, path)
    print(
        f"\nseed {seed}: {'; '.join(broken)}\nshortened ({path.relative_to(OUT.parents[1])}):\n{shortened}\n"
    )


def _sum_up(tally: Tally, first: int) -> None:
    healed = sorted(tally.healed_after) or [0.0]
    p99 = quantiles(healed, n=100)[98] if len(healed) > 1 else healed[0]
    print("faults injected:", ", ".join(f"{name} {n}" for name, n in sorted(tally.faults.items())))
    print(
        "allowed and counted:", ", ".join(f"{name} {n}" for name, n in sorted(tally.counts.items())) or "none"
    )
    print(
        f"at rest after the last fault: p50 {healed[len(healed) // 2]:.1f} s, p99 {p99:.1f} s,"
        f" max {healed[-1]:.1f} s; longest overlap after a pause: {tally.longest_overlap:.2f} s"
    )
    if tally.failed:
        print("failing seeds:", *(history.seed for history, _ in tally.failed[:LISTED]))
    print(
        f"{tally.played} seeds from {first} on, {sum(tally.faults.values())} faults,"
        f" {tally.virtual_s / 3600:.1f} h of virtual time in {tally.real_s:.0f} s:"
        f" {tally.played / max(tally.real_s, 0.001) * 60:.0f} seeds/min; {len(tally.failed)} failed"
    )


if __name__ == "__main__":
    if os.environ.get("PYTHONHASHSEED") != HASH_SEED:
        os.environ["PYTHONHASHSEED"] = HASH_SEED
        os.execv(sys.executable, [sys.executable, "-m", "tests.simulation", *sys.argv[1:]])
    sys.exit(main())
