"""The dashboard as Grafana reads it."""

from __future__ import annotations

import json
from typing import Any

from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models.dashboard import Dashboard

from gateway.observe.dashboard import dashboard_json
from gateway.observe.panels import WIDTH

MADE: dict[str, Any] = json.loads(dashboard_json())


def test_grafanas_own_model_reads_all_of_it() -> None:
    """Nothing is lost on the way through it: each field is one that Grafana knows, where it knows it."""
    again = json.loads(json.dumps(Dashboard.from_json(MADE), cls=JSONEncoder))
    assert again == MADE
    assert MADE["schemaVersion"] >= 36  # Grafana's validation refuses what is older


def test_a_reader_chooses_where_to_look_and_at_what() -> None:
    """The data source first, since the others ask it; the data source's uid is nowhere fixed."""
    names = [variable["name"] for variable in MADE["templating"]["list"]]
    assert names == ["datasource", "namespace", "agent"]
    for panel in MADE["panels"]:
        if panel["type"] != "row":
            assert panel["datasource"]["uid"] == "${datasource}", panel["title"]


def test_the_questions_come_in_their_order() -> None:
    """Three rows, and whatever belongs to each under it."""
    rows = [panel["title"] for panel in MADE["panels"] if panel["type"] == "row"]
    assert rows == ["Is it well?", "Why not?", "The process"]


def test_panels_lie_beside_each_other() -> None:
    """None on another, none over the edge; each has an id and a title of its own, and says what it shows."""
    taken: set[tuple[int, int]] = set()
    for panel in MADE["panels"]:
        at = panel["gridPos"]
        cells = {(at["x"] + x, at["y"] + y) for x in range(at["w"]) for y in range(at["h"])}
        assert not cells & taken, panel["title"]
        assert at["x"] + at["w"] <= WIDTH, panel["title"]
        taken |= cells
        assert panel["type"] == "row" or panel["description"].endswith("."), panel["title"]
    assert len({panel["id"] for panel in MADE["panels"]}) == len(MADE["panels"])
