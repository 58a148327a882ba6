"""A case of an alert: series, what goes on in them, and what the alert says; and series that several use.

In promtool's notation: `0+2x30` begins with 0 and adds 2 at each of the following 30 minutes (or other
steps).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

NS = 'namespace="calls"'
AGENT = f'{NS},agent="anna"'
POD = f'{NS},pod="rk-0",instance="10.0.0.1:8080"'
OTHER = f'{NS},pod="rk-1",instance="10.0.0.2:8080"'


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    alert: str
    when: str
    """What goes on; the test's name."""
    series: Mapping[str, str]
    at: str
    """The time at which one looks."""
    says: str = ""
    """Its summary, when it fires; else it must not."""
    labels: Mapping[str, str] = field(default_factory=lambda: {"namespace": "calls"})
    """Beside `severity`."""
    step: str = "1m"
    """Between the values of the series, and between two computations of the rules."""


ON_AGENT = {"namespace": "calls", "agent": "anna"}
ON_POD = {"namespace": "calls", "pod": "rk-0", "instance": "10.0.0.1:8080"}
JOINED = f'roomkeeper_time_to_agent_seconds_count{{{POD},stage="joined"}}'
IN_TIME = f'roomkeeper_time_to_agent_seconds_bucket{{{POD},stage="joined",le="2.5"}}'
GAVE_UP = f"roomkeeper_gave_up_total{{{POD}}}"


def dispatches(outcome: str) -> str:
    return f'roomkeeper_dispatches_total{{{POD},outcome="{outcome}"}}'


def livekit(outcome: str, method: str = "ListRooms", who: str = POD) -> str:
    return f'roomkeeper_livekit_call_seconds_count{{{who},method="{method}",outcome="{outcome}"}}'
