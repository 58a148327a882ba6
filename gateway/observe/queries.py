"""What both the alerts and the dashboard ask Prometheus, once.

Everything is told by namespace: there one installation is taken to live, its gateways and its workers. Where
Prometheus has no such label, all that it scrapes is one installation.
"""

from __future__ import annotations

PROCESS = "namespace, pod, instance"
"""The labels of one process; outside Kubernetes `instance` says it alone."""

LIVEKIT_SILENT = "unavailable|timeout|unreachable|malformed"
LIVEKIT_REFUSES = "refused|skewed"
WEBHOOK_TAKEN = "queued|unwanted|no_room|repeated"
WEBHOOK_REFUSED = (
    "unsigned|bad_token|bad_algorithm|unknown_key|bad_signature|bad_hash|expired|not_yet_valid|malformed"
    "|too_large"
)


def counted(selector: str, window: str, by: str = "namespace") -> str:
    """How often a counter counted within the window."""
    return f"sum by ({by}) (increase({selector}[{window}]))"


def share(part: str, whole: str, window: str, by: str = "namespace") -> str:
    """Which part of what a counter counts is of one kind, 0 to 1; nothing where it counted nothing."""
    return f"sum by ({by}) (rate({part}[{window}]))\n  / sum by ({by}) (rate({whole}[{window}]))"


def percentile(histogram: str, quantile: float, window: str, by: str) -> str:
    """Of a histogram, named without `_bucket`; `by` has the labels beside `le`."""
    labels = f"le, {by}" if by else "le"
    name, brace, matchers = histogram.partition("{")
    rates = f"sum by ({labels}) (rate({name}_bucket{brace}{matchers}[{window}]))"
    return f"histogram_quantile({quantile:g}, {rates})"


def workers_wanted(matchers: str = "") -> str:
    """Of all agents together. The leader tells it; when the lead changes, two do for a moment."""
    return f"sum by (namespace) (max by (namespace, agent) (roomkeeper_wanted_workers{matchers}))"


def workers_present(matchers: str = "") -> str:
    """Processes with slots that neither drain nor are distrusted; 0 where only gateways are."""
    return (
        f"(count by (namespace) (\n"
        f"  sum by ({PROCESS}) (roomkeeper_slots{matchers}) > 0\n"
        f"  unless max by ({PROCESS}) (roomkeeper_draining{matchers}) == 1\n"
        f"  unless max by ({PROCESS}) (roomkeeper_distrusted{matchers}) == 1\n"
        f") or 0 * sum by (namespace) (roomkeeper_leading{matchers}))"
    )
