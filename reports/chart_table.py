"""The numbers behind a chart, for readers who cannot or would rather not see it."""

from __future__ import annotations

import math

from .format import count, number, plural
from .model import Cell, Chart, Column, Series, Table
from .thinning import even_rows

MOST_ROWS = 40


def chart_table(chart: Chart) -> Table:
    """A table of what a chart shows: its own, else side by side where all series share x, else in
    turn."""
    if chart.data is not None:
        return chart.data
    series = chart.series
    if any(one.mark == "bar" for one in series):
        return _bars(chart)
    if any(one.mark == "interval" for one in series):
        return _intervals(chart)
    if any(one.mark == "named" for one in series):
        return _named(chart)
    if len({one.x for one in series}) == 1:
        return _side_by_side(chart)
    return _in_turn(chart)


def _side_by_side(chart: Chart) -> Table:
    x = chart.series[0].x
    rows = even_rows(len(x), MOST_ROWS)
    heads = [
        f"{one.name} ({panel.y.unit})" if panel.y.unit else one.name
        for panel in chart.panels
        for one in panel.series
    ]
    return Table(
        id=f"{chart.id}-data",
        title=f"Numbers behind “{chart.title}”",
        columns=(Column(chart.x.label, True), *(Column(head, True) for head in heads)),
        rows=tuple((_number(x[at]), *(_number(one.y[at]) for one in chart.series)) for at in rows),
        note=_note(len(rows), len(x)),
    )


def _named(chart: Chart) -> Table:
    """A row for each name, in order of x, with what every panel shows of it."""
    x = {label: at for one in chart.series for label, at in zip(one.labels, one.x, strict=True)}
    columns = [
        {label: y for one in panel.series for label, y in zip(one.labels, one.y, strict=True)}
        for panel in chart.panels
    ]
    return Table(
        id=f"{chart.id}-data",
        title=f"Numbers behind “{chart.title}”",
        columns=(
            Column("Name"),
            Column(chart.x.label, True),
            *(Column(panel.y.label, True) for panel in chart.panels),
        ),
        rows=tuple(
            (
                Cell(label),
                _number(x[label]),
                *(_number(shown.get(label, math.nan)) for shown in columns),
            )
            for label in sorted(x, key=lambda name: x[name])
        ),
    )


def _in_turn(chart: Chart) -> Table:
    rows: list[tuple[Cell, ...]] = []
    total = 0
    most = max(10, MOST_ROWS // len(chart.series))
    for panel in chart.panels:
        for one in panel.series:
            total += len(one.x)
            rows += (
                (Cell(_of(one, panel.y.title)), _number(one.x[at]), _number(one.y[at]))
                for at in even_rows(len(one.x), most)
            )
    units = {panel.y.label for panel in chart.panels}
    return Table(
        id=f"{chart.id}-data",
        title=f"Numbers behind “{chart.title}”",
        columns=(
            Column("Series"),
            Column(chart.x.label, True),
            Column(" / ".join(sorted(units)), True),
        ),
        rows=tuple(rows),
        note=_note(len(rows), total),
    )


def _of(series: Series, axis: str) -> str:
    return series.name if series.name == axis else f"{series.name}, {axis}"


def _bars(chart: Chart) -> Table:
    panel = chart.panels[0]
    heads = (panel.y.title, *(f"{one.name} ({chart.x.unit})" for one in panel.series))
    return Table(
        id=f"{chart.id}-data",
        title=f"Numbers behind “{chart.title}”",
        columns=tuple(Column(head, position > 0) for position, head in enumerate(heads)),
        rows=tuple(
            (Cell(category), *(_number(one.x[at]) for one in panel.series))
            for at, category in enumerate(panel.y.categories)
        ),
    )


def _intervals(chart: Chart) -> Table:
    panel = chart.panels[0]
    rows = sorted(
        (y, x, low, high, one.name)
        for one in panel.series
        for x, y, low, high in zip(one.x, one.y, one.low, one.high, strict=True)
    )
    return Table(
        id=f"{chart.id}-data",
        title=f"Numbers behind “{chart.title}”",
        columns=(
            Column(panel.y.title),
            *(Column(f"{head} ({chart.x.unit})", True) for head in ("Value", "Low", "High")),
            Column("What it is"),
        ),
        rows=tuple(
            (
                Cell(panel.y.categories[int(y)]),
                *(_number(value) for value in (x, low, high)),
                Cell(name),
            )
            for y, x, low, high, name in rows
        ),
    )


def _number(value: float) -> Cell:
    return Cell(number(value))


def _note(shown: int, total: int) -> str:
    if shown == total:
        return ""
    return (
        f"{count(shown)} of the {plural(total, 'point')} drawn, evenly apart; every number is in "
        "requests.parquet and steps.parquet."
    )
