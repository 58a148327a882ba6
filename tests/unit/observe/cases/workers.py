"""Capacity, workers, and their drains."""

from __future__ import annotations

from tests.unit.observe.cases.case import AGENT, NS, ON_POD, OTHER, POD, Case, dispatches

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
