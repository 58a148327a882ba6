"""The dashboard's first row: is it well?"""

from __future__ import annotations

from gateway.observe.panels import AGENT, HERE, RATE, SECONDS, Ask, Panel, by_agent, figure, lines, total
from gateway.observe.queries import percentile, workers_present, workers_wanted


def well() -> list[Panel]:
    return [*_now(), *_over_time()]


def _now() -> list[Panel]:
    joined = f'roomkeeper_time_to_agent_seconds{{stage="joined",{HERE}}}'
    return [
        figure(
            "Without an agent for",
            "The room that has lacked its agent for longest.",
            Ask(f"max(roomkeeper_oldest_wait_seconds{{{AGENT}}})", "seconds"),
            unit=SECONDS,
            warn=5,
            bad=60,
        ),
        figure(
            "In line",
            "Rooms that wait for a slot.",
            Ask(f"sum(max by (namespace, agent) (roomkeeper_agents_waiting{{{AGENT}}}))", "rooms"),
            warn=1,
        ),
        figure(
            "Agents in calls",
            "Slots with a job in processes that do not drain.",
            Ask(f"sum(max by (namespace, agent) (roomkeeper_agents_active{{{AGENT}}}))", "agents"),
        ),
        figure(
            "Time to agent, p95",
            "From the ask to an agent that listens, over the last hour.",
            Ask(percentile(joined, 0.95, "1h", ""), "p95"),
            unit=SECONDS,
            warn=1.5,
            bad=2.5,
        ),
        figure(
            "Given up",
            "Rooms for which no agent was found in time, in a day.",
            Ask(f"sum(increase(roomkeeper_gave_up_total{{{HERE}}}[1d]))", "rooms"),
            bad=1,
        ),
        figure(
            "Workers missing",
            "Wanted by the rooms, and not there.",
            Ask(
                f"sum(clamp_min({workers_wanted(f'{{{HERE}}}')} - {workers_present(f'{{{HERE}}}')}, 0))",
                "workers",
            ),
            warn=1,
        ),
    ]


def _over_time() -> list[Panel]:
    stages = f"roomkeeper_time_to_agent_seconds{{{HERE}}}"
    return [
        lines(
            "Time to agent, by stage",
            "From the ask, or the loss of the agent before: asked (durable), dispatched, claimed, joined.",
            Ask(percentile(stages, 0.5, RATE, "stage"), "{{stage}} p50"),
            Ask(percentile(stages, 0.95, RATE, "stage"), "{{stage}} p95"),
            unit=SECONDS,
        ),
        lines(
            "Rooms by state",
            "As the leader sees them.",
            total("rooms", by="state"),
            stacked=True,
        ),
        lines(
            "Longest without an agent",
            "By agent.",
            by_agent("oldest_wait_seconds"),
            unit=SECONDS,
        ),
        lines(
            "Workers",
            "What the rooms want, by agent, and how many there are that take jobs.",
            by_agent("wanted_workers", "wanted for {{agent}}"),
            Ask(f"sum({workers_present(f'{{{HERE}}}')})", "present"),
        ),
        lines(
            "What the wish is made of",
            "wanted = (active + waiting + buffer) / slots of a worker, rounded up.",
            by_agent("agents_active", "{{agent}}: active"),
            by_agent("agents_waiting", "{{agent}}: waiting"),
            by_agent("buffer_slots", "{{agent}}: buffer"),
            by_agent("slots_per_worker", "{{agent}}: slots of a worker"),
        ),
        lines(
            "Slots",
            "Of all workers. cold: no process is warm, or the worker drains or is cut off.",
            total("slots", by="state"),
            stacked=True,
        ),
    ]
