"""The dashboard: is it well, why not, and how the processes do. Three rows, read from the top."""

from __future__ import annotations

import json
from itertools import count

from grafana_foundation_sdk.builders.dashboard import Dashboard, DatasourceVariable, QueryVariable, Row
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models.dashboard import (
    DashboardCursorSync,
    VariableOption,
    VariableRefresh,
    VariableSort,
)

from gateway.observe.panels import SOURCE
from gateway.observe.process import process
from gateway.observe.well import well
from gateway.observe.why_not import why_not


def dashboard_json() -> str:
    """What Grafana imports."""
    return json.dumps(_dashboard().build(), cls=JSONEncoder, indent=2)


def _dashboard() -> Dashboard:
    dashboard = (
        Dashboard("Roomkeeper")
        .uid("roomkeeper")
        .description("Exactly one agent in every LiveKit room that wants one.")
        .tags(["roomkeeper", "livekit"])
        .refresh("30s")
        .time("now-6h", "now")
        .tooltip(DashboardCursorSync.CROSSHAIR)
        .with_variable(DatasourceVariable("datasource").label("Prometheus").type("prometheus"))
        .with_variable(_variable("namespace", "roomkeeper_leading"))
        .with_variable(_variable("agent", "roomkeeper_wanted_workers"))
    )
    ids = count(1)
    for title, panels in (
        ("Is it well?", well()),
        ("Why not?", why_not()),
        ("The process", process()),
    ):
        dashboard.with_row(Row(title).id(next(ids)))
        for panel in panels:
            dashboard.with_panel(panel.id(next(ids)))
    return dashboard


def _variable(label: str, metric: str) -> QueryVariable:
    """All of its values, those that are empty included: Prometheus may have no such label."""
    return (
        QueryVariable(label)
        .label(label)
        .datasource(SOURCE)
        .query(f"label_values({metric}, {label})")
        .refresh(VariableRefresh.ON_TIME_RANGE_CHANGED)
        .sort(VariableSort.ALPHABETICAL_ASC)
        .multi(True)
        .include_all(True)
        .current(VariableOption(text="All", value="$__all"))
        .all_value(".*")
    )
