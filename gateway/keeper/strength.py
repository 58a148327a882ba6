"""What the workers of one agent name can take together: a sum of what each tells of itself."""

from __future__ import annotations

from dataclasses import dataclass

from pool.ports import Capacity


@dataclass(frozen=True, slots=True, kw_only=True)
class Strength:
    """What the workers of one agent name can take, all replicas together."""

    workers: int = 0
    slots: int = 0
    busy: int = 0
    free: int = 0
    calls: int = 0
    """Slots with a job in workers that do not drain, whether they take another one or not."""
    withheld: int = 0
    """Slots without a job of distrusted workers that take none just now."""
    smallest: int = 0
    """Slots of the smallest worker that does not drain."""
    registered: bool = False
    """At least one worker is registered with LiveKit."""
    draining: bool = False
    """All of them are about to end."""

    def with_worker(self, worker: Capacity) -> Strength:
        """Together with one more; a process without slots is no worker."""
        if not worker.slots:
            return self
        takes = worker.registered and worker.takes_jobs
        return Strength(
            workers=self.workers + 1,
            slots=self.slots + (worker.slots if takes else 0),
            busy=self.busy + (worker.running + worker.starting if takes else 0),
            free=self.free + (worker.free if takes else 0),
            calls=self.calls + (0 if worker.draining else worker.running + worker.starting),
            withheld=self.withheld
            + (worker.slots - worker.running if worker.withheld and not worker.draining else 0),
            smallest=self.smallest if worker.draining else min(worker.slots, self.smallest or worker.slots),
            registered=self.registered or worker.registered,
            draining=worker.draining and (self.draining or not self.workers),
        )
