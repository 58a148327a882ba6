"""docs/operations.md says what to do about each alert, and about no other."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from gateway.keeper.scaling import Demand
from gateway.metrics import Metrics
from gateway.observe.alerts import Limits, groups
from gateway.observe.rules import RUNBOOKS, Alert, alerts_of

PAGE = (Path(__file__).parents[3] / RUNBOOKS).read_text()
ENTRIES = dict(re.findall(r"^#### (\w+)\n\n(.*?)(?=^#)", PAGE, re.MULTILINE | re.DOTALL))
ALERTS = alerts_of(groups(Limits()))


def test_each_alert_has_its_entry_and_each_entry_its_alert() -> None:
    """Under a heading whose anchor is the one that the alert links to."""
    headings = re.findall(r"^#### (.+)$", PAGE, re.MULTILINE)
    assert sorted(headings) == sorted(alert.name for alert in ALERTS)


@pytest.mark.parametrize("alert", ALERTS, ids=lambda alert: alert.name)
def test_an_entry_says_what_one_needs_at_night(alert: Alert) -> None:
    """How urgent it is, what callers notice, what to look at, what to do."""
    entry = ENTRIES[alert.name]
    assert entry.startswith({"page": "Page. ", "ticket": "Ticket. "}[alert.severity])
    assert re.findall(r"^- \*\*([\w ]+)\*\*: \S", entry, re.MULTILINE) == ["Callers notice", "Look at", "Do"]


def test_what_the_page_calls_a_metric_is_one() -> None:
    """So that nobody looks for a name that was changed."""
    metrics = Metrics()
    demand = Demand(agent="a", active=0, waiting=0, buffer=0, slots_per_worker=1, oldest_wait=0.0)
    metrics.tell_scaling(lambda: [demand])
    told = {family.name for family in metrics.registry.collect()}
    said = set(re.findall(r"`?\b(roomkeeper_[a-z_]+)", PAGE))
    assert {re.sub("_(total|count|bucket|sum)$", "", name) for name in said} <= told
