"""All alerts. Each has its entry in docs/operations.md, and a case in which it fires and one in which it does
not, in tests/unit/observe.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field

from gateway.errors import SettingsError
from gateway.observe.fleet import fleet
from gateway.observe.outside import outside
from gateway.observe.queries import counted
from gateway.observe.rules import Alert, Group, Record
from gateway.observe.slo import Objective, slo


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What differs between sites."""

    missing_after: float = 60.0
    """Seconds for which a room may lack its agent. More where the fleet starts from zero on cold machines."""
    objective: Objective = field(default_factory=Objective)
    job: str = "roomkeeper.*"
    """Prometheus' scrape jobs that are Roomkeeper, a regular expression."""

    def __post_init__(self) -> None:
        try:
            re.compile(self.job)
        except re.error as fault:
            raise SettingsError([f"--job: {self.job} is no regular expression: {fault}"]) from None


def groups(limits: Limits) -> Sequence[Group]:
    return [callers(limits), slo(limits.objective), fleet(), outside(limits.job)]


WAITING = "namespace_agent:roomkeeper_agents_waiting:max"


def callers(limits: Limits) -> Group:
    """What callers notice, whatever the cause."""
    crashes = counted('roomkeeper_agents_replaced_total{reason=~"died|raised"}', "10m")
    joined = counted('roomkeeper_time_to_agent_seconds_count{stage="joined"}', "10m")
    return Group(
        "roomkeeper-callers",
        [
            Record(WAITING, "max by (namespace, agent) (roomkeeper_agents_waiting)"),
            Alert(
                name="RoomkeeperAgentMissing",
                expr=f"max by (namespace, agent) (roomkeeper_oldest_wait_seconds) > {limits.missing_after:g}",
                lasting="30s",
                severity="page",
                summary="A room has lacked its agent {{ $labels.agent }} for {{ $value | humanizeDuration }}",
                description="Somebody sits in a room and nobody answers. Further rooms may wait behind it.",
            ),
            Alert(
                name="RoomkeeperLineGrowing",
                expr=f"{WAITING} > 0\nand min_over_time({WAITING}[10m]) > 0\nand deriv({WAITING}[10m]) > 0",
                lasting="5m",
                severity="ticket",
                summary='{{ printf "%.0f" $value }} rooms wait in line for {{ $labels.agent }}, ever more',
                description="More calls come than slots free. Callers wait, each longer than the one before.",
            ),
            Alert(
                name="RoomkeeperGaveUp",
                expr=f"{counted('roomkeeper_gave_up_total', '10m')} > 0",
                severity="page",
                summary='{{ printf "%.0f" $value }} rooms were given up in 10 minutes',
                description="ROOMKEEPER_GIVE_UP_AFTER went by without a working agent. Nobody answered at"
                " all.",
            ),
            Alert(
                name="RoomkeeperCrashLoop",
                expr=f"{crashes} > 5\nand {crashes} > 0.05 * {joined}",
                lasting="5m",
                severity="page",
                summary='{{ printf "%.0f" $value }} agents crashed in their calls in 10 minutes',
                description="Agents die, or their entrypoint raises. Each caller loses theirs in"
                " mid-sentence and gets another one, who knows nothing of what was said.",
            ),
        ],
    )
