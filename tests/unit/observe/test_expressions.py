"""Every series that an alert or a panel asks for is one that this version tells, with these labels and
values: an alert on a name that nobody counts is silent for ever.
"""

from __future__ import annotations

import json
import re
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest
from prometheus_client.metrics import MetricWrapperBase

from gateway.keeper.scaling import Demand
from gateway.metrics import Metrics
from gateway.observe.alerts import Limits, groups
from gateway.observe.dashboard import dashboard_json
from gateway.observe.rules import Record
from tests.unit.observe.promql import Asked, asked, labels_kept, words

PROMETHEUS_OWN = {"namespace", "pod", "instance", "job"}
"""Labels that Prometheus puts on whatever it scrapes."""


@dataclass(slots=True)
class Told:
    """What is known of a series by its name."""

    labels: set[str] = field(default_factory=set)
    bounds: set[str] = field(default_factory=set)
    """Of a histogram's buckets."""
    words: set[str] = field(default_factory=set)
    """Of its help text, which names every value that a label may have."""


@pytest.fixture(scope="module")
def told() -> dict[str, Told]:
    """By the names that `/metrics` shows, and those that the rules record."""
    metrics = Metrics()
    metrics.tell_scaling(
        lambda: [Demand(agent="a", active=1, waiting=0, buffer=1, slots_per_worker=4, oldest_wait=0.0)]
    )
    for part in (metrics, metrics.pool):
        for instrument in vars(part).values():
            if isinstance(instrument, MetricWrapperBase):
                _begin(instrument)
    found: dict[str, Told] = defaultdict(Told)
    for family in metrics.registry.collect():
        for sample in family.samples:
            series = found[sample.name]
            series.labels |= sample.labels.keys()
            series.bounds |= {value for label, value in sample.labels.items() if label == "le"}
            series.words |= set(re.findall(r"\w+", family.documentation))
    for rule in (rule for group in groups(Limits()) for rule in group.rules):
        if isinstance(rule, Record):
            found[rule.name].labels |= labels_kept(rule.expr)
    found["up"] = Told()
    return dict(found)


def _begin(instrument: MetricWrapperBase) -> None:
    """One series of an instrument with labels: it shows none of them before."""
    for labels in range(1, 4):
        try:
            instrument.labels(*["x"] * labels)
        except ValueError:  # has none, or another number of them
            continue


def expressions() -> Iterator[tuple[str, str]]:
    """Where it stands, and the expression."""
    for group in groups(Limits()):
        for rule in group.rules:
            yield rule.name, rule.expr
    for panel in json.loads(dashboard_json())["panels"]:
        for target in panel.get("targets", ()):
            yield f"{panel['title']} {target['refId']}", target["expr"]


ALL = list(expressions())


@pytest.mark.parametrize("expression", [e for _, e in ALL], ids=[where for where, _ in ALL])
def test_what_is_asked_for_is_told(told: dict[str, Told], expression: str) -> None:
    """The name, the labels by which one chooses or groups, and the values that are spelled out."""
    selectors = asked(expression)
    assert selectors
    known = set(PROMETHEUS_OWN)
    for selector in selectors:
        assert selector.name in told, f"nobody tells {selector.name}"
        _check(selector, told[selector.name])
        known |= told[selector.name].labels
    assert labels_kept(expression) <= known


def _check(selector: Asked, series: Told) -> None:
    for label, value in selector.matchers:
        assert label in series.labels | PROMETHEUS_OWN, f"{selector.name} has no label {label}"
        if label == "le":
            assert value in series.bounds, f"{selector.name} has no bucket {value}"
        elif label not in PROMETHEUS_OWN:
            assert set(words(value)) <= series.words, f"{selector.name} never has {label}={value}"


def test_what_an_alert_counts_is_there_before_it_happens(told: dict[str, Told]) -> None:
    """An increase from nothing to 1 is none. Counters by several labels are left out: alerts look at their
    rates."""
    fresh = {
        (sample.name, value)
        for family in Metrics().registry.collect()
        for sample in family.samples
        for value in sample.labels.values()
    }
    for group in groups(Limits()):
        for selector in (s for rule in group.rules for s in asked(rule.expr)):
            counts = selector.name.endswith(("_total", "_count", "_bucket"))
            if counts and len(told[selector.name].labels - {"le"}) == 1:
                assert any(name == selector.name for name, _ in fresh), f"{selector.name} has no series yet"
                for _, values in selector.matchers:
                    for value in words(values):
                        assert (selector.name, value) in fresh


def test_a_panels_legend_names_labels_that_its_query_keeps() -> None:
    """Else Grafana shows nothing between the braces."""
    for panel in json.loads(dashboard_json())["panels"]:
        for target in panel.get("targets", ()):
            named = set(re.findall(r"{{(\w+)}}", target["legendFormat"]))
            assert named <= labels_kept(target["expr"]), panel["title"]


def test_the_dashboards_variables_are_told(told: dict[str, Told]) -> None:
    """`label_values(metric, label)`."""
    for variable in json.loads(dashboard_json())["templating"]["list"]:
        if variable["type"] == "query":
            match = re.fullmatch(r"label_values\((\w+), (\w+)\)", variable["query"])
            assert match is not None
            assert match[2] in told[match[1]].labels | PROMETHEUS_OWN
