"""The one knot in the wiring: the pool is told of the keeper, and the keeper of the pool."""

from __future__ import annotations

from gateway.keeper.keeper import Keeper
from pool.ports import Capacity, JobEvent, Offer, Verdict


class LateKeeper:
    """The pool's gate and listener: the keeper, once there is one.

    The pool comes first, since the keeper must know the name of the agent that was loaded. It runs only
    afterwards, so that without a keeper there is nothing to hear, and no job to grant.
    """

    keeper: Keeper | None = None

    async def claim(self, offer: Offer) -> Verdict:
        return await self.keeper.claim(offer) if self.keeper else Verdict.UNKNOWN

    async def identify(self, job_id: str, identity: str) -> bool:
        return await self.keeper.identify(job_id, identity) if self.keeper else False

    async def confirm(self, job_id: str) -> bool:
        return await self.keeper.confirm(job_id) if self.keeper else False

    def on_job(self, event: JobEvent) -> None:
        if self.keeper:
            self.keeper.on_job(event)

    def on_capacity(self, capacity: Capacity) -> None:
        if self.keeper:
            self.keeper.on_capacity(capacity)
