"""What came out of a row: tries, violations with their stories, seconds to heal, figures of its own."""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tests.processes.record import Record, Sample
from tests.processes.verdict import Pauses, Said, Wishes, doubles, lies, uninvited

TRUTH = 6.0
"""Seconds for which `joined` may be said of an agent whose replica died: its heartbeat lapses after 3, its
process is asked for 2, and the witness of all this looks twice a second (I7)."""


@dataclass(slots=True)
class Outcome:
    """Filled while a row runs."""

    row: str
    n: int
    log: Path
    """The folder in which stories and gateways' logs are kept for whoever asks why."""
    heals: list[float] = field(default_factory=list)
    violations: Counter[str] = field(default_factory=Counter)
    overlaps: int = 0
    """Two agents after a pause, ended in the time that I1 allows."""
    longest_overlap: float = 0.0
    figures: dict[str, float] = field(default_factory=dict)
    patience: float = TRUTH
    bounded: bool = False
    """As CI plays it: where the row says so, with shorter waits."""
    seconds: float = 0.0
    """How long it took to play the row."""

    def violate(self, invariant: str, story: str) -> None:
        self.violations[invariant] += 1
        self._write("violations.txt", f"{invariant} {story}\n")

    def add(self, figure: str, value: float) -> None:
        self.figures[figure] = self.figures.get(figure, 0) + value

    def set(self, figure: str, value: float) -> None:
        self.figures[figure] = value

    def healed_within(self, limit: float) -> None:
        """The promise of the row: seconds to heal at p99."""
        if self.heals and percentile(self.heals, 0.99) > limit:
            self.violate("I2", f"p99 {percentile(self.heals, 0.99):.1f} s, and {limit:g} s were promised")

    def keep_log(self, name: str, text: str) -> None:
        self._write(f"{name}.log", text)

    def judge(
        self, record: Record, said: Sequence[Said], pauses: Pauses, wishes: Mapping[str, Wishes]
    ) -> None:
        """I1, I4, I5 and I7 over everything that the witness saw."""
        now = time.monotonic()
        for room, sids in record.rooms.items():
            hit = [pause for pause in pauses if room in pause.rooms]
            for sid in sids:
                self._judge_doubles(room, sid, record.samples[sid], now, hit)
            spoken = [s for s in said if s.room == room and not self._unseen(s.at, record)]
            whole = sorted((s for sid in sids for s in record.samples[sid]), key=_at)
            for at, agent in uninvited(whole, wishes.get(room, Wishes())):
                self.violate("uninvited", f"{agent.identity} in {room} at {at:.2f}: {_near(whole, at)}")
            for lie in lies(spoken, whole, patience=self.patience):
                self.violate(
                    "I7", f"{room} said joined by {lie.identity} at {lie.at:.2f}: {_near(whole, lie.at)}"
                )

    def _judge_doubles(
        self, room: str, sid: str, samples: Sequence[Sample], now: float, pauses: Pauses
    ) -> None:
        for double in doubles(samples, until=now, pauses=pauses):
            story = f"{room} {sid} {double.identities} for {double.end - double.start:.2f} s"
            if double.excused:
                self.overlaps += 1
                self.longest_overlap = max(self.longest_overlap, double.end - double.start)
                self._write("overlaps.txt", f"{story}: {_near(samples, double.start)}\n")
            else:
                self.violate("I1", f"{story}: {_near(samples, double.start)}")

    def _unseen(self, at: float, record: Record) -> bool:
        """LiveKit told nobody anything shortly before, the keeper neither."""
        return any(start <= at <= end + self.patience for start, end in record.blindness)

    def _write(self, name: str, text: str) -> None:
        self.log.mkdir(parents=True, exist_ok=True)
        with (self.log / name).open("a") as file:
            file.write(text)


def percentile(values: Sequence[float], share: float) -> float:
    """The nearest-rank percentile."""
    ordered = sorted(values)
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]


def _at(sample: Sample) -> float:
    return sample.at


def _near(samples: Sequence[Sample], at: float) -> str:
    near = [s for s in samples if abs(s.at - at) < 8]
    return "; ".join(
        f"{s.at - at:+.2f} {[(a.identity[-6:], a.life, a.tracks) for a in s.agents]}" for s in near
    )
