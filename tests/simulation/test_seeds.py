"""Two thousand seeds, as everybody's change has to pass; `make simulate SEEDS=100000` plays more by hand."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tests.simulation.clock import quiet
from tests.simulation.generator import draw
from tests.simulation.play import play

SEEDS = 2000
LIMIT = 800.0


def test_two_thousand_seeded_histories_keep_every_promise() -> None:
    """Whatever fails at the same time: one agent, none forgotten, nothing cut without need, nothing
    untrue."""
    command = [sys.executable, "-m", "tests.simulation", "--seeds", str(SEEDS), "--shrink", "20"]
    result = subprocess.run(
        command, cwd=Path(__file__).parents[2], timeout=LIMIT, capture_output=True, text=True, check=False
    )
    print(result.stdout, result.stderr)
    assert result.returncode == 0


def test_a_seed_plays_the_same_way_twice() -> None:
    """Else no failing seed could be replayed."""
    quiet()
    first, second = play(draw(7)), play(draw(7))
    assert (first.seconds, first.counts, first.faults) == (second.seconds, second.counts, second.faults)
