"""Handing calls over at the end of a drain: their rooms get a successor before their agent leaves
(`ROOMKEEPER_HANDOVER`). The one exception to I1 that is meant, off by default and bounded.

The draining replica lets go of its rooms (`Handover.begin`): a claim that retires holds its room no longer,
and its job stays. The leader calls a successor, as for any room without an agent, and has the old job leave
once that works, or when its time is over (`over`); then the replica ends it by itself, too.
"""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from dataclasses import replace
from typing import Any

import structlog

from gateway.keeper.fleet import Fleet
from gateway.keeper.jobs import Jobs
from gateway.keeper.model import Claim, Participant, Stage
from gateway.keeper.plan import leave
from gateway.keeper.ports import Clock, Store, StoreUnavailable
from gateway.keeper.situation import Action, EndJob
from gateway.keeper.traces import about
from pool.ports import Workers

log = structlog.get_logger(__name__)

HANDOVER_TIMEOUT = 15.0
"""Seconds that a successor may take; then the old agent leaves all the same."""


class Handover:
    def __init__(self, store: Store, workers: Workers, fleet: Fleet, jobs: Jobs, clock: Clock) -> None:
        self._store = store
        self._workers = workers
        self._fleet = fleet
        self._jobs = jobs
        self._clock = clock

    async def begin(self) -> int:
        """Let go of the rooms of this replica's working agents, where somebody else's worker could take them.
        Returns of how many; the store hears of each at once, or that one is not handed over."""
        begun = 0
        for claim, want in list(self._jobs.held.values()):
            if not self._fleet.others_serve(claim.agent):
                log.info("not_handed_over", **about(want), why="no other worker takes jobs")
                continue
            try:
                retires = await self._retire(claim.job_id)
            except StoreUnavailable as fault:
                log.warning("not_handed_over", **about(want), why=str(fault))
                continue
            if retires:
                begun += 1
                log.info("hands_over", **about(want), identity=claim.identity)
        return begun

    async def end(self) -> None:
        """Their time is over, and nobody has seen them out: a leader that cannot look at rooms does not.
        Where the store does not answer they are cut soon, with this process."""
        for job_id in [claim.job_id for claim, _ in self._jobs.held.values() if claim.retires_since]:
            with suppress(StoreUnavailable):
                if await self._change(job_id, stage=Stage.LEAVING, since=self._clock()):
                    self._workers.end(job_id)

    async def _retire(self, job_id: str) -> bool:
        """False: it does not work (any more)."""
        claim = await self._store.claim_of(job_id)
        works = claim is not None and claim.stage is Stage.OPEN
        return works and await self._change(job_id, retires_since=self._clock())

    async def _change(self, job_id: str, **changes: Any) -> bool:
        """False: its claim is gone."""
        while (claim := await self._store.claim_of(job_id)) is not None:
            changed = replace(claim, **changes)
            if await self._store.advance(changed, was=claim):
                self._jobs.rewrite(changed)
                return True
        return False


def see_out(claim: Claim, listed: Iterable[Participant], now: float) -> list[Action]:
    """The steps that get a retiring claim's job out of its room. One that LiveKit lists no longer cannot be
    removed, and must not come back: it is killed."""
    there = any(participant.identity == claim.identity for participant in listed)
    return leave(claim, now) + ([] if there else [EndJob(claim, kill=True)])


def retiring(claims: Iterable[Claim]) -> frozenset[str]:
    """The identities of the agents that hand over."""
    return frozenset(claim.identity for claim in claims if claim.retires_since)


def over(claim: Claim, claims: Iterable[Claim], listed: Iterable[Participant], now: float) -> str:
    """Whether a retiring claim's time is over, and how: `handed_over` to a successor among the room's claims
    that works and is listed, `late`, or "" as long as it may stay."""
    there = {participant.identity for participant in listed}
    for other in claims:
        holds = other.agent == claim.agent and not other.retires_since
        if holds and other.stage is Stage.OPEN and other.identity in there:
            return "handed_over"
    return "late" if now >= claim.retires_since + HANDOVER_TIMEOUT else ""
