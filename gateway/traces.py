"""What becomes a span: a request, a want for as long as it lacks its agent, a call for an agent, its way into
the room. Told when it is over, by the times that keeper and pool tell anyway; knows no OpenTelemetry.

The ids of a want's spans follow from the want: whoever leads when one is over tells it. What was under way in
a replica that was killed is missing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from gateway.keeper import traces
from gateway.keeper.gate import SENT, WANT
from gateway.keeper.model import State, Want
from gateway.keeper.ports import Clock
from pool.ports import Capacity as PoolCapacity
from pool.ports import Gate, JobEvent, JobEventKind, Listener, Offer, Verdict

WANTED, AGAIN, DISPATCH, JOIN = "want", "want again", "dispatch", "join"
Value = str | int | bool

_ON_THE_WAY = frozenset({JobEventKind.LAUNCHED, JobEventKind.ENTERED, JobEventKind.CONNECTED})
_NO_NEWS = frozenset({JobEventKind.RECONNECTING, JobEventKind.SESSION_CLOSED})


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """Times are seconds since the epoch, on the store's clock; ids are hexadecimal."""

    name: str
    trace_id: str
    span_id: str
    parent_id: str
    """"" for none."""
    began: float
    ended: float
    served: bool = False
    """It answers somebody outside: a request."""
    attributes: Mapping[str, Value] = field(default_factory=dict)
    events: tuple[tuple[str, float], ...] = ()
    fault: str = ""
    """What went wrong, in words."""


@dataclass(slots=True)
class _Joining:
    """A job of this replica on its way."""

    offer: Offer
    within: str
    """The traceparent that it carries."""
    began: float
    events: list[tuple[str, float]] = field(default_factory=list)


class Traces:
    """Hears of what is going on, and sends spans. `send` must neither block nor raise."""

    def __init__(
        self,
        send: Callable[[Span], None],
        clock: Clock,
        *,
        samples: Callable[[str], bool] = lambda trace_id: True,
    ) -> None:
        """`samples(trace_id)`: whether spans of a trace that begins here are wanted."""
        self._send = send
        self._samples = samples
        self.clock = clock

    def begin(self) -> str:
        """The traceparent of a want that no request began."""
        trace_id = traces.new_trace_id()
        return traces.traceparent(trace_id, sampled=self._samples(trace_id))

    def request(self, given: str) -> str:
        """The traceparent of a request's span, given the caller's, if it is a good one."""
        parent = traces.parse(given) or self.begin()
        wanted = traces.sampled(parent)
        return traces.traceparent(traces.trace_id(parent), traces.new_span_id(), sampled=wanted)

    def answered(
        self, context: str, given: str, name: str, began: float, attributes: Mapping[str, Value], fault: str
    ) -> None:
        """A request whose span is `context` got its answer."""
        parent = traces.parse(given)
        self._tell(
            context,
            name=name,
            span_id=traces.parent_id(context),
            parent_id=traces.parent_id(parent) if parent else "",
            began=began,
            served=True,
            attributes=attributes,
            fault=fault,
        )

    def changed(self, want: Want, was: Want) -> None:
        """A want was changed by this replica."""
        if not traces.sampled(want.traceparent):
            return
        if want.lost > was.lost and was.dispatched_at:
            self._tell(
                _within(was),
                name=DISPATCH,
                began=was.dispatched_at,
                attributes=_about(want),
                fault="nobody took the job",
            )
        over = want.lacking_since != was.lacking_since or want.state.ended
        if was.lacking_since and not was.state.ended and over:
            self._tell(
                want.traceparent,
                name=WANTED if was.lacking_since == want.created_at else AGAIN,
                span_id=traces.span_id(was),
                began=was.lacking_since,
                attributes=_about(want)
                | {"roomkeeper.state": want.state.value, "roomkeeper.reason": want.reason},
                fault=want.reason if want.state is State.GAVE_UP else "",
            )

    def took(self, offer: Offer, within: str) -> None:
        """A job was taken, some time after it was called for."""
        try:
            sent = float(offer.attributes[SENT])
        except (KeyError, ValueError):
            return
        attributes = _about_job(offer) | {"roomkeeper.lane": "dispatch" if offer.dispatch_id else "direct"}
        self._tell(within, name=DISPATCH, began=sent, attributes=attributes)

    def joined(self, job: _Joining, fault: str = "") -> None:
        """A job that was taken is open; or it is not going to be, for that reason."""
        self._tell(
            job.within,
            name=JOIN,
            began=job.began,
            attributes=_about_job(job.offer),
            events=tuple(job.events),
            fault=fault,
        )

    def _tell(
        self,
        within: str,
        *,
        name: str,
        began: float,
        attributes: Mapping[str, Value],
        span_id: str = "",
        parent_id: str | None = None,
        served: bool = False,
        events: tuple[tuple[str, float], ...] = (),
        fault: str = "",
    ) -> None:
        """It has just ended. By default it is a child of the span that `within` names."""
        if not traces.sampled(within):
            return
        self._send(
            Span(
                name=name,
                trace_id=traces.trace_id(within),
                span_id=span_id or traces.new_span_id(),
                parent_id=traces.parent_id(within) if parent_id is None else parent_id,
                began=began,
                ended=max(began, self.clock()),
                served=served,
                attributes=attributes,
                events=events,
                fault=fault,
            )
        )


class TracedJobs:
    """Stands between the pool and the keeper, as gate and listener, and sees each job on its way."""

    def __init__(self, gate: Gate, listener: Listener, told: Traces) -> None:
        self._gate = gate
        self._listener = listener
        self._traces = told
        self._joining: dict[str, _Joining] = {}

    async def claim(self, offer: Offer) -> Verdict:
        verdict = await self._gate.claim(offer)
        within = traces.parse(offer.attributes.get(traces.ATTRIBUTE, ""))
        if verdict is Verdict.GRANTED and within:
            self._traces.took(offer, within)
            self._joining[offer.job_id] = _Joining(offer, within, self._traces.clock())
        return verdict

    async def identify(self, job_id: str, identity: str) -> bool:
        return await self._gate.identify(job_id, identity)

    async def confirm(self, job_id: str) -> bool:
        return await self._gate.confirm(job_id)

    def on_job(self, event: JobEvent) -> None:
        self._listener.on_job(event)
        job = self._joining.get(event.job_id)
        if job is None or event.kind in _NO_NEWS:
            return
        if event.kind in _ON_THE_WAY:
            job.events.append((event.kind.value, self._traces.clock() - event.age))
            return
        del self._joining[event.job_id]
        is_open = event.kind is JobEventKind.OPEN
        self._traces.joined(job, "" if is_open else f"{event.kind.value} {event.detail}".rstrip())

    def on_capacity(self, capacity: PoolCapacity) -> None:
        self._listener.on_capacity(capacity)


def _within(want: Want) -> str:
    return traces.carried(want)[traces.ATTRIBUTE]


def _about(want: Want) -> dict[str, Value]:
    return {"roomkeeper.job": want.id, "roomkeeper.room": want.room, "roomkeeper.agent": want.agent}


def _about_job(offer: Offer) -> dict[str, Value]:
    return {
        "roomkeeper.job": offer.attributes.get(WANT, ""),
        "roomkeeper.room": offer.room,
        "roomkeeper.agent": offer.agent,
        "livekit.job": offer.job_id,
    }
