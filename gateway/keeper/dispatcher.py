"""Calls an agent for a want: when its turn has come, into the room instance that is meant, by one of two
lanes.

The *dispatch lane* asks LiveKit to ask a worker. The *direct lane* has this replica's own pool launch the job
(fact 67). Either way the job needs its claim from the gate.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace

import structlog

from gateway.keeper import gate
from gateway.keeper.admission import Admission
from gateway.keeper.fleet import Fleet
from gateway.keeper.look import Look, could_not_tell
from gateway.keeper.memory import Memory
from gateway.keeper.model import Room, Seen, State, Unknown, Want
from gateway.keeper.ports import Clock, LiveKit, Store
from gateway.keeper.situation import change
from gateway.keeper.traces import about
from gateway.keeper.wants import Wants, failed
from gateway.metrics import Metrics
from gateway.settings import KeeperSettings
from pool.ports import Launch, Workers

log = structlog.get_logger(__name__)

LOST_BACKOFF = 1.0
"""Longest back-off, in seconds, after dispatches for a name of ours that nobody claimed."""
MOST_AT_ONCE = 4
"""Dispatches for one room and a name of ours, when some were lost before, or a replica lapsed: LiveKit asks
one worker for each, and never notices one that is frozen (fact 74). The gate lets one in."""
MOST_FAILURES = 2
"""So many failures in a row, and the agent is not launched here any more: LiveKit may find another worker."""
FRESH = 1.0
"""Seconds for which a look tells who is in the room: when the store was slow since then, another one has to
tell that it is still empty before somebody is called."""


class Dispatcher:
    def __init__(
        self,
        *,
        store: Store,
        livekit: LiveKit,
        fleet: Fleet,
        workers: Workers,
        wants: Wants,
        admission: Admission,
        settings: KeeperSettings,
        metrics: Metrics,
        clock: Clock,
        memory: Memory,
        observe: Callable[[str], Awaitable[Seen | Unknown]],
        must_lead: Callable[[int], None],
    ) -> None:
        """`observe(room)` looks at a room; `must_lead(epoch)` raises LeaseLost when another one leads."""
        self._store = store
        self._livekit = livekit
        self._fleet = fleet
        self._workers = workers
        self._wants = wants
        self._admission = admission
        self._settings = settings
        self._metrics = metrics
        self._clock = clock
        self._memory = memory
        self._observe = observe
        self._must_lead = must_lead

    async def dispatch(
        self, want: Want, seen: Seen, retiring: frozenset[str], due: float | None, epoch: int
    ) -> Look:
        """Call an agent, or put the want in line: then it is looked at again at `due` at the latest.
        `retiring`: the agents from which it takes the room over.

        Raises StoreUnavailable, LeaseLost.
        """
        if self._wants.ended(want.id):  # since it was read: it must not stand in the line for a moment
            return Look()
        if self._clock() > seen.at + FRESH and seen.room is not None:
            again = await self._observe(want.room)
            if isinstance(again, Unknown):
                return could_not_tell(again)
            others = {agent.identity for agent in again.agents(want.agent)} - retiring
            if again.room is None or again.room.sid != want.sid or others:
                return Look(due=self._clock())
            seen = again
        if (why := self._admission.enter(want)) is not None:
            waiting = change(want, State.WAITING, why, self._clock())
            if not await self._wants.write(waiting, was=want, epoch=epoch):
                self._admission.leave(want)  # stopped meanwhile, say: nobody may wait behind it
                return Look(due=self._clock())
            return Look(due=due)
        there = await self._there(want, seen)
        if isinstance(there, Unknown):
            self._admission.leave(want)
            stored = await self._store.want(want.id)
            if stored is not None and not stored.state.ended:
                self._admission.queue(stored)
            return could_not_tell(there)
        return await self._call(want, there, retiring, epoch)

    async def lose(self, want: Want, epoch: int) -> None:
        """Nobody claimed the job in time."""
        self._admission.lost(want)
        self._metrics.dispatches.labels("lost").inc()
        log.warning("dispatch_lost", **about(want))
        now = self._clock()
        after = replace(failed(want, now=now, reason="no worker took the job"), lost=want.lost + 1)
        if self._admission.ours(want.agent):  # it went only because somebody of ours could take it
            after = replace(after, not_before=min(after.not_before, now + LOST_BACKOFF))
        await self._wants.write(after, was=want, epoch=epoch)

    async def _there(self, want: Want, seen: Seen) -> Seen | Unknown:
        """With the room instance, which must be known before anything is called into it (I4)."""
        if seen.room is not None:
            return seen
        began = self._clock()
        room = await self._livekit.create_room(want.room, empty_timeout=self._settings.empty_timeout)
        if isinstance(room, Unknown):
            return room
        made = replace(seen, room=room, at=began)
        self._memory.note(want.room, made)
        return made

    async def _call(self, want: Want, there: Seen, retiring: frozenset[str], epoch: int) -> Look:
        room = there.room
        assert room is not None, "see `_there`"
        ours = self._admission.ours(want.agent)
        now = self._clock()
        # Written before the call: after a kill in between, the gate tells the two calls apart.
        sent = change(want, State.DISPATCHED, "the agent was called", now)
        sent = replace(sent, dispatched_at=now)
        if not want.sid:
            sent = replace(sent, sid=room.sid, node=self._fleet.node(want))
        if not await self._wants.write(sent, was=want, epoch=epoch):
            self._admission.leave(want)
            return Look(due=now)
        if want.lacking_since:
            self._metrics.time_to_agent.labels("dispatched").observe(now - want.lacking_since)
        self._must_lead(epoch)
        attributes = gate.attributes(sent, next(iter(retiring), ""))
        if not self._launched(sent, room, attributes, there.at):
            await self._ask_livekit(sent, attributes, epoch, ours=ours)
        return Look(due=now + (self._settings.claim_timeout if ours else self._settings.foreign_timeout))

    def _launched(self, want: Want, room: Room, attributes: Mapping[str, str], looked_at: float) -> bool:
        """Whether this replica's own pool takes the job; not one that nobody claimed the last time."""
        by_livekit = self._settings.launch != "direct" or want.lost or want.failures >= MOST_FAILURES
        if by_livekit or not self._fleet.takes_next(want.agent):
            return False
        launch = Launch(
            room=room.name,
            sid=room.sid,
            attributes=attributes,
            metadata=want.metadata,
            room_metadata=room.metadata,
            looked_at=looked_at,
        )
        if not self._workers.launch(launch):
            return False
        self._metrics.dispatches.labels("direct").inc()
        log.info("job_called_directly", **about(want))
        return True

    async def _ask_livekit(
        self, want: Want, attributes: Mapping[str, str], epoch: int, *, ours: bool
    ) -> None:
        doubts = want.lost + (1 if self._fleet.lapsed else 0)
        for _ in range(min(MOST_AT_ONCE, 2**doubts) if ours else 1):
            self._must_lead(epoch)
            dispatch = await self._livekit.create_dispatch(
                want.room, want.agent, metadata=want.metadata, attributes=attributes
            )
            outcome = "unknown" if isinstance(dispatch, Unknown) else "created"
            self._metrics.dispatches.labels(outcome).inc()
            log.info("dispatch_created", **about(want), outcome=outcome)
            # An unknown answer may have had its effect (I3): wait for the claim all the same.
