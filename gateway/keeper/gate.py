"""The gate: whether an offered job may be its room's agent. The wall behind I1.

Whatever LiveKit, a retry or another replica duplicates: the store grants one claim for a room and an agent
name, and only a job with a claim is accepted.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import structlog

from gateway.keeper.admission import Admission
from gateway.keeper.asks import Asks
from gateway.keeper.fleet import Fleet
from gateway.keeper.jobs import Jobs
from gateway.keeper.model import Ask, Claim, Source, Stage, State, Unknown, Want
from gateway.keeper.ports import Clock, LiveKit, Store, StoreUnavailable
from gateway.keeper.traces import ATTRIBUTE, carried, parse, traced
from gateway.metrics import Metrics
from pool.ports import Offer, Verdict

log = structlog.get_logger(__name__)

WANT = "roomkeeper.want"
GENERATION = "roomkeeper.generation"
SID = "roomkeeper.sid"
SENT = "roomkeeper.sent"
"""When the dispatch was made, on the store's clock."""
PREDECESSOR = "roomkeeper.predecessor"
"""The identity of the agent that hands the room over: its successor knows it by that."""
OFFER_LIFE = 6.0
"""Seconds after a dispatch in which a worker may be asked: LiveKit waits 3 s for an answer (fact 4), and asks
another worker after that. A worker that stood still finds older questions when it goes on."""
LIVEKIT_WAITS = 2.5
"""Seconds after a dispatch in which the answer of a worker that stood still until now may still count. What
it grants later is nobody's job, and keeps the others from the room until the claim is given up."""
LOOK_LIFE = 0.1
"""Seconds for which a look at a room lets a job connect that LiveKit did not offer."""
CONFIRM_LIFE = 1.0
"""Seconds for which what was read of a claim lets its job connect."""


def attributes(want: Want, predecessor: str = "") -> dict[str, str]:
    """What a call carries, by either lane, so that the gate knows it again (fact 47), and the agent whom it
    takes the room over from."""
    return {
        WANT: want.id,
        GENERATION: str(want.generation),
        SID: want.sid,
        SENT: f"{want.dispatched_at:.3f}",
        **({PREDECESSOR: predecessor} if predecessor else {}),
        **carried(want),
    }


