"""Which faults were at work when, and at which replica. A record, not their cause."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass


@dataclass(eq=False, slots=True)
class Spell:
    """One fault, from its beginning to its end."""

    kind: str
    began: float
    via: int | None = None
    """The number of the replica that it hit; None: all of them."""
    ended: float = math.inf

    def hits(self, via: int | None) -> bool:
        """Whether that replica was hit; None: any."""
        return via is None or self.via is None or self.via == via


class Faults:
    def __init__(self, clock: Callable[[], float], replicas: int) -> None:
        self._clock = clock
        self._replicas = range(replicas)
        self._spells: list[Spell] = []
        self._started_at = clock()

    def begin(self, kind: str, via: int | None = None) -> Spell:
        spell = Spell(kind, self._clock(), via)
        self._spells.append(spell)
        return spell

    def end(self, spell: Spell) -> None:
        spell.ended = self._clock()

    @property
    def calm_since(self) -> float | None:
        """Since when no fault has been at work; None while one is."""
        last = max((spell.ended for spell in self._spells), default=self._started_at)
        return None if last == math.inf else last

    def between(self, began: float, ended: float, kinds: Collection[str], via: int | None = None) -> bool:
        """Whether a fault of one of these kinds was at work in that time, at that replica (None: any)."""
        return any(
            s.kind in kinds and s.began <= ended and s.ended >= began and s.hits(via) for s in self._spells
        )

    def calm_but_for(self, kinds: Collection[str], since: float) -> bool:
        """Whether no fault of any other kind has been at work since then."""
        return all(s.kind in kinds or s.ended < since for s in self._spells)

    def everywhere(self, began: float, ended: float, kinds: Collection[str], rest: float) -> bool:
        """Whether no replica had `rest` seconds in a row in that time without a fault of these kinds."""
        return all(self._longest_calm(began, ended, kinds, via) < rest for via in self._replicas)

    def _longest_calm(self, began: float, ended: float, kinds: Collection[str], via: int) -> float:
        longest, since = 0.0, began
        for spell in sorted(self.of(kinds), key=lambda s: s.began):
            if spell.hits(via) and spell.ended >= began and spell.began <= ended:
                longest, since = max(longest, spell.began - since), max(since, spell.ended)
        return max(longest, ended - since)

    def lasting(self, moment: float, seconds: float, kinds: Collection[str], via: int | None = None) -> bool:
        """Whether a fault of one of these kinds was at work then, or soon after, and for so long."""
        soon = moment + 1.0
        return any(
            s.kind in kinds
            and s.began <= soon
            and s.ended >= moment
            and s.ended - s.began >= seconds
            and s.hits(via)
            for s in self._spells
        )

    def felt_until(self, moment: float, seconds: float) -> float:
        """Until when what happened then may have its effect: so many seconds later, or so many after the end
        of what was at work meanwhile."""
        until = moment + seconds
        for spell in sorted(self._spells, key=lambda s: s.began):
            if spell.began <= until:
                until = max(until, spell.ended + seconds)
        return until

    def of(self, kinds: Collection[str]) -> list[Spell]:
        return [s for s in self._spells if s.kind in kinds]

    def over_by(self, rest: Mapping[str, float], replicas: Collection[int] | None = None) -> float:
        """When what the faults of these kinds did is over: so many seconds after the end of each. Infinite
        while one is at work. `replicas`: only those that hit one of them."""
        return max(
            (
                s.ended + rest[s.kind]
                for s in self._spells
                if s.kind in rest and (replicas is None or s.via is None or s.via in replicas)
            ),
            default=-math.inf,
        )
