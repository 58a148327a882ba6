"""The store in memory: for the keeper under a virtual clock, where a thread would let time run away.

Behaves as the real one, by the same contract suite. While `away`, calls fail.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import replace

import anyio

from gateway.keeper.model import Ask, Claim, Invitation, Want
from gateway.keeper.ports import Clock, StoreUnavailable


class MemoryStore:
    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._wants: dict[str, Want] = {}
        self._claims: dict[str, Claim] = {}
        self._invitations: dict[tuple[str, str, str], Invitation] = {}
        self._rng = random.Random(0)
        self.latency = 0.0005
        """Seconds that a step takes, on average."""
        self.away = False
        """While true every call raises StoreUnavailable and writes nothing."""
        self.fails: Callable[[], bool] = lambda: False
        """Asked at each call, whether this one fails."""

    async def ask(self, ask: Ask, *, fresh: Want) -> tuple[Want, bool]:
        await self._reach()
        want = self._living(ask.room, ask.agent)
        if want is None:
            self._wants[fresh.id] = fresh
            return fresh, False
        asked_at = max(want.asked_at, fresh.asked_at)
        renewed = replace(want, asked_at=asked_at, metadata=fresh.metadata or want.metadata)
        self._wants[want.id] = renewed
        return renewed, True

    async def want(self, want_id: str) -> Want | None:
        await self._reach()
        return self._wants.get(want_id)

    async def wants(self, room: str) -> list[Want]:
        await self._reach()
        latest: dict[str, Want] = {}
        for want in sorted(self._wants.values(), key=lambda w: w.created_at):
            if want.room == room:
                latest[want.agent] = want
        return list(latest.values())

    async def living(self) -> list[Want]:
        await self._reach()
        return sorted((w for w in self._wants.values() if not w.state.ended), key=lambda w: w.created_at)

    async def recent(self, limit: int = 1000) -> list[Want]:
        await self._reach()
        return sorted(self._wants.values(), key=lambda w: (w.state.ended, -w.since))[:limit]

    async def update(self, want: Want, *, was: Want) -> bool:
        await self._reach()
        stored = self._wants.get(want.id)
        if stored is None or replace(stored, asked_at=was.asked_at, metadata=was.metadata) != was:
            return False
        if want.state.ended and stored.asked_at > was.asked_at:
            return False
        asked_meanwhile = stored.asked_at > was.asked_at or stored.metadata != was.metadata
        self._wants[want.id] = replace(
            want,
            asked_at=max(stored.asked_at, want.asked_at),
            metadata=stored.metadata if asked_meanwhile else want.metadata,
        )
        return True

    async def claim(self, claim: Claim) -> Claim | None:
        await self._reach()
        want = self._wants.get(claim.want_id)
        if want is None or want.state.ended or want.generation != claim.generation:
            return None
        if want.sid not in {"", claim.sid}:
            return None
        for held in self._claims.values():
            if (held.room, held.agent) == (claim.room, claim.agent):
                return held
        self._wants[want.id] = replace(want, sid=claim.sid)
        self._claims[claim.job_id] = claim
        return claim

    async def claims(self, room: str) -> list[Claim]:
        await self._reach()
        return sorted((c for c in self._claims.values() if c.room == room), key=lambda c: c.agent)

    async def all_claims(self) -> list[Claim]:
        await self._reach()
        return sorted(self._claims.values(), key=lambda c: c.job_id)

    async def claim_of(self, job_id: str) -> Claim | None:
        await self._reach()
        return self._claims.get(job_id)

    async def advance(self, claim: Claim) -> bool:
        await self._reach()
        if claim.job_id not in self._claims:
            return False
        self._claims[claim.job_id] = claim
        return True

    async def release(self, job_id: str) -> Claim | None:
        await self._reach()
        return self._claims.pop(job_id, None)

    async def invite(self, invitation: Invitation) -> None:
        await self._reach()
        self._invitations[invitation.room, invitation.identity, invitation.agent] = invitation

    async def invitations(self, room: str | None = None) -> list[Invitation]:
        await self._reach()
        return sorted(
            (
                i
                for i in self._invitations.values()
                if i.expires_at > self._clock() and room in {None, i.room}
            ),
            key=lambda i: (i.room, i.identity),
        )

    async def forget_ended(self, before: float) -> int:
        await self._reach()
        old = [w.id for w in self._wants.values() if w.state.ended and w.since < before]
        for want_id in old:
            del self._wants[want_id]
        for key, invitation in list(self._invitations.items()):
            if invitation.expires_at < self._clock():
                del self._invitations[key]
        return len(old)

    def _living(self, room: str, agent: str) -> Want | None:
        for want in self._wants.values():
            if (want.room, want.agent) == (room, agent) and not want.state.ended:
                return want
        return None

    async def _reach(self) -> None:
        """Others run while a step is on its way, as with the real one."""
        await anyio.sleep(self._rng.uniform(0.0, 2 * self.latency))
        if self.away or self.fails():
            raise StoreUnavailable("the store is away")