class ClaimGate:
    """Implements `pool.ports.Gate` over the store."""

    def __init__(
        self,
        store: Store,
        livekit: LiveKit,
        fleet: Fleet,
        asks: Asks,
        jobs: Jobs,
        admission: Admission,
        wake_soon: Callable[[str], None],
        metrics: Metrics,
        clock: Clock,
    ) -> None:
        self._store = store
        self._livekit = livekit
        self._fleet = fleet
        self._asks = asks
        self._jobs = jobs
        self._admission = admission
        self._wake_soon = wake_soon
        self._metrics = metrics
        self._clock = clock
        self._direct: dict[str, float] = {}
        """Jobs that LiveKit did not offer, until they connect: when their room was last looked at. LiveKit
        itself has told only just now which instance it means."""

    async def claim(self, offer: Offer) -> Verdict:
        try:
            word, verdict = await self._judge(offer)
        except StoreUnavailable as fault:
            log.warning("claim_unknown", room=offer.room, livekit_job=offer.job_id, why=str(fault))
            word, verdict = "unknown", Verdict.UNKNOWN
        self._metrics.offers.labels(word).inc()
        if verdict is Verdict.GRANTED:
            if not offer.dispatch_id:
                self._direct = {job: at for job, at in self._direct.items() if job in self._jobs.held}
                self._direct[offer.job_id] = offer.looked_at
            self._metrics.dispatches.labels("claimed").inc()
        elif word == "duplicate":
            self._metrics.duplicates_refused.inc()
        log.info(
            "job_offered",
            room=offer.room,
            sid=offer.sid,
            livekit_job=offer.job_id,
            verdict=word,
            **traced(parse(offer.attributes.get(ATTRIBUTE, ""))),
        )
        return verdict

    async def identify(self, job_id: str, identity: str) -> bool:
        try:
            while (claim := await self._store.claim_of(job_id)) is not None:
                if claim.stage is not Stage.ACCEPTED:
                    return False
                named = replace(claim, identity=identity)
                if named == claim or await self._store.advance(named, was=claim):
                    self._jobs.rewrite(named)
                    return True
        except StoreUnavailable:
            pass
        return False

    async def confirm(self, job_id: str) -> bool:
        began = self._clock()
        looked_at = self._direct.pop(job_id, math.inf)
        claim = await self._still_holds(job_id)
        stood_still = self._clock() > began + CONFIRM_LIFE or self._jobs.just_paused(self._clock())
        if stood_still:  # what was read is old, and the room may have ended meanwhile
            claim = await self._still_holds(job_id)
        if claim is None:
            return False
        if stood_still or self._clock() > looked_at + LOOK_LIFE:
            return await self._room_is_there(claim)
        return True

    async def _still_holds(self, job_id: str) -> Claim | None:
        try:
            claim = await self._store.claim_of(job_id)
            if claim is None or claim.stage is Stage.LEAVING or claim.replica != self._fleet.id:
                return None
            want = await self._store.want(claim.want_id)
        except StoreUnavailable:
            return None
        holds = want is not None and not want.state.ended and want.generation == claim.generation
        return claim if holds else None

    async def _room_is_there(self, claim: Claim) -> bool:
        """I4: whoever connects to a room that has ended makes another one of its name (fact 8)."""
        rooms = await self._livekit.rooms([claim.room])
        return not isinstance(rooms, Unknown) and any(room.sid == claim.sid for room in rooms)

    async def _judge(self, offer: Offer) -> tuple[str, Verdict]:
        if WANT in offer.attributes:
            want = await self._store.want(offer.attributes[WANT])
            word = "granted"
            if want is not None and offer.attributes.get(SID) != offer.sid:
                return "stale", Verdict.REFUSED  # I4: the room came back as another one
            if want is not None and offer.attributes.get(GENERATION) != str(want.generation):
                return "stale", Verdict.REFUSED
            life = LIVEKIT_WAITS if self._jobs.just_paused(self._clock()) else OFFER_LIFE
            if want is not None and self._clock() > _sent_at(offer) + life:
                return "late", Verdict.REFUSED
        else:
            want = await self._adopt(offer)
            word = "adopted"
        if want is None or want.state.ended or want.agent != offer.agent or want.room != offer.room:
            return "no_want", Verdict.REFUSED
        if word == "adopted" and want.state is State.JOINED:
            return "duplicate", Verdict.REFUSED  # the store lost its agent's claim, which is not back yet
        if want.settled_job and not want.dispatched_at:
            # An agent of it has ended since this was sent: what is left of that one has to be put out first.
            return "stale", Verdict.REFUSED
        holder = await self._store.claim(self._new_claim(offer, want))
        if holder is None:
            return "stale", Verdict.REFUSED
        if holder.job_id != offer.job_id:
            return "duplicate", Verdict.REFUSED
        if holder.replica != self._fleet.id:
            # LiveKit asked another worker before, whose grant was lost on its way: the job is ours now.
            taken = self._new_claim(offer, want)
            if holder.stage is not Stage.ACCEPTED or not await self._store.advance(taken, was=holder):
                return "duplicate", Verdict.REFUSED
            holder = taken
        self._jobs.hold(holder, want)
        self._admission.confirmed(want)
        if want.lacking_since:
            self._metrics.time_to_agent.labels("claimed").observe(self._clock() - want.lacking_since)
        self._wake_soon(offer.room)
        return word, Verdict.GRANTED

    async def _adopt(self, offer: Offer) -> Want | None:
        """A dispatch made behind our back is an ask like any other: its agent is kept, and there is one."""
        if any(c.agent == offer.agent for c in await self._store.claims(offer.room)):
            living = [w for w in await self._store.wants(offer.room) if w.agent == offer.agent]
            return next((w for w in living if not w.state.ended), None)  # refused as a duplicate
        ask = Ask(
            room=offer.room,
            agent=offer.agent,
            source=Source.DISPATCH,
            metadata=offer.metadata,
            sid=offer.sid,
        )
        want, _ = await self._asks.ask(ask)
        return want

    def _new_claim(self, offer: Offer, want: Want) -> Claim:
        return Claim(
            room=offer.room,
            agent=offer.agent,
            want_id=want.id,
            generation=want.generation,
            sid=offer.sid,
            job_id=offer.job_id,
            identity=f"agent-{offer.job_id}",
            replica=self._fleet.id,
            host=self._fleet.host,
            since=self._clock(),
        )


def _sent_at(offer: Offer) -> float:
    """When the offered job's dispatch was made; of one that does not say so, just now."""
    try:
        return float(offer.attributes[SENT])
    except (KeyError, ValueError):
        return math.inf
