"""Panel types of the dashboards, all with one Prometheus data source."""

from typing import TypeAlias

from grafana_foundation_sdk.builders import common as common_builders
from grafana_foundation_sdk.builders import dashboard as builders
from grafana_foundation_sdk.builders import prometheus, stat, table, timeseries
from grafana_foundation_sdk.models import common
from grafana_foundation_sdk.models import dashboard as models
from grafana_foundation_sdk.models.prometheus import PromQueryFormat

Panel: TypeAlias = stat.Panel | table.Panel | timeseries.Panel
Rows: TypeAlias = list[tuple[str, list[Panel]]]
"""Titles of rows, and their panels from left to right."""

Query: TypeAlias = tuple[str, str]
"""An expression and its legend."""

SOURCE = common.DataSourceRef(type_val="prometheus", uid="${datasource}")
HEIGHT, WIDTH = 8, 24


def dashboard(
    uid: str, title: str, description: str, rows: Rows, *labels: tuple[str, str]
) -> models.Dashboard:
    """Return a dashboard of rows of panels.

    ``labels`` are labels whose values panels repeat for, each with a metric that has them all.
    """
    built = (
        builders.Dashboard(title)
        .uid(uid)
        .description(description)
        .tags(["livesegments"])
        .refresh("10s")
        .time("now-1h", "now")
        .timezone("browser")
        .tooltip(models.DashboardCursorSync.CROSSHAIR)
        .with_variable(builders.DatasourceVariable("datasource").type("prometheus"))
        .link(
            builders.DashboardLink("Livesegments")
            .type(models.DashboardLinkType.DASHBOARDS)
            .tags(["livesegments"])
            .keep_time(True)
        )
    )
    for label, metric in labels:
        built = built.with_variable(
            builders.QueryVariable(label)
            .query(f"label_values({metric}, {label})")
            .datasource(SOURCE)
            .refresh(models.VariableRefresh.ON_DASHBOARD_LOAD)
            .multi(True)
            .include_all(True)
            .current(models.VariableOption(text="All", value="$__all", selected=True))
            .hide(models.VariableHide.HIDE_VARIABLE)
        )
    for name, panels in rows:
        built = built.with_row(builders.Row(name))
        for panel in panels:
            built = built.with_panel(panel.datasource(SOURCE).height(HEIGHT))
    return built.build()


def total(expression: str, by: str = "", legend: str = "", how: str = "sum") -> Query:
    """Return an aggregation over workers; its legend is that of its labels."""
    grouped = f"{how} by ({by}) " if by else how
    labels = " ".join(f"{{{{{label}}}}}" for label in by.split(", "))
    return f"{grouped}({expression})", legend or labels


def rate(metric: str, by: str = "", legend: str = "") -> Query:
    """Return how much a counter grows per second, over workers."""
    return total(f"rate(livesegments_{metric}[$__rate_interval])", by, legend)


def increase(
    metric: str, by: str = "", legend: str = "", how: str = "sum", over: str = "$__rate_interval"
) -> Query:
    """Return how much a counter grows in a time, over workers."""
    return total(f"increase(livesegments_{metric}[{over}])", by, legend, how)


def gauge(metric: str, by: str = "", legend: str = "", how: str = "max") -> Query:
    """Return a gauge over workers."""
    return total(f"livesegments_{metric}", by, legend, how)


def lines(
    title: str,
    unit: str,
    *queries: Query,
    width: int = 8,
    about: str = "",
    stacked: bool = False,
) -> timeseries.Panel:
    """Return a time series panel."""
    panel = (
        timeseries.Panel()
        .title(title)
        .description(about)
        .unit(unit)
        .span(width)
        .line_width(1)
        .fill_opacity(60 if stacked else 0)
        .show_points(common.VisibilityMode.NEVER)
        .legend(
            common_builders.VizLegendOptions()
            .display_mode(common.LegendDisplayMode.LIST)
            .placement(common.LegendPlacement.BOTTOM)
            .show_legend(True)
        )
        .tooltip(
            common_builders.VizTooltipOptions()
            .mode(common.TooltipDisplayMode.MULTI)
            .sort(common.SortOrder.DESCENDING)
        )
    )
    if stacked:
        panel = panel.stacking(common_builders.StackingConfig().mode(common.StackingMode.NORMAL))
    for letter, (expression, legend) in zip("ABCDEFGH", queries, strict=False):
        panel = panel.with_target(_query(letter, expression).range().legend_format(legend))
    return panel


def number(
    title: str, unit: str, expression: str, *, width: int = 4, about: str = ""
) -> stat.Panel:
    """Return a panel of one number: the latest value."""
    return (
        stat.Panel()
        .title(title)
        .description(about)
        .unit(unit)
        .span(width)
        .color_mode(common.BigValueColorMode.NONE)
        .graph_mode(common.BigValueGraphMode.AREA)
        .reduce_options(common_builders.ReduceDataOptions().calcs(["lastNotNull"]))
        .with_target(_query("A", expression).range())
    )


def matrix(
    title: str, unit: str, expression: str, *, row: str, column: str, width: int, about: str = ""
) -> table.Panel:
    """Return a table of an instant vector: one label as rows, another as columns."""
    return (
        table.Panel()
        .title(title)
        .description(about)
        .unit(unit)
        .decimals(0)
        .span(width)
        .with_target(_query("A", expression).instant().format(PromQueryFormat.TABLE))
        .with_transformation(
            models.DataTransformerConfig(
                id_val="groupingToMatrix",
                options={
                    "rowField": row,
                    "columnField": column,
                    "valueField": "Value",
                    "emptyValue": "zero",
                },
            )
        )
    )


def _query(letter: str, expression: str) -> prometheus.Dataquery:
    return prometheus.Dataquery().ref_id(letter).expr(expression).datasource(SOURCE)
