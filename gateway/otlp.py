"""Sends spans to an OpenTelemetry collector, over OTLP/HTTP. Imported only where there is one: the SDK takes
its time.

A thread of the SDK sends them in batches, and tries again by itself. What waits there is bounded: nobody here
waits for it, and while the collector is away the oldest spans are lost. The SDK heeds its own variables:
`OTEL_EXPORTER_OTLP_HEADERS`, `OTEL_SERVICE_NAME`, `OTEL_TRACES_SAMPLER`, `OTEL_BSP_...`.
"""

from __future__ import annotations

import threading

from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import SERVICE_NAME, Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter
from opentelemetry.sdk.trace.id_generator import IdGenerator
from opentelemetry.sdk.trace.sampling import Decision
from opentelemetry.trace import (
    NonRecordingSpan,
    SpanContext,
    SpanKind,
    Status,
    StatusCode,
    TraceFlags,
    set_span_in_context,
)

from gateway.errors import StartupError
from gateway.traces import Span

LAST_WORDS = 2.0
"""Seconds at the end of the process for what has not been sent yet."""


class _Given(IdGenerator):
    """The ids of the span that is being made: they are known before it is."""

    trace_id = 0
    span_id = 0

    def generate_trace_id(self) -> int:
        return self.trace_id

    def generate_span_id(self) -> int:
        return self.span_id


class Otlp:
    """In one thread; `close` at the end."""

    def __init__(self, exporter: SpanExporter) -> None:
        self._ids = _Given()
        # Not at exit: that would wait for a collector that is away.
        self._provider = TracerProvider(resource=_resource(), id_generator=self._ids, shutdown_on_exit=False)
        self._provider.add_span_processor(BatchSpanProcessor(exporter))
        self._tracer = self._provider.get_tracer("roomkeeper")

    def samples(self, trace_id: str) -> bool:
        """What `OTEL_TRACES_SAMPLER` says of a trace that begins here; all, by default."""
        result = self._provider.sampler.should_sample(Context(), int(trace_id, 16), "")
        return result.decision is Decision.RECORD_AND_SAMPLE

    def send(self, span: Span) -> None:
        """Never blocks."""
        self._ids.trace_id, self._ids.span_id = int(span.trace_id, 16), int(span.span_id, 16)
        made = self._tracer.start_span(
            span.name,
            context=_parent(span),
            kind=SpanKind.SERVER if span.served else SpanKind.INTERNAL,
            attributes=span.attributes,
            start_time=_nanoseconds(span.began),
        )
        for name, at in span.events:
            made.add_event(name, timestamp=_nanoseconds(at))
        if span.fault:
            made.set_status(Status(StatusCode.ERROR, span.fault))
        made.end(_nanoseconds(span.ended))

    def close(self) -> None:
        """Send what is left, for a moment. Blocks meanwhile."""
        closing = threading.Thread(target=self._provider.shutdown, name="otlp_close", daemon=True)
        closing.start()
        closing.join(LAST_WORDS)


def otlp(endpoint: str) -> Otlp:
    """`endpoint`: the URL to post spans to. Raises StartupError when the SDK cannot use its variables."""
    try:
        return Otlp(OTLPSpanExporter(endpoint=endpoint))
    except ValueError as fault:
        raise StartupError(f"OTEL_...: OpenTelemetry cannot use its variables: {fault}") from None


def _parent(span: Span) -> Context:
    if not span.parent_id:
        return Context()
    flags = TraceFlags(TraceFlags.SAMPLED)
    parent = SpanContext(int(span.trace_id, 16), int(span.parent_id, 16), is_remote=True, trace_flags=flags)
    return set_span_in_context(NonRecordingSpan(parent), Context())


def _resource() -> Resource:
    found = Resource.create()  # OTEL_SERVICE_NAME, OTEL_RESOURCE_ATTRIBUTES
    if str(found.attributes.get(SERVICE_NAME, "")).startswith("unknown_service"):
        return found.merge(Resource({SERVICE_NAME: "roomkeeper"}))
    return found


def _nanoseconds(seconds: float) -> int:
    return int(seconds * 1e9)
