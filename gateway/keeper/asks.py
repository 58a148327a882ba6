"""Asking for an agent: the one door through which a want comes into being."""

from __future__ import annotations

import secrets
from collections.abc import Callable

import structlog

from gateway.keeper.admission import Admission
from gateway.keeper.model import Ask, Source, Want
from gateway.keeper.ports import Clock, Store
from gateway.keeper.traces import about
from gateway.keeper.wants import Wants
from gateway.metrics import Metrics

log = structlog.get_logger(__name__)


def new_job_id() -> str:
    """An id that nobody guesses: whoever knows a job's id may read its state."""
    return f"job_{secrets.token_hex(12)}"


class Asks:
    def __init__(
        self,
        store: Store,
        wants: Wants,
        admission: Admission,
        wake: Callable[[str], None],
        metrics: Metrics,
        clock: Clock,
        *,
        leads: Callable[[], bool],
        trace: Callable[[], str],
    ) -> None:
        """`trace()`: the traceparent of a want that no traced request began, as `Want` has it."""
        self._leads = leads
        self._trace = trace
        self._store = store
        self._wants = wants
        self._admission = admission
        self._wake = wake
        self._metrics = metrics
        self._clock = clock

    async def ask(self, ask: Ask, *, epoch: int | None = None) -> tuple[Want, bool]:
        """Durably want an agent; returns the want, and whether it lived already. `epoch`: when nobody asked,
        but something was seen that calls for an agent.

        Raises StoreUnavailable: nothing was promised.
        """
        now = self._clock()
        fresh = Want(
            id=new_job_id(),
            room=ask.room,
            agent=ask.agent,
            source=ask.source,
            metadata=ask.metadata,
            traceparent=ask.traceparent or self._trace(),
            sid=ask.sid,
            seen_at=now if ask.sid else 0.0,
            created_at=now,
            asked_at=ask.at or now,
            since=now,
            lacking_since=now,
            needs_person=ask.source in {Source.POLICY, Source.INVITATION},
        )
        want, deduplicated = await self._store.ask(ask, fresh=fresh, epoch=epoch)
        self._metrics.time_to_agent.labels("asked").observe(self._clock() - now)
        self._wants.note(want)
        self._metrics.asks.labels(ask.source.value, str(deduplicated).lower()).inc()
        if not deduplicated:
            if not want.needs_person and self._leads():
                self._admission.queue(want)  # now, not at its first pass: passes overtake each other
            log.info("agent_wanted", **about(want), source=want.source.value)
        if epoch is None:
            self._wake(want.room)  # else whoever saw it is just looking at the room
        return want, deduplicated
