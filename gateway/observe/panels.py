"""Grafana's panels as this dashboard uses them: lines over time, and figures of now."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from grafana_foundation_sdk.builders.common import (
    ReduceDataOptions,
    StackingConfig,
    VizLegendOptions,
    VizTooltipOptions,
)
from grafana_foundation_sdk.builders.dashboard import ThresholdsConfig
from grafana_foundation_sdk.builders.prometheus import Dataquery
from grafana_foundation_sdk.builders.stat import Panel as Stat
from grafana_foundation_sdk.builders.timeseries import Panel as TimeSeries
from grafana_foundation_sdk.cog.builder import Builder
from grafana_foundation_sdk.cog.variants import Dataquery as AnyQuery
from grafana_foundation_sdk.models.common import (
    BigValueColorMode,
    BigValueGraphMode,
    LegendDisplayMode,
    LegendPlacement,
    SortOrder,
    StackingMode,
    TooltipDisplayMode,
)
from grafana_foundation_sdk.models.dashboard import DataSourceRef, Threshold, ThresholdsMode

WIDTH = 24
"""Of a dashboard, in Grafana's columns."""
SOURCE = DataSourceRef(type_val="prometheus", uid="${datasource}")
HERE = 'namespace=~"$namespace"'
"""What the dashboard's reader chose, as a matcher."""
AGENT = f'{HERE},agent=~"$agent"'
RATE = "$__rate_interval"
SECONDS, BYTES, PER_SECOND, SHARE, NUMBER = "s", "bytes", "cps", "percentunit", "short"

Panel = TimeSeries | Stat


@dataclass(frozen=True, slots=True)
class Ask:
    expr: str
    legend: str
    """`{{label}}` stands for a label's value."""


def total(gauge: str, legend: str = "", *, by: str = "") -> Ask:
    """Of all processes together; of a gauge named without our prefix. By a label the legend is its value."""
    return _sum(f"roomkeeper_{gauge}{{{HERE}}}", legend, by)


def rate(counter: str, legend: str = "", *, by: str = "") -> Ask:
    """How often a second; the same of a counter."""
    return _sum(f"rate(roomkeeper_{counter}{{{HERE}}}[{RATE}])", legend, by)


def by_agent(gauge: str, legend: str = "{{agent}}") -> Ask:
    """What the leader tells of each agent's name; when the lead changes, two do for a moment."""
    return Ask(f"max by (agent) (roomkeeper_{gauge}{{{AGENT}}})", legend)


def _sum(what: str, legend: str, by: str) -> Ask:
    return Ask(f"sum by ({by}) ({what})" if by else f"sum({what})", legend or f"{{{{{by}}}}}")


def lines(
    title: str,
    says: str,
    *asks: Ask,
    unit: str = NUMBER,
    width: int = 8,
    stacked: bool = False,
) -> TimeSeries:
    """Values over time, from zero up."""
    panel = (
        TimeSeries()
        .title(title)
        .description(says)
        .datasource(SOURCE)
        .unit(unit)
        .min(0)
        .span(width)
        .height(8)
        .fill_opacity(30 if stacked else 8)
        .targets(_queries(asks))
        .legend(
            VizLegendOptions()
            .display_mode(LegendDisplayMode.LIST)
            .placement(LegendPlacement.BOTTOM)
            .show_legend(True)
        )
        .tooltip(VizTooltipOptions().mode(TooltipDisplayMode.MULTI).sort(SortOrder.DESCENDING))
    )
    return panel.stacking(StackingConfig().mode(StackingMode.NORMAL)) if stacked else panel


def figure(
    title: str,
    says: str,
    ask: Ask,
    *,
    unit: str = NUMBER,
    warn: float | None = None,
    bad: float | None = None,
    width: int = 4,
) -> Stat:
    """The value of now; yellow from `warn` and red from `bad` upwards."""
    steps = [Threshold(None, "green")]
    steps += [
        Threshold(value, colour) for value, colour in ((warn, "yellow"), (bad, "red")) if value is not None
    ]
    return (
        Stat()
        .title(title)
        .description(says)
        .datasource(SOURCE)
        .unit(unit)
        .span(width)
        .height(4)
        .no_value("-")
        .color_mode(BigValueColorMode.VALUE)
        .graph_mode(BigValueGraphMode.AREA)
        .reduce_options(ReduceDataOptions().calcs(["lastNotNull"]))
        .thresholds(ThresholdsConfig().mode(ThresholdsMode.ABSOLUTE).steps(steps))
        .targets(_queries([ask]))
    )


def rates(title: str, says: str, counter: str, by: str = "") -> TimeSeries:
    """How often a second; of a counter named without our prefix."""
    return lines(title, says, rate(counter, "" if by else title.lower(), by=by), unit=PER_SECOND)


def _queries(asks: Sequence[Ask]) -> list[Builder[AnyQuery]]:
    return [
        Dataquery().expr(ask.expr).legend_format(ask.legend).ref_id(chr(ord("A") + place)).range()
        for place, ask in enumerate(asks)
    ]
