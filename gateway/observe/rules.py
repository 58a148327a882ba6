"""Prometheus' rules as values, and their two written forms: a rules file, and a PrometheusRule."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import yaml

RUNBOOKS = "docs/operations.md"
"""Where each alert has its entry, under an anchor that is its name in lower case."""


@dataclass(frozen=True, slots=True)
class Record:
    """A series that Prometheus computes once, for several rules."""

    name: str
    expr: str

    def written(self) -> dict[str, object]:
        return {"record": self.name, "expr": self.expr}


@dataclass(frozen=True, slots=True, kw_only=True)
class Alert:
    name: str
    expr: str
    """What is wrong; its value is the one that `summary` tells."""
    lasting: str = "0m"
    """For how long it must hold, in Prometheus' notation."""
    severity: Literal["page", "ticket"]
    """page: callers notice now, somebody gets up. ticket: within working hours."""
    summary: str
    """One line with the figures, as a Prometheus template."""
    description: str
    """What it means and what callers notice."""

    def written(self, runbooks: str) -> dict[str, object]:
        return {
            "alert": self.name,
            "expr": self.expr,
            "for": self.lasting,
            "labels": {"severity": self.severity},
            "annotations": {
                "summary": self.summary,
                "description": self.description,
                "runbook_url": f"{runbooks}#{self.name.lower()}",
            },
        }


@dataclass(frozen=True, slots=True)
class Group:
    """Rules that are computed one after the other, every `interval`."""

    name: str
    rules: Sequence[Record | Alert]
    interval: str = "30s"

    def written(self, runbooks: str) -> dict[str, object]:
        rules = [rule.written(runbooks) if isinstance(rule, Alert) else rule.written() for rule in self.rules]
        return {"name": self.name, "interval": self.interval, "rules": rules}


def alerts_of(groups: Sequence[Group]) -> list[Alert]:
    return [rule for group in groups for rule in group.rules if isinstance(rule, Alert)]


def rules_file(groups: Sequence[Group], runbooks: str = RUNBOOKS) -> str:
    """What Prometheus' `rule_files` names."""
    return _yaml({"groups": [group.written(runbooks) for group in groups]})


def prometheus_rule(groups: Sequence[Group], runbooks: str = RUNBOOKS) -> str:
    """The same as the Prometheus operator's resource."""
    return _yaml(
        {
            "apiVersion": "monitoring.coreos.com/v1",
            "kind": "PrometheusRule",
            "metadata": {"name": "roomkeeper", "labels": {"app.kubernetes.io/name": "roomkeeper"}},
            "spec": {"groups": [group.written(runbooks) for group in groups]},
        }
    )


class _Dumper(yaml.SafeDumper):
    """Texts of several lines as blocks, so that an expression can be read."""


def _text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    style = "|" if "\n" in text else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


_Dumper.add_representer(str, _text)


def _yaml(content: object) -> str:
    return yaml.dump(content, Dumper=_Dumper, sort_keys=False, width=110, allow_unicode=True)
