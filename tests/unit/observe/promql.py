"""What an expression of PromQL asks for, by a parser of PromQL."""

from __future__ import annotations

import re
from dataclasses import dataclass

import promql_parser as promql

GRAFANA = {"$__rate_interval": "5m", "$namespace": ".*", "$agent": ".*"}
"""What Grafana puts in place of its variables."""


@dataclass(frozen=True, slots=True)
class Asked:
    """One selector."""

    name: str
    matchers: tuple[tuple[str, str], ...]
    """Label and value, or values by a regular expression, `ok|failed`."""


def asked(expression: str) -> list[Asked]:
    """All selectors; raises ValueError when it is no PromQL."""
    return [
        Asked(node.name or "", tuple((m.name, m.value) for m in node.matchers.matchers))
        for node in _nodes(expression)
        if isinstance(node, promql.VectorSelector)
    ]


def words(pattern: str) -> list[str]:
    """The values that a matcher names one by one; none where it is a real pattern."""
    return pattern.split("|") if re.fullmatch(r"\w+(\|\w+)*", pattern) else []


def labels_kept(expression: str) -> set[str]:
    """By which labels it groups, anywhere in it."""
    return {
        label
        for node in _nodes(expression)
        if isinstance(node, promql.AggregateExpr) and node.modifier is not None
        for label in node.modifier.labels
    }


def _nodes(expression: str) -> list[promql.Expr]:
    for variable, value in GRAFANA.items():
        expression = expression.replace(variable, value)
    nodes: list[promql.Expr] = []
    promql.walk(promql.parse(expression), nodes.append)
    return nodes
