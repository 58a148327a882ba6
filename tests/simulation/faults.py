"""Which faults were at work when. A record, not their cause."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection
from dataclasses import dataclass


@dataclass(eq=False, slots=True)
class Spell:
    """One fault, from its beginning to its end."""

    kind: str
    began: float
    ended: float = math.inf


class Faults:
    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._spells: list[Spell] = []
        self._started_at = clock()

    def begin(self, kind: str) -> Spell:
        spell = Spell(kind, self._clock())
        self._spells.append(spell)
        return spell

    def end(self, spell: Spell) -> None:
        spell.ended = self._clock()

    @property
    def calm_since(self) -> float | None:
        """Since when no fault has been at work; None while one is."""
        last = max((spell.ended for spell in self._spells), default=self._started_at)
        return None if last == math.inf else last

    def between(self, began: float, ended: float, kinds: Collection[str]) -> bool:
        """Whether a fault of one of these kinds was at work in that time."""
        return any(s.kind in kinds and s.began <= ended and s.ended >= began for s in self._spells)

    def lasting(self, moment: float, seconds: float, kinds: Collection[str]) -> bool:
        """Whether a fault of one of these kinds was at work then, or soon after, and for so long."""
        soon = moment + 1.0
        return any(
            s.kind in kinds and s.began <= soon and s.ended >= moment and s.ended - s.began >= seconds
            for s in self._spells
        )

    def of(self, kinds: Collection[str]) -> list[Spell]:
        return [s for s in self._spells if s.kind in kinds]
