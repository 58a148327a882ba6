"""The promise to callers as an objective: so many agents are there within so many seconds, over 30 days. An
alert says that its budget of late ones burns too fast, in two windows at once: the long one, so that a moment
does not count, and the short one, so that it ends when the trouble does.
"""

from __future__ import annotations

from dataclasses import dataclass

from gateway.errors import SettingsError
from gateway.metrics import TIME_TO_AGENT_BUCKETS
from gateway.observe.queries import counted
from gateway.observe.rules import Alert, Group, Record

AT_LEAST = 5
"""Late agents in the long window. Of three calls in a night one may be late, and nobody is woken."""

LEAST_SHARE = 0.95
"""Below, the fastest burn would be more than all agents."""


@dataclass(frozen=True, slots=True)
class Burn:
    """Spent at `times` the even pace, the budget of 30 days lasts for 30 days / times."""

    long: str
    short: str
    times: float


FAST = (Burn("1h", "5m", 14.4), Burn("6h", "30m", 6))
SLOW = (Burn("1d", "2h", 3), Burn("3d", "6h", 1))


@dataclass(frozen=True, slots=True)
class Objective:
    within: float = 2.5
    """Seconds from the ask to an agent that listens; a bound of the histogram's buckets."""
    share: float = 0.99

    def __post_init__(self) -> None:
        faults = []
        if self.within not in TIME_TO_AGENT_BUCKETS:
            bounds = ", ".join(f"{bound:g}" for bound in TIME_TO_AGENT_BUCKETS)
            faults.append(f"--within: {self.within:g} is not counted apart; take one of {bounds}")
        if not LEAST_SHARE <= self.share < 1:
            faults.append(
                f"--objective: {self.share:g} is out of range; take {LEAST_SHARE:g} or more, below 1"
            )
        if faults:
            raise SettingsError(faults)


def slo(objective: Objective) -> Group:
    """The series over every window, and the two alerts."""
    windows = dict.fromkeys(w for burn in (*FAST, *SLOW) for w in (burn.short, burn.long))
    records = [record for window in windows for record in _records(objective, window)]
    description = (
        f"The promise is {100 * objective.share:g} % of agents within {objective.within:g} s, over 30 days."
        " Callers hear nothing meanwhile. An agent that was given up counts as late."
    )
    summary = "{{ $value | humanizePercentage }} of agents came too late"
    return Group(
        "roomkeeper-promise",
        [
            *records,
            Alert(
                name="RoomkeeperAgentsLate",
                expr=_burning(objective, FAST),
                lasting="2m",
                severity="page",
                summary=summary,
                description=f"{description} At this pace the budget is gone within days.",
            ),
            Alert(
                name="RoomkeeperAgentsLateForDays",
                expr=_burning(objective, SLOW),
                lasting="15m",
                severity="ticket",
                summary=summary,
                description=f"{description} At this pace the budget does not last for the 30 days.",
            ),
        ],
    )


def late(window: str) -> str:
    return f"namespace:roomkeeper_agents_late:increase{window}"


def due(window: str) -> str:
    return f"namespace:roomkeeper_agents_due:increase{window}"


def _records(objective: Objective, window: str) -> list[Record]:
    joined = counted('roomkeeper_time_to_agent_seconds_count{stage="joined"}', window)
    bound = f'{{stage="joined",le="{objective.within}"}}'
    in_time = counted(f"roomkeeper_time_to_agent_seconds_bucket{bound}", window)
    given_up = counted("roomkeeper_gave_up_total", window)
    return [
        Record(late(window), f"{joined}\n- {in_time}\n+ {given_up}"),
        Record(due(window), f"{joined}\n+ {given_up}"),
    ]


def _burning(objective: Objective, burns: tuple[Burn, ...]) -> str:
    budget = 1 - objective.share
    return "\nor\n".join(
        f"({late(burn.long)} / {due(burn.long)} > {burn.times * budget:.6g}\n"
        f"  and {late(burn.short)} / {due(burn.short)} > {burn.times * budget:.6g}\n"
        f"  and {late(burn.long)} >= {AT_LEAST})"
        for burn in burns
    )
