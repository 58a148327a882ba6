"""The dashboard's third row: the processes, and what goes in and out of them."""

from __future__ import annotations

from gateway.observe.panels import (
    BYTES,
    HERE,
    PER_SECOND,
    RATE,
    SECONDS,
    SHARE,
    Ask,
    Panel,
    lines,
    rate,
    rates,
    total,
)
from gateway.observe.queries import PROCESS, percentile


def process() -> list[Panel]:
    http = f"roomkeeper_http_request_seconds{{{HERE}}}"
    start = f"roomkeeper_job_start_seconds{{{HERE}}}"
    left = f"roomkeeper_drain_deadline_seconds{{{HERE}}}"
    errors = f'roomkeeper_http_request_seconds_count{{status=~"5..",{HERE}}}'
    return [
        lines(
            "Memory",
            "PSS of the gateways, the fork servers, the warm processes and the jobs.",
            total("process_memory_bytes", by="kind"),
            unit=BYTES,
            stacked=True,
        ),
        lines(
            "Processes",
            "By kind, and those of them that are ready for a job.",
            total("processes", by="kind"),
            total("warm_processes", "ready"),
        ),
        lines(
            "Processes in trouble",
            "Job processes that died, stood still or took too much memory; distrusted workers.",
            rate("job_processes_died_total", "died: {{when}}", by="when"),
            rate("unresponsive_jobs_total", "stood still"),
            rate("memory_limit_exceeded_total", "too much memory"),
            total("distrusted", "workers distrusted"),
        ),
        lines(
            "Job start",
            "From the assignment to the agent's entrypoint.",
            Ask(percentile(start, 0.5, RATE, ""), "p50"),
            Ask(percentile(start, 0.95, RATE, ""), "p95"),
            unit=SECONDS,
        ),
        lines(
            "Drains",
            "Processes that drain, and when the first of them cuts what is left.",
            total("draining", "draining"),
            Ask(f"min({left} > 0) - time()", "seconds left"),
        ),
        lines(
            "Who leads",
            "One process, mostly the same.",
            Ask(f"max by ({PROCESS}) (roomkeeper_leading{{{HERE}}})", "{{instance}}"),
        ),
        lines(
            "The leader's queue",
            "Rooms in it for a look, due or not yet.",
            Ask(f"max(roomkeeper_queue_depth{{{HERE}}})", "rooms"),
        ),
        lines(
            "Comparison with LiveKit",
            "How long it takes.",
            Ask(percentile(f"roomkeeper_resync_seconds{{{HERE}}}", 0.95, RATE, ""), "p95"),
            unit=SECONDS,
        ),
        rates("Heartbeats to the store", "By result.", "heartbeats_total", "result"),
        lines(
            "HTTP, p95",
            "By route.",
            Ask(percentile(http, 0.95, RATE, "route"), "{{route}}"),
            unit=SECONDS,
        ),
        lines(
            "HTTP, answers that are our fault",
            "Share of 5xx, by route.",
            Ask(
                f"sum by (route) (rate({errors}[{RATE}])) / on (route)"
                f" sum by (route) (rate(roomkeeper_http_request_seconds_count{{{HERE}}}[{RATE}]))",
                "{{route}}",
            ),
            unit=SHARE,
        ),
        rates("Webhooks", "By verdict.", "webhooks_total", "verdict"),
        rates("Replicas missed", "By the others.", "replicas_lapsed_total"),
        rates(
            "Refused for their rate", "Requests, by what was counted.", "refused_for_rate_total", "counted_by"
        ),
        lines(
            "What we tell others",
            "Callbacks to your server, and requests forwarded to other workers, by outcome.",
            rate("callbacks_total", "callback: {{outcome}}", by="outcome"),
            rate("forwards_total", "forward: {{outcome}}", by="outcome"),
            unit=PER_SECOND,
        ),
    ]
