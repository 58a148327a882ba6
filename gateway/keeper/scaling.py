"""How many workers the site wants, for whatever scales them: HPA, KEDA, a person. Decides nothing else.

The figure is absolute: so many workers, those that are there included. One that drains is about to end, and
counts for nothing, nor do its calls.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

from gateway.keeper.admission import Admission
from gateway.keeper.fleet import Fleet
from gateway.keeper.lead import Lead
from gateway.keeper.memory import Memory
from gateway.keeper.model import Want
from gateway.keeper.ports import Clock
from gateway.keeper.wants import Wants
from gateway.settings import KeeperSettings


def wanted_workers(*, active: int, waiting: int, buffer: int, slots_per_worker: int) -> int:
    """Workers for the agents that run, those that are waited for, and `buffer` slots for the next."""
    return math.ceil((active + waiting + buffer) / slots_per_worker)


@dataclass(frozen=True, slots=True, kw_only=True)
class Demand:
    """What is asked of the workers of one agent name."""

    agent: str
    active: int
    """Slots with a job in workers that do not drain; while others take jobs, all of those whose jobs never
    join."""
    waiting: int
    """Wants in line, or called and not claimed yet."""
    buffer: int
    slots_per_worker: int
    oldest_wait: float
    """Seconds for which the one that waits longest has been without its agent; 0 when nobody is."""

    @property
    def wanted_workers(self) -> int:
        return wanted_workers(
            active=self.active,
            waiting=self.waiting,
            buffer=self.buffer,
            slots_per_worker=self.slots_per_worker,
        )


class Scaling:
    def __init__(
        self,
        fleet: Fleet,
        lead: Lead,
        admission: Admission,
        wants: Wants,
        memory: Memory,
        settings: KeeperSettings,
        clock: Clock,
    ) -> None:
        self._fleet = fleet
        self._lead = lead
        self._admission = admission
        self._wants = wants
        self._memory = memory
        self._settings = settings
        self._clock = clock

    def demands(self) -> list[Demand]:
        """Of each agent name that is ours. Empty where this replica does not lead, or has not read the books
        yet: it would tell of nobody who waits."""
        if not self._lead.taken_up:
            return []
        waits = self._waits()
        return [self._demand(agent, waits.get(agent, 0.0)) for agent in sorted(self._fleet.our_agents())]

    def _demand(self, agent: str, oldest_wait: float) -> Demand:
        strength = self._fleet.strength(agent)
        # Instead of distrusted workers others are wanted; where all are so, the fault is not theirs.
        active = strength.calls + (strength.withheld if strength.slots else 0)
        return Demand(
            agent=agent,
            active=active,
            waiting=self._admission.unserved(agent),
            buffer=self._settings.buffer + -(-active * self._settings.buffer_percent // 100),
            slots_per_worker=strength.smallest or self._settings.slots_per_worker,
            oldest_wait=oldest_wait,
        )

    def _waits(self) -> dict[str, float]:
        """By agent name: for how long somebody has been without it."""
        now, waits = self._clock(), dict[str, float]()
        for want in self._lacking():
            waits[want.agent] = max(waits.get(want.agent, 0.0), now - want.lacking_since)
        return waits

    def _lacking(self) -> Iterator[Want]:
        """Wants whose agent should be there: one that waits for a person lacks nothing yet."""
        for want in self._wants.unsettled():
            seen = self._memory.seen.get(want.room)
            if want.lacking_since and (not want.needs_person or (seen is not None and seen.people)):
                yield want
