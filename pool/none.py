"""No workers: what stands in the pool's place in a process that is a gateway only (role `gateway`)."""

from __future__ import annotations

from pool.ports import Capacity, Launch


class NoPool:
    """Implements `pool.ports.Workers`, and what the composition root asks of a pool.

    `agent`: the name that this site's workers have, wherever they run.
    """

    nameless = False

    def __init__(self, agent: str) -> None:
        self.agent = agent
        self._draining = False

    def capacity(self) -> Capacity:
        return Capacity(draining=self._draining)

    def runs(self, job_id: str) -> bool:
        return False

    def inside(self) -> list[str]:
        return []

    def launch(self, launch: Launch) -> bool:
        return False

    def end(self, job_id: str, *, kill: bool = False) -> None:
        """There is none to end."""

    def pause(self, paused: bool) -> None:
        """There is nothing that LiveKit could ask."""

    async def run(self) -> None:
        """Nothing runs."""

    async def drain(self, timeout: float) -> int:
        """There is no call that could end."""
        self._draining = True
        return 0

    async def close(self, grace: float = 0.0) -> None:
        """Nothing is left."""
