"""The dashboard's second row: where agents get lost on their way."""

from __future__ import annotations

from gateway.observe.panels import HERE, RATE, SECONDS, Ask, Panel, lines, rates
from gateway.observe.queries import percentile


def why_not() -> list[Panel]:
    calls = f"roomkeeper_livekit_call_seconds{{{HERE}}}"
    return [
        rates("Dispatches", "Calls for agents, and what came of them.", "dispatches_total", "outcome"),
        rates("Offers", "Jobs offered to our workers, by what the gate said.", "offers_total", "verdict"),
        rates("Asks", "Who asks for agents.", "asks_total", "source"),
        rates("Replaced", "Agents that ended and are replaced, by how.", "agents_replaced_total", "reason"),
        rates("Jobs ended", "By how they ended.", "jobs_ended_total", "reason"),
        rates("Given up", "Rooms that got no agent in time.", "gave_up_total"),
        rates(
            "LiveKit's answers",
            "To calls of its API, by outcome.",
            "livekit_call_seconds_count",
            "outcome",
        ),
        lines(
            "LiveKit's time, p95",
            "By method.",
            Ask(percentile(calls, 0.95, RATE, "method"), "{{method}}"),
            unit=SECONDS,
        ),
        rates("Looks at rooms", "By result.", "passes_total", "result"),
        rates("Put out of rooms", "Agents, by kind.", "participants_removed_total", "kind"),
        rates("Duplicates refused", "At the gate.", "duplicates_refused_total"),
        rates("Jobs cut", "After their replica was stopped or cut off.", "jobs_cut_total", "why"),
    ]
