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
from ..ab_model import Ab
from ..ab_report import ab_report
from ..ablation_model import Ablation
from ..ablation_report import ablation_report
from ..capacity_model import Capacities
from ..capacity_report import capacity_report
from ..chart_table import chart_table
from ..claims_model import Claims
from ..claims_report import claims_report
from ..comparison_report import comparison_report
from ..format import listed, plural
from ..frontier_model import Frontier
from ..frontier_report import frontier_report
from ..history_model import History
from ..history_report import history_report
from ..model import Chart, Comparison, Note, Report, Run, Table
from ..repeats_model import RepeatsTable
from ..repeats_report import repeats_report
from ..run_report import run_report
from ..sweep_model import SweepTable
from ..sweep_report import sweep_report
from .figure import figure, keys

_HERE = Path(__file__).parent
# Of more notes than the first number the second is shown.
_MOST_NOTES, _MOST_SHOWN = 3, 2
# Of a table beside a chart: columns, and characters of their titles.
_MOST_COLUMNS, _MOST_OF_TITLES = 7, 50
_BEFORE_UNIT = r"(?<=\d) (?=(?:µs|ms|s|min|h|%|B|[KMGT]iB)(?!\w))"
# "(0.58 to 2.38)", "(<0.01 to >100)"
_IN_INTERVAL = r"(?<=\d) (?=to [<>]?\d)|(?<=\d to) (?=[<>]?\d)"
_UNBROKEN = re.compile(f"{_BEFORE_UNIT}|{_IN_INTERVAL}")


def render_run(run: Run) -> str:
    """The page about one run."""
    return render(run_report(run))


def render_comparison(runs: Sequence[Run], comparison: Comparison) -> str:
    """The page about runs side by side. runs: in the order of `comparison.runs`."""
    return render(comparison_report(runs, comparison))


def render_capacities(told: Capacities) -> str:
    """The page about the largest rates that hold an SLO."""
    return render(capacity_report(told))


def render_claims(claims: Claims) -> str:
    """The page about what people say."""
    return render(claims_report(claims))


def render_ab(ab: Ab) -> str:
    """The page about two sides that took turns."""
    return render(ab_report(ab))


def render_ablation(ablation: Ablation) -> str:
    """The page about a factorial."""
    return render(ablation_report(ablation))


def render_frontier(frontier: Frontier) -> str:
    """The page about methods of quantisation side by side."""
    return render(frontier_report(frontier))


def render_history(history: History) -> str:
    """The page about quantities over time."""
    return render(history_report(history))


def render_repeats(repeats: RepeatsTable) -> str:
    """The page about a repeated run."""
    return render(repeats_report(repeats))


def render_sweep(sweep: SweepTable) -> str:
    """The page about one command at many points."""
    return render(sweep_report(sweep))


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
