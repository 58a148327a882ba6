"""What operators see: rooms with their wants, claims and people, and whether the keeper is well.

Changes nothing.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass

from gateway.keeper.fleet import Fleet
from gateway.keeper.heart import Heart
from gateway.keeper.lead import Lead
from gateway.keeper.model import Claim, Job, Participant, Replica, Seen, Want
from gateway.keeper.ports import Clock, Store


@dataclass(frozen=True, slots=True, kw_only=True)
class RoomReport:
    """One room as an operator sees it."""

    room: str
    sid: str
    wants: list[Job]
    claims: list[Claim]
    participants: list[Participant]
    """As last seen; empty when the room was not looked at yet."""
    seen_at: float
    """When it was last looked at; 0 for never."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Health:
    """One readiness check."""

    name: str
    ok: bool
    why: str = ""


class Reports:
    """Every method raises StoreUnavailable, but `health`."""

    def __init__(
        self,
        store: Store,
        fleet: Fleet,
        heart: Heart,
        lead: Lead,
        clock: Clock,
        *,
        seen: Mapping[str, Seen],
        job_of: Callable[[Want], Awaitable[Job]],
        resync_interval: float,
    ) -> None:
        """`seen`: the last look at each room. `resync_interval`: seconds between comparisons."""
        self._store = store
        self._fleet = fleet
        self._heart = heart
        self._lead = lead
        self._clock = clock
        self._seen = seen
        self._job_of = job_of
        self._resync_interval = resync_interval
        self._started_at = clock()

    async def rooms(self) -> list[RoomReport]:
        wants: dict[str, dict[str, Want]] = {}
        for want in await self._store.recent():  # those that live, and then those that ended last
            wants.setdefault(want.room, {}).setdefault(want.agent, want)
        claims: dict[str, list[Claim]] = {}
        for claim in await self._store.all_claims():
            claims.setdefault(claim.room, []).append(claim)
        return [
            await self._report(room, list(of_room.values()), claims.get(room, []))
            for room, of_room in wants.items()
        ]

    async def room(self, room: str) -> RoomReport | None:
        wants = await self._store.wants(room)
        claims = await self._store.claims(room)
        if not wants and not claims:
            return None
        return await self._report(room, wants, claims)

    async def _report(self, room: str, wants: list[Want], claims: list[Claim]) -> RoomReport:
        seen = self._seen.get(room)
        instance = seen.room if seen is not None else None
        return RoomReport(
            room=room,
            sid=instance.sid if instance is not None else "",
            wants=[await self._job_of(want) for want in wants],
            claims=claims,
            participants=list(seen.participants) if seen is not None else [],
            seen_at=seen.at if seen is not None else 0.0,
        )

    @property
    def me(self) -> str:
        """This replica's id."""
        return self._fleet.id

    @property
    def leading(self) -> bool:
        """Whether this replica looks at the rooms; another one knows nobody's place in line."""
        return self._leads()

    def replicas(self) -> list[Replica]:
        """Those that live, this one first."""
        return self._fleet.replicas()

    def health(self) -> list[Health]:
        """The keeper's own checks: store, and whether somebody keeps the rooms."""
        store = self._store_fault()
        keeper = self._keeper_fault()
        return [
            Health(name="store", ok=not store, why=store),
            Health(name="keeper", ok=not keeper, why=keeper),
        ]

    def _store_fault(self) -> str:
        if self._heart.fault:
            return self._heart.fault
        if not self._fleet.settled:
            return "the store is new, or has lost what it had: replicas put back what they know"
        return self._lead.store_fault if self._leads() else ""

    def _leads(self) -> bool:
        return self._fleet.epoch is not None

    def _keeper_fault(self) -> str:
        if not self._leads():
            return "" if self._heart.leader else "no replica leads (yet)"
        late = self._clock() - (self._lead.compared_at or self._started_at)
        if self._lead.compared_at and late < 3 * self._resync_interval + 10:
            return ""
        return f"no comparison with LiveKit for {late:.0f} s"
