"""Spans as OpenTelemetry's SDK gets them; a collector that is away costs nobody anything."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Sequence

import pytest
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode

from gateway.errors import StartupError
from gateway.otlp import LAST_WORDS, Otlp, otlp
from gateway.traces import Span

SPAN = Span(
    name="join",
    trace_id="ab" * 16,
    span_id="cd" * 8,
    parent_id="ef" * 8,
    began=1.25,
    ended=2.5,
    attributes={"roomkeeper.room": "r"},
    events=(("connected", 1.5),),
    fault="left",
)


class Stuck(SpanExporter):
    """A collector that takes a batch and never answers."""

    def __init__(self) -> None:
        self.released = threading.Event()

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        self.released.wait()
        return SpanExportResult.FAILURE


def test_a_span_arrives_as_it_was() -> None:
    """Its ids, parent, times, events and fault."""
    exporter = InMemorySpanExporter()
    sender = Otlp(exporter)
    sender.send(SPAN)
    sender.close()
    (span,) = exporter.get_finished_spans()
    assert span.context is not None
    assert span.parent is not None
    assert f"{span.context.trace_id:032x}" == SPAN.trace_id
    assert f"{span.context.span_id:016x}" == SPAN.span_id
    assert f"{span.parent.span_id:016x}" == SPAN.parent_id
    assert (span.start_time, span.end_time) == (1_250_000_000, 2_500_000_000)
    assert [(event.name, event.timestamp) for event in span.events] == [("connected", 1_500_000_000)]
    assert dict(span.attributes or {}) == {"roomkeeper.room": "r"}
    assert (span.kind, span.status.status_code) == (SpanKind.INTERNAL, StatusCode.ERROR)
    assert span.resource.attributes["service.name"] == "roomkeeper"


def test_a_span_without_a_parent_begins_its_trace(monkeypatch: pytest.MonkeyPatch) -> None:
    """With the trace id that was told, and under the service's own name."""
    monkeypatch.setenv("OTEL_SERVICE_NAME", "doorman")
    exporter = InMemorySpanExporter()
    sender = Otlp(exporter)
    sender.send(
        Span(name="GET", trace_id="ab" * 16, span_id="cd" * 8, parent_id="", began=1, ended=2, served=True)
    )
    sender.close()
    (span,) = exporter.get_finished_spans()
    assert span.context is not None
    assert (span.parent, f"{span.context.trace_id:032x}") == (None, "ab" * 16)
    assert span.kind is SpanKind.SERVER
    assert span.resource.attributes["service.name"] == "doorman"


def test_the_operator_says_how_many_are_sampled(monkeypatch: pytest.MonkeyPatch) -> None:
    """All, unless OpenTelemetry's own variable says otherwise."""
    assert Otlp(InMemorySpanExporter()).samples("ab" * 16)
    monkeypatch.setenv("OTEL_TRACES_SAMPLER", "always_off")
    assert not Otlp(InMemorySpanExporter()).samples("ab" * 16)


@pytest.mark.parametrize(
    ("variable", "value", "why"),
    [
        ("OTEL_BSP_MAX_QUEUE_SIZE", "10", "max_queue_size"),
        ("OTEL_BSP_SCHEDULE_DELAY", "0", "schedule_delay_millis"),
    ],
)
def test_what_the_sdk_cannot_use_is_told_in_words(
    monkeypatch: pytest.MonkeyPatch, variable: str, value: str, why: str
) -> None:
    """Its own variables are read by itself: what it says to them is no fault of ours."""
    monkeypatch.setenv(variable, value)
    with pytest.raises(StartupError, match=why):
        otlp("http://127.0.0.1:9/v1/traces")


@pytest.mark.parametrize("away", ["stuck", "refused"])
def test_a_collector_that_is_away_costs_nobody_anything(away: str) -> None:
    """Whoever sends does not wait; what is too much is lost; the end comes all the same."""
    stuck = Stuck()
    sender = Otlp(stuck) if away == "stuck" else otlp("http://127.0.0.1:9/v1/traces")
    began = time.monotonic()
    for _ in range(10_000):
        sender.send(SPAN)
    assert time.monotonic() - began < 10
    began = time.monotonic()
    sender.close()
    assert time.monotonic() - began < LAST_WORDS + 1
    stuck.released.set()


def test_without_a_collector_the_sdk_is_not_loaded() -> None:
    """It takes a tenth of a second."""
    loaded = "{'opentelemetry.exporter', 'gateway.otlp'} & set(sys.modules)"
    code = f"import sys, gateway.app; sys.exit(len({loaded}))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
