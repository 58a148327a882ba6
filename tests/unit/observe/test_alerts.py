"""The alerts, in Prometheus' own hands: `promtool` reads them, and plays series against them."""

from __future__ import annotations

import subprocess
from collections import defaultdict
from pathlib import Path

import pytest
import yaml

from gateway.observe.alerts import Limits, groups
from gateway.observe.rules import RUNBOOKS, Alert, alerts_of, prometheus_rule, rules_file
from gateway.observe.slo import Objective
from tests.unit.observe.cases import CASES
from tests.unit.observe.cases.case import Case

ALL = groups(Limits())
ALERTS = {alert.name: alert for alert in alerts_of(ALL)}


def promtool(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["promtool", *arguments], cwd=cwd, capture_output=True, text=True, timeout=120, check=False
    )


@pytest.mark.needs("promtool")
@pytest.mark.parametrize(
    "limits", [Limits(), Limits(missing_after=180, objective=Objective(5.0, 0.95), job='a\\.b"c')]
)
def test_prometheus_reads_every_rule(tmp_path: Path, limits: Limits) -> None:
    """Whatever was asked for on the command line."""
    made = groups(limits)
    (tmp_path / "rules.yaml").write_text(rules_file(made))
    done = promtool("check", "rules", "rules.yaml", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert f"{sum(len(group.rules) for group in made)} rules found" in done.stdout


@pytest.mark.needs("promtool")
@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.alert}: {case.when}")
def test_it_fires_when_it_should_and_only_then(tmp_path: Path, case: Case) -> None:
    """With its severity, its figures in words, and the way to its runbook."""
    (tmp_path / "rules.yaml").write_text(rules_file(ALL))
    (tmp_path / "case.yaml").write_text(yaml.safe_dump(_test_file(case, ALERTS[case.alert])))
    done = promtool("test", "rules", "case.yaml", cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr


def _test_file(case: Case, alert: Alert) -> dict[str, object]:
    firing = {
        "exp_labels": {"severity": alert.severity, **case.labels},
        "exp_annotations": {
            "summary": case.says,
            "description": alert.description,
            "runbook_url": f"{RUNBOOKS}#{case.alert.lower()}",
        },
    }
    asked = {
        "eval_time": case.at,
        "alertname": case.alert,
        "exp_alerts": [firing] if case.says else [],
    }
    series = [{"series": name, "values": values} for name, values in case.series.items()]
    return {
        "rule_files": ["rules.yaml"],
        "evaluation_interval": case.step,
        "tests": [{"interval": case.step, "input_series": series, "alert_rule_test": [asked]}],
    }


def test_each_alert_has_a_case_in_which_it_fires_and_one_in_which_it_does_not() -> None:
    found: dict[str, set[bool]] = defaultdict(set)
    for case in CASES:
        found[case.alert].add(bool(case.says))
    assert found == {name: {True, False} for name in ALERTS}


def test_an_alert_says_how_urgent_it_is_and_in_words_what_it_means() -> None:
    """No name twice; a summary of one line; a description of whole sentences."""
    assert len(ALERTS) == len(alerts_of(ALL))
    for alert in ALERTS.values():
        assert len(alert.summary) < 100, alert.name
        assert alert.description.endswith("."), alert.name


def test_the_kubernetes_form_has_the_same_groups() -> None:
    """A PrometheusRule of the operator."""
    rule = yaml.safe_load(prometheus_rule(ALL, "https://wiki.example/roomkeeper"))
    file = yaml.safe_load(rules_file(ALL, "https://wiki.example/roomkeeper"))
    assert (rule["apiVersion"], rule["kind"]) == ("monitoring.coreos.com/v1", "PrometheusRule")
    assert rule["spec"] == file
    assert file["groups"][0]["rules"][1]["annotations"]["runbook_url"] == (
        "https://wiki.example/roomkeeper#roomkeeperagentmissing"
    )
