"""A history: who does what at which time, and which faults happen. Pure data, readable, and independent of
how it was drawn, so that it stays the same when the generator changes.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import msgspec


class Step(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """Something happens. What its fields mean is its kind's affair."""

    at: float
    """Seconds from the start."""
    what: str
    """The kind: see `tests.simulation.kinds`."""
    room: str = ""
    who: str = ""
    via: int = 0
    """A replica's number; counted round where there are fewer."""
    how: str = ""
    lasts: float = 0.0
    """Seconds until it is over."""
    amount: float = 0.0

    def __str__(self) -> str:
        words = [
            f"{name}={getattr(self, name)!r}"
            for name in self.__struct_fields__[2:]
            if getattr(self, name) != getattr(_BLANK, name)
        ]
        return f"{self.at:7.3f} {self.what} {' '.join(words)}".rstrip()


_BLANK = Step(at=0.0, what="")


class History(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    seed: int
    """For what happens by chance within the steps: latencies, which worker is asked, who gets a webhook."""
    replicas: int = 1
    slots: int = 4
    """Of each replica."""
    direct: bool = False
    """Replicas launch jobs themselves where they can (`ROOMKEEPER_LAUNCH=direct`)."""
    steps: Sequence[Step] = ()
    linger: float = 0.0
    """Seconds that are watched on after everything has settled."""
    why: str = ""
    """What it is remembered for."""

    @property
    def ends(self) -> float:
        """When the last step is over."""
        return max((s.at + s.lasts for s in self.steps), default=0.0)

    def __str__(self) -> str:
        head = f"seed={self.seed} replicas={self.replicas} slots={self.slots} linger={self.linger:g}"
        head += " direct" if self.direct else ""
        return "\n".join([head, *(f"  {step}" for step in self.steps)])


def save(history: History, path: Path) -> None:
    path.write_bytes(msgspec.json.format(msgspec.json.encode(history), indent=1) + b"\n")


def load(path: Path) -> History:
    return msgspec.json.decode(path.read_bytes(), type=History)
