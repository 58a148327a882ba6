"""Plays many seeds on two processes, and adds up what happened."""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field

from tests.server_process import die_with
from tests.simulation.clock import quiet
from tests.simulation.generator import draw
from tests.simulation.history import History
from tests.simulation.play import play

PROCESSES = 2
CHUNK = 50


@dataclass(slots=True)
class Tally:
    """The sum of some histories."""

    played: int = 0
    failed: list[tuple[History, list[str]]] = field(default_factory=list)
    faults: Counter[str] = field(default_factory=Counter)
    counts: Counter[str] = field(default_factory=Counter)
    healed_after: list[float] = field(default_factory=list)
    longest_overlap: float = 0.0
    virtual_s: float = 0.0
    real_s: float = 0.0

    def add(self, other: Tally) -> None:
        self.played += other.played
        self.failed += other.failed
        self.faults += other.faults
        self.counts += other.counts
        self.healed_after += other.healed_after
        self.longest_overlap = max(self.longest_overlap, other.longest_overlap)
        self.virtual_s += other.virtual_s


def play_seeds(first: int, seeds: int, progress: Callable[[Tally, Tally], None]) -> Tally:
    """The seeds from `first` on. `progress` hears of all so far, and of what is new of it."""
    total = Tally()
    began = time.monotonic()
    with ProcessPoolExecutor(PROCESSES, initializer=_begin, initargs=(os.getpid(),)) as pool:
        for tally in pool.map(_play_chunk, list(_chunks(first, seeds))):
            total.add(tally)
            total.real_s = time.monotonic() - began
            progress(total, tally)
    return total


def _begin(parent: int) -> None:
    """Of a process that plays: it ends with the one that it plays for, however that ends."""
    if (tie := die_with(parent)) is not None:
        tie()
    quiet()


def _chunks(first: int, seeds: int) -> Iterator[range]:
    for start in range(first, first + seeds, CHUNK):
        yield range(start, min(start + CHUNK, first + seeds))


def _play_chunk(seeds: range) -> Tally:
    tally = Tally()
    for seed in seeds:
        outcome = play(history := draw(seed))
        tally.played += 1
        if outcome.broken:
            tally.failed.append((history, outcome.broken))
        tally.faults += outcome.faults
        tally.counts += outcome.counts
        tally.healed_after.append(round(outcome.healed_after, 1))
        tally.longest_overlap = max(tally.longest_overlap, outcome.longest_overlap)
        tally.virtual_s += outcome.seconds
    return tally
