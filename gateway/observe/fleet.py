"""Alerts on the processes: the workers, and who keeps the rooms."""

from __future__ import annotations

from gateway.observe.queries import PROCESS, counted, percentile, share, workers_present, workers_wanted
from gateway.observe.rules import Alert, Group


def fleet() -> Group:
    return Group("roomkeeper-fleet", [*_capacity(), *_workers(), *_drains(), *_lead()])


def _capacity() -> list[Alert]:
    wanted, present = workers_wanted(), workers_present()
    made = 'roomkeeper_dispatches_total{outcome=~"created|unknown|direct"}'
    lost = 'roomkeeper_dispatches_total{outcome="lost"}'
    return [
        Alert(
            name="RoomkeeperFleetTooSmall",
            expr=f"{wanted}\n  - {present} > 0",
            lasting="15m",
            severity="ticket",
            summary='{{ printf "%.0f" $value }} workers are missing',
            description="The rooms want more workers than there are, and no autoscaler brings them. Once the"
            " slots are taken, callers wait.",
        ),
        Alert(
            name="RoomkeeperDispatchesLost",
            expr=f"{share(lost, made, '10m')} > 0.05\nand {counted(lost, '10m')} >= 5",
            lasting="5m",
            severity="ticket",
            summary="{{ $value | humanizePercentage }} of the dispatches came to nothing",
            description="LiveKit said yes, and nobody claimed the job. Each costs its caller 4 s.",
        ),
    ]


def _workers() -> list[Alert]:
    died = 'roomkeeper_job_processes_died_total{when="warm"}'
    return [
        Alert(
            name="RoomkeeperWorkerDistrusted",
            expr=f"max by ({PROCESS}) (roomkeeper_distrusted) == 1",
            lasting="1m",
            severity="ticket",
            summary="The worker {{ $labels.instance }} is distrusted",
            description="The jobs that it took never joined their rooms, so it takes none for a while, and"
            " then one at a time. The others serve its share.",
        ),
        Alert(
            name="RoomkeeperProcessesDie",
            expr=f"{counted(died, '10m', by=PROCESS)} > 3",
            lasting="5m",
            severity="ticket",
            summary='{{ printf "%.0f" $value }} idle processes died in 10 minutes on {{ $labels.instance }}',
            description="Processes end before they get a job: setup_fnc fails, or memory runs out. Slots stay"
            " cold, and callers wait for a warm one.",
        ),
        Alert(
            name="RoomkeeperUnresponsiveJobs",
            expr=f"{counted('roomkeeper_unresponsive_jobs_total', '1h', by=PROCESS)} > 0",
            severity="ticket",
            summary='{{ printf "%.0f" $value }} job processes stood still on {{ $labels.instance }}',
            description="An agent blocked its event loop, and its process was ended. Its caller heard"
            " nothing for some seconds, and then another agent.",
        ),
        Alert(
            name="RoomkeeperMemoryLimit",
            expr=f"{counted('roomkeeper_memory_limit_exceeded_total', '1h', by=PROCESS)} > 0",
            severity="ticket",
            summary='{{ printf "%.0f" $value }} job processes took too much memory on {{ $labels.instance }}',
            description="A job process grew beyond its limit and was ended. Its caller got another agent.",
        ),
    ]


def _drains() -> list[Alert]:
    deadline = "roomkeeper_drain_deadline_seconds"
    left = f"({deadline} - time() and {deadline} > 0)"
    calls = 'roomkeeper_slots{state="running"}'
    return [
        Alert(
            name="RoomkeeperDrainWillCut",
            expr=f"{left} < 600\nand {left} > 0\nand ignoring (state) {calls} > 0",
            lasting="5m",
            severity="ticket",
            summary="{{ $labels.instance }} drains, and cuts its calls in {{ $value | humanizeDuration }}",
            description="Calls still run on a worker that was told to end. At the deadline their rooms get"
            " other agents, who know nothing of what was said.",
        ),
        Alert(
            name="RoomkeeperDrainStuck",
            expr=f"-{left} > 60",
            lasting="1m",
            severity="ticket",
            summary="{{ $labels.instance }} should have ended {{ $value | humanizeDuration }} ago",
            description="The drain's deadline has passed and the process is still there. Callers notice"
            " nothing; a rolling update stands still.",
        ),
    ]


def _lead() -> list[Alert]:
    leaders = "sum by (namespace) (roomkeeper_leading)"
    passes = "roomkeeper_passes_total"
    vain = 'roomkeeper_passes_total{result=~"failed|unknown"}'
    return [
        Alert(
            name="RoomkeeperNoLeader",
            expr=f"{leaders} == 0",
            lasting="1m",
            severity="page",
            summary="No replica leads",
            description="Nobody looks at the rooms: calls go on, no new agent comes. Replicas that cannot"
            " reach the store or LiveKit do not lead.",
        ),
        Alert(
            name="RoomkeeperSeveralLeaders",
            expr=f"{leaders} > 1",
            lasting="1m",
            severity="page",
            summary='{{ printf "%.0f" $value }} replicas lead at once',
            description="They do not share one store, so each keeps the same rooms: there may be two agents"
            " in one room.",
        ),
        Alert(
            name="RoomkeeperReplicaLapsed",
            expr="max by (namespace) (increase(roomkeeper_replicas_lapsed_total[10m])) > 0",
            severity="ticket",
            summary='{{ printf "%.0f" $value }} replicas were missed in 10 minutes',
            description="Their heartbeats stopped without a good-bye: killed, frozen, or cut off from the"
            " store. Their agents were replaced within seconds where they had died too.",
        ),
        Alert(
            name="RoomkeeperJobsCut",
            expr=f"{counted('roomkeeper_jobs_cut_total', '10m')} > 0",
            severity="ticket",
            summary='{{ printf "%.0f" $value }} jobs were cut in 10 minutes',
            description="A replica stood still, or was cut off from both the store and LiveKit. Their"
            " callers have got other agents.",
        ),
        Alert(
            name="RoomkeeperPassesFail",
            expr=f"{share(vain, passes, '10m')} > 0.2",
            lasting="10m",
            severity="ticket",
            summary="{{ $value | humanizePercentage }} of the looks at rooms come to nothing",
            description="LiveKit cannot tell who is in some rooms, or the store does not answer. Those"
            " rooms are left as they are meanwhile.",
        ),
        Alert(
            name="RoomkeeperComparisonSlow",
            expr=f"{percentile('roomkeeper_resync_seconds', 0.95, '10m', 'namespace')} > 5",
            lasting="10m",
            severity="ticket",
            summary="Comparing with LiveKit's rooms takes {{ $value | humanizeDuration }}",
            description="LiveKit answers slowly, or lists very many rooms. What no webhook told of is noticed"
            " late.",
        ),
    ]
