"""For each alert: series in which it fires and what it then says, and series in which it does not fire. In
promtool's notation: `0+2x30` begins with 0 and adds 2 at each of the following 30 minutes (or other steps).
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


CALLERS = (
    Case(
        alert="RoomkeeperAgentMissing",
        when="a room waits for its agent",
        series={f"roomkeeper_oldest_wait_seconds{{{AGENT}}}": "0+60x5"},
        at="3m",
        says="A room has lacked its agent anna for 3m 0s",
        labels=ON_AGENT,
    ),
    Case(
        alert="RoomkeeperAgentMissing",
        when="rooms wait, none for long",
        series={f"roomkeeper_oldest_wait_seconds{{{AGENT}}}": "55 5 58 3 59 2"},
        at="5m",
    ),
    Case(
        alert="RoomkeeperLineGrowing",
        when="the line grows for a quarter of an hour",
        series={f"roomkeeper_agents_waiting{{{AGENT}}}": "1+1x20"},
        at="18m",
        says="19 rooms wait in line for anna, ever more",
        labels=ON_AGENT,
    ),
    Case(
        alert="RoomkeeperLineGrowing",
        when="a long line gets shorter",
        series={f"roomkeeper_agents_waiting{{{AGENT}}}": "40-1x20"},
        at="18m",
    ),
    Case(
        alert="RoomkeeperGaveUp",
        when="a room was given up",
        series={GAVE_UP: "0x5 1x10"},
        at="12m",
        says="1 rooms were given up in 10 minutes",
    ),
    Case(
        alert="RoomkeeperGaveUp",
        when="the last one was given up long ago",
        series={GAVE_UP: "7x30"},
        at="30m",
    ),
    Case(
        alert="RoomkeeperCrashLoop",
        when="agents die in their calls",
        series={
            f'roomkeeper_agents_replaced_total{{{POD},reason="died"}}': "0+1x30",
            f'roomkeeper_agents_replaced_total{{{POD},reason="raised"}}': "0+1x30",
            JOINED: "0+3x30",
        },
        at="20m",
        says="20 agents crashed in their calls in 10 minutes",
    ),
    Case(
        alert="RoomkeeperCrashLoop",
        when="a few of very many die, and people who leave spend theirs",
        series={
            f'roomkeeper_agents_replaced_total{{{POD},reason="died"}}': "0+1x30",
            f'roomkeeper_agents_replaced_total{{{POD},reason="spent"}}': "0+50x30",
            JOINED: "0+100x30",
        },
        at="20m",
    ),
)

PROMISE = (
    Case(
        alert="RoomkeeperAgentsLate",
        when="every fifth agent is late for an hour",
        series={JOINED: "0+5x90", IN_TIME: "0+4x90", GAVE_UP: "0x90"},
        at="70m",
        says="20% of agents came too late",
    ),
    Case(
        alert="RoomkeeperAgentsLate",
        when="agents are given up, and none is late",
        series={JOINED: "0+4x90", IN_TIME: "0+4x90", GAVE_UP: "0+1x90"},
        at="70m",
        says="20% of agents came too late",
    ),
    Case(
        alert="RoomkeeperAgentsLate",
        when="every eighth agent is late for six hours",
        series={JOINED: "0+40x90", IN_TIME: "0+35x90", GAVE_UP: "0x90"},
        step="5m",
        at="390m",
        says="12.5% of agents came too late",
    ),
    Case(
        alert="RoomkeeperAgentsLate",
        when="it was so until half an hour ago",
        series={JOINED: "0+5x120", IN_TIME: "0+4x60 245+5x60", GAVE_UP: "0x120"},
        at="96m",
    ),
    Case(
        alert="RoomkeeperAgentsLate",
        when="the one caller of the night came late",
        series={JOINED: "0x80 1x30", IN_TIME: "0x110", GAVE_UP: "0x110"},
        at="84m",
    ),
    Case(
        alert="RoomkeeperAgentsLateForDays",
        when="one in fifty is late for three days",
        series={JOINED: "0+750x300", IN_TIME: "0+735x300", GAVE_UP: "0x300"},
        step="15m",
        at="74h",
        says="2% of agents came too late",
    ),
    Case(
        alert="RoomkeeperAgentsLateForDays",
        when="one in two hundred is",
        series={JOINED: "0+3000x300", IN_TIME: "0+2985x300", GAVE_UP: "0x300"},
        step="15m",
        at="74h",
    ),
)

CAPACITY = (
    Case(
        alert="RoomkeeperFleetTooSmall",
        when="three are wanted, and of two one drains",
        series={
            f"roomkeeper_wanted_workers{{{AGENT}}}": "3x30",
            f'roomkeeper_slots{{{POD},state="running"}}': "4x30",
            f'roomkeeper_slots{{{OTHER},state="running"}}': "4x30",
            f"roomkeeper_draining{{{POD}}}": "1x30",
            f"roomkeeper_draining{{{OTHER}}}": "0x30",
        },
        at="20m",
        says="2 workers are missing",
    ),
    Case(
        alert="RoomkeeperFleetTooSmall",
        when="one is wanted, and there is a gateway only",
        series={
            f"roomkeeper_wanted_workers{{{AGENT}}}": "1x30",
            f"roomkeeper_leading{{{POD}}}": "1x30",
        },
        at="20m",
        says="1 workers are missing",
    ),
    Case(
        alert="RoomkeeperFleetTooSmall",
        when="a machine is booted for the third",
        series={
            f"roomkeeper_wanted_workers{{{AGENT}}}": "2x10 3x20",
            f'roomkeeper_slots{{{POD},state="running"}}': "4x30",
            f'roomkeeper_slots{{{OTHER},state="running"}}': "4x30",
            f'roomkeeper_slots{{{NS},pod="rk-2",instance="10.0.0.3:8080",state="free"}}': "_x13 4x17",
        },
        at="29m",
    ),
    Case(
        alert="RoomkeeperDispatchesLost",
        when="a frozen worker takes every other one",
        series={
            dispatches("created"): "0+4x30",
            dispatches("claimed"): "0+2x30",
            dispatches("lost"): "0+2x30",
        },
        at="20m",
        says="50% of the dispatches came to nothing",
    ),
    Case(
        alert="RoomkeeperDispatchesLost",
        when="one in a hundred is lost",
        series={dispatches("created"): "0+100x30", dispatches("lost"): "0+1x30"},
        at="20m",
    ),
)

WORKERS = (
    Case(
        alert="RoomkeeperWorkerDistrusted",
        when="a worker's jobs never join",
        series={f"roomkeeper_distrusted{{{POD}}}": "0x2 1x10", f"roomkeeper_distrusted{{{OTHER}}}": "0x12"},
        at="6m",
        says="The worker 10.0.0.1:8080 is distrusted",
        labels=ON_POD,
    ),
    Case(
        alert="RoomkeeperWorkerDistrusted",
        when="all take jobs",
        series={f"roomkeeper_distrusted{{{POD}}}": "0x10"},
        at="6m",
    ),
    Case(
        alert="RoomkeeperProcessesDie",
        when="setup_fnc fails",
        series={f'roomkeeper_job_processes_died_total{{{POD},when="warm"}}': "0+2x30"},
        at="20m",
        says="20 idle processes died in 10 minutes on 10.0.0.1:8080",
        labels=ON_POD,
    ),
    Case(
        alert="RoomkeeperProcessesDie",
        when="processes die in their jobs, which others tell of",
        series={
            f'roomkeeper_job_processes_died_total{{{POD},when="warm"}}': "0x10 1x20",
            f'roomkeeper_job_processes_died_total{{{POD},when="job"}}': "0+2x30",
        },
        at="20m",
    ),
    Case(
        alert="RoomkeeperUnresponsiveJobs",
        when="an agent blocks its loop",
        series={f"roomkeeper_unresponsive_jobs_total{{{POD}}}": "0x5 1x60"},
        at="61m",
        says="1 job processes stood still on 10.0.0.1:8080",
        labels=ON_POD,
    ),
    Case(
        alert="RoomkeeperUnresponsiveJobs",
        when="one did two hours ago",
        series={f"roomkeeper_unresponsive_jobs_total{{{POD}}}": "0x5 1x120"},
        at="120m",
    ),
    Case(
        alert="RoomkeeperMemoryLimit",
        when="processes grow too large",
        series={f"roomkeeper_memory_limit_exceeded_total{{{POD}}}": "0x5 2x60"},
        at="61m",
        says="2 job processes took too much memory on 10.0.0.1:8080",
        labels=ON_POD,
    ),
    Case(
        alert="RoomkeeperMemoryLimit",
        when="none does",
        series={f"roomkeeper_memory_limit_exceeded_total{{{POD}}}": "0x60"},
        at="60m",
    ),
)

DRAINS = (
    Case(
        alert="RoomkeeperDrainWillCut",
        when="a call still runs ten minutes before the deadline",
        series={
            f"roomkeeper_drain_deadline_seconds{{{POD}}}": "0x10 3600x50",
            f'roomkeeper_slots{{{POD},state="running"}}': "1x60",
            f'roomkeeper_slots{{{POD},state="free"}}': "0x60",
        },
        at="56m",
        says="10.0.0.1:8080 drains, and cuts its calls in 4m 0s",
        labels=ON_POD,
    ),
    Case(
        alert="RoomkeeperDrainWillCut",
        when="its calls have ended",
        series={
            f"roomkeeper_drain_deadline_seconds{{{POD}}}": "0x10 3600x50",
            f'roomkeeper_slots{{{POD},state="running"}}': "0x60",
        },
        at="56m",
    ),
    Case(
        alert="RoomkeeperDrainStuck",
        when="the process outlives its deadline",
        series={f"roomkeeper_drain_deadline_seconds{{{POD}}}": "600x30"},
        at="15m",
        says="10.0.0.1:8080 should have ended 5m 0s ago",
        labels=ON_POD,
    ),
    Case(
        alert="RoomkeeperDrainStuck",
        when="one drains and has time, another does not drain",
        series={
            f"roomkeeper_drain_deadline_seconds{{{POD}}}": "3600x30",
            f"roomkeeper_drain_deadline_seconds{{{OTHER}}}": "0x30",
        },
        at="15m",
    ),
)

LEAD = (
    Case(
        alert="RoomkeeperNoLeader",
        when="nobody leads",
        series={f"roomkeeper_leading{{{POD}}}": "1 0x10", f"roomkeeper_leading{{{OTHER}}}": "0x11"},
        at="5m",
        says="No replica leads",
    ),
    Case(
        alert="RoomkeeperNoLeader",
        when="the lead is handed over",
        series={
            f"roomkeeper_leading{{{POD}}}": "1 1 0 0 0 0 0",
            f"roomkeeper_leading{{{OTHER}}}": "0 0 0 1 1 1 1",
        },
        at="6m",
    ),
    Case(
        alert="RoomkeeperSeveralLeaders",
        when="two have stores of their own",
        series={f"roomkeeper_leading{{{POD}}}": "1x10", f"roomkeeper_leading{{{OTHER}}}": "1x10"},
        at="5m",
        says="2 replicas lead at once",
    ),
    Case(
        alert="RoomkeeperSeveralLeaders",
        when="two installations have one each",
        series={
            f"roomkeeper_leading{{{POD}}}": "1x10",
            'roomkeeper_leading{namespace="other",pod="rk-0",instance="10.0.1.1:8080"}': "1x10",
        },
        at="5m",
    ),
    Case(
        alert="RoomkeeperReplicaLapsed",
        when="two others miss the same one",
        series={
            f"roomkeeper_replicas_lapsed_total{{{POD}}}": "0x5 1x10",
            f"roomkeeper_replicas_lapsed_total{{{OTHER}}}": "0x5 1x10",
        },
        at="12m",
        says="1 replicas were missed in 10 minutes",
    ),
    Case(
        alert="RoomkeeperReplicaLapsed",
        when="all live",
        series={f"roomkeeper_replicas_lapsed_total{{{POD}}}": "3x15"},
        at="12m",
    ),
    Case(
        alert="RoomkeeperJobsCut",
        when="a replica stood still, and its rooms were given to others",
        series={f'roomkeeper_jobs_cut_total{{{POD},why="unclaimed"}}': "0x5 4x10"},
        at="12m",
        says="4 jobs were cut in 10 minutes",
    ),
    Case(
        alert="RoomkeeperJobsCut",
        when="none was",
        series={f'roomkeeper_jobs_cut_total{{{POD},why="unclaimed"}}': "4x15"},
        at="12m",
    ),
    Case(
        alert="RoomkeeperPassesFail",
        when="LiveKit cannot tell of a third of the rooms",
        series={
            f'roomkeeper_passes_total{{{POD},result="ok"}}': "0+2x40",
            f'roomkeeper_passes_total{{{POD},result="unknown"}}': "0+1x40",
            f'roomkeeper_passes_total{{{POD},result="failed"}}': "0x40",
        },
        at="30m",
        says="33.33% of the looks at rooms come to nothing",
    ),
    Case(
        alert="RoomkeeperPassesFail",
        when="of a tenth",
        series={
            f'roomkeeper_passes_total{{{POD},result="ok"}}': "0+9x40",
            f'roomkeeper_passes_total{{{POD},result="unknown"}}': "0+1x40",
        },
        at="30m",
    ),
    Case(
        alert="RoomkeeperComparisonSlow",
        when="it takes between 5 and 10 s",
        series={
            f'roomkeeper_resync_seconds_bucket{{{POD},le="5.0"}}': "0x40",
            f'roomkeeper_resync_seconds_bucket{{{POD},le="10.0"}}': "0+4x40",
            f'roomkeeper_resync_seconds_bucket{{{POD},le="+Inf"}}': "0+4x40",
        },
        at="30m",
        says="Comparing with LiveKit's rooms takes 9.75s",
    ),
    Case(
        alert="RoomkeeperComparisonSlow",
        when="it takes less than 5 s",
        series={
            f'roomkeeper_resync_seconds_bucket{{{POD},le="5.0"}}': "0+4x40",
            f'roomkeeper_resync_seconds_bucket{{{POD},le="10.0"}}': "0+4x40",
            f'roomkeeper_resync_seconds_bucket{{{POD},le="+Inf"}}': "0+4x40",
        },
        at="30m",
    ),
)

OUTSIDE = (
    Case(
        alert="RoomkeeperLiveKitSilent",
        when="nothing answers",
        series={livekit("ok"): "0+10x5 50x20", livekit("timeout"): "0x5 0+10x20"},
        at="15m",
        says="LiveKit does not answer 100% of the calls",
    ),
    Case(
        alert="RoomkeeperLiveKitSilent",
        when="rooms are not found, and calls are given up by us",
        series={
            livekit("ok"): "0+1x25",
            livekit("not_found"): "0+30x25",
            livekit("cancelled"): "0+30x25",
            livekit("unavailable"): "0+1x25",
        },
        at="15m",
    ),
    Case(
        alert="RoomkeeperLiveKitRefuses",
        when="one replica's clock is off",
        series={livekit("skewed"): "0+10x25", livekit("ok", who=OTHER): "0+90x25"},
        at="15m",
        says="LiveKit refuses 10.0.0.1:8080 100% of its calls",
        labels=ON_POD,
    ),
    Case(
        alert="RoomkeeperLiveKitRefuses",
        when="LiveKit answers",
        series={livekit("ok"): "0+10x25", livekit("refused"): "0+1x25"},
        at="15m",
    ),
    Case(
        alert="RoomkeeperStoreAway",
        when="Redis does not answer one replica",
        series={
            f'roomkeeper_heartbeats_total{{{POD},result="ok"}}': "0+120x5 600x10",
            f'roomkeeper_heartbeats_total{{{POD},result="failed"}}': "0x5 0+60x10",
            f'roomkeeper_heartbeats_total{{{OTHER},result="ok"}}': "0+120x15",
        },
        at="10m",
        says="The store fails 10.0.0.1:8080 in 100% of tries",
        labels=ON_POD,
    ),
    Case(
        alert="RoomkeeperStoreAway",
        when="a heartbeat in a hundred fails",
        series={
            f'roomkeeper_heartbeats_total{{{POD},result="ok"}}': "0+119x15",
            f'roomkeeper_heartbeats_total{{{POD},result="failed"}}': "0+1x15",
        },
        at="10m",
    ),
    Case(
        alert="RoomkeeperWebhooksRefused",
        when="LiveKit signs with another secret",
        series={f'roomkeeper_webhooks_total{{{POD},event="unknown",verdict="bad_signature"}}': "0+10x30"},
        at="20m",
        says="100 webhooks were refused in 10 minutes: bad_signature",
        labels={"namespace": "calls", "verdict": "bad_signature"},
    ),
    Case(
        alert="RoomkeeperWebhooksRefused",
        when="a stranger knocked once, and LiveKit's repeat themselves",
        series={
            f'roomkeeper_webhooks_total{{{POD},event="unknown",verdict="unsigned"}}': "0x5 1x25",
            f'roomkeeper_webhooks_total{{{POD},event="room_started",verdict="repeated"}}': "0+10x30",
        },
        at="20m",
    ),
    Case(
        alert="RoomkeeperWebhooksMissing",
        when="agents join, and no webhook ever came",
        series={JOINED: "0+1x60"},
        at="50m",
        says="15 agents joined in 15 minutes, and LiveKit told of none",
    ),
    Case(
        alert="RoomkeeperWebhooksMissing",
        when="webhooks come",
        series={
            JOINED: "0+1x60",
            f'roomkeeper_webhooks_total{{{POD},event="participant_joined",verdict="queued"}}': "0+1x60",
        },
        at="50m",
    ),
    Case(
        alert="RoomkeeperCallbacksNotTaken",
        when="the callback URL answers 500",
        series={f'roomkeeper_callbacks_total{{{POD},outcome="refused"}}': "0x5 3x20"},
        at="15m",
        says="3 events were not taken at the callback URL in 15 minutes",
    ),
    Case(
        alert="RoomkeeperCallbacksNotTaken",
        when="it takes them",
        series={f'roomkeeper_callbacks_total{{{POD},outcome="taken"}}': "0+3x20"},
        at="15m",
    ),
    Case(
        alert="RoomkeeperTargetDown",
        when="one of two is gone",
        series={
            'up{job="roomkeeper-workers",instance="10.0.0.1:8080"}': "1 0x10",
            'up{job="roomkeeper-workers",instance="10.0.0.2:8080"}': "1x11",
        },
        at="8m",
        says="Prometheus cannot scrape 10.0.0.1:8080",
        labels={"job": "roomkeeper-workers", "instance": "10.0.0.1:8080"},
    ),
    Case(
        alert="RoomkeeperTargetDown",
        when="somebody else's is",
        series={
            'up{job="roomkeeper",instance="10.0.0.1:8080"}': "1x11",
            'up{job="node",instance="10.0.0.1:9100"}': "0x11",
        },
        at="8m",
    ),
    Case(
        alert="RoomkeeperDown",
        when="all are gone",
        series={'up{job="roomkeeper",instance="10.0.0.1:8080"}': "1 0x10"},
        at="8m",
        says="Prometheus sees no Roomkeeper at all",
        labels={},
    ),
    Case(
        alert="RoomkeeperDown",
        when="one is left",
        series={
            'up{job="roomkeeper",instance="10.0.0.1:8080"}': "1x11",
            'up{job="roomkeeper",instance="10.0.0.2:8080"}': "0x11",
        },
        at="8m",
    ),
)

CASES = (*CALLERS, *PROMISE, *CAPACITY, *WORKERS, *DRAINS, *LEAD, *OUTSIDE)
