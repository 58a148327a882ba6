"""The lead, and what the leader does."""

from __future__ import annotations

from tests.unit.observe.cases.case import OTHER, POD, Case

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
