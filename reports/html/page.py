"""A `Report` as one self-contained page: style, charts and plotly.js are inside it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup
from plotly.offline import get_plotlyjs

from .. import palette
from ..chart_table import chart_table
from ..format import listed, plural
from ..model import Chart, Note, Report, Table
from .figure import figure, keys

_HERE = Path(__file__).parent
# Of more notes than the first number the second is shown.
_MOST_NOTES, _MOST_SHOWN = 3, 2
# Of a table beside a chart: columns, and characters of their titles.
_MOST_COLUMNS, _MOST_OF_TITLES = 7, 50
_BEFORE_UNIT = r"(?<=\d) (?=(?:µs|ms|s|min|h|%|B|[KMGT]iB)(?!\w))"
# "(0.58 to 2.38)", "(<0.01 to >100)", "[−7.5, −4]"
_IN_INTERVAL = r"(?<=\d) (?=to [<>]?\d)|(?<=\d to) (?=[<>]?\d)|(?<=,) (?=[<>+−]*\d[^][, ]*\])"
_UNBROKEN = re.compile(f"{_BEFORE_UNIT}|{_IN_INTERVAL}")


def render(report: Report) -> str:
    """A page that loads nothing: its content security policy forbids every request."""
    environment = Environment(
        loader=FileSystemLoader(_HERE),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["whole"] = whole
    figures = {chart.id: figure(chart) for chart in report.charts}
    notes, further_notes = parted(report.notes)
    return environment.get_template("report.html.j2").render(
        report=report,
        notes=notes,
        further_notes=further_notes,
        stacked=any(_is_wide(part) for part in report.overview),
        figures=figures,
        heights={chart_id: drawn["layout"]["height"] for chart_id, drawn in figures.items()},
        themes={ground: palette.theme(ground) for ground in ("light", "dark")},
        is_chart=_is_chart,
        keys_of=keys,
        data_of=chart_table,
        style=Markup((_HERE / "report.css").read_text(encoding="utf-8")),
        script=Markup((_HERE / "charts.js").read_text(encoding="utf-8")),
        plotly=Markup(get_plotlyjs()),
    )


class Further(NamedTuple):
    """Notes that are folded away. said: how many of which kind."""

    said: str
    notes: tuple[Note, ...]


def parted(notes: Sequence[Note]) -> tuple[tuple[Note, ...], Further | None]:
    """What stands above the first section, and what is folded: a first screen full of notes would
    keep the table and the chart that answer the question from it. Bad ones stand elsewhere, and
    the first are the worst."""
    shown = tuple(note for note in notes if note.tone != "bad")
    if len(shown) <= _MOST_NOTES:
        return shown, None
    rest = shown[_MOST_SHOWN:]
    cautions = sum(note.tone == "caution" for note in rest)
    said = [
        *([f"{plural(cautions, 'more caution')}"] if cautions else []),
        *([plural(len(rest) - cautions, "note")] if len(rest) > cautions else []),
    ]
    return shown[:_MOST_SHOWN], Further(listed(said), rest)


def whole(text: str) -> str:
    """Text whose lines never break between a number and its unit, nor within an interval."""
    return _UNBROKEN.sub("\u00a0", text)


def _is_wide(part: Chart | Table) -> bool:
    """Whether a table leaves no room for a chart beside it."""
    return isinstance(part, Table) and (
        len(part.columns) > _MOST_COLUMNS
        or sum(len(column.title) for column in part.columns) > _MOST_OF_TITLES
    )


def _is_chart(part: Chart | Table) -> bool:
    return isinstance(part, Chart)
