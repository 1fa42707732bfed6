"""`llmbench history`: what became of the numbers of one experiment over many runs."""

from __future__ import annotations

import shlex
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from .console import TerminalConsole, foreign, numbers
from .exits import say
from .figures import Figures, draw
from .output import AsJson, write_texts

if TYPE_CHECKING:
    from ...reports.history_model import History, Series, Trend

EPILOG = "\n\n".join(
    (
        "[bold]Examples[/]",
        "llmbench history runs/nightly   [dim]every run below the directory[/]",
        "llmbench history runs/nightly --metric ttft.p99 --metric kv.waste_share",
        "llmbench history runs/nightly --out runs/history   [dim]history.html, .md and .json[/]",
    )
)
_BARS = "▁▂▃▄▅▆▇█"
_STYLES = {"better": "green", "worse": "red"}
# Longer ones are cut from the left: what is new is on the right.
_WIDEST = 40
# Permutations are as many as it is small: for twelve quantities 120 000 of each.
_LEAST_SIGNIFICANCE = 0.001


def history(
    runs: Annotated[
        list[Path], typer.Argument(help="Directories; every run at or below them is read.")
    ],
    metric: Annotated[
        list[str] | None,
        typer.Option(
            help="A quantity as METRIC.STAT, such as ttft.p99. Repeat it for more. "
            "Default: latencies, throughput, waste and quality."
        ),
    ] = None,
    significance: Annotated[
        float,
        typer.Option(
            help="Chance of calling any step that is not there in what is measured of a series, "
            "at least 0.001."
        ),
    ] = 0.01,
    out: Annotated[
        Path | None,
        typer.Option(
            help="Write history.html, .md and .json into this directory.",
            rich_help_panel="Output",
        ),
    ] = None,
    figures: Figures = None,
    as_json: AsJson = False,
) -> None:
    """Show the trend of each quantity over stored runs, and where it stepped to another level.

    Runs of the same settings, requests and hardware form a series, in order of time; simulated
    ones, which record none, in the order of the command line and of their names. Runs that are not
    valid are left out and named; those that are alone of their kind are counted.
    """
    from ...engines.errors import ConfigError
    from ..comparison.quantities import find_quantity
    from ..history.series import find_runs
    from ..history.trend import DEFAULT, history_of
    from ..rendering import history_reports
    from ..storage.beside_runs import check_reports_directory
    from .progress import watching

    if out is not None:
        check_reports_directory(out)
    if not _LEAST_SIGNIFICANCE <= significance < 1:
        raise ConfigError("significance", significance, f"{_LEAST_SIGNIFICANCE} to less than 1")
    # Each once, by whatever name: twice, it would be judged as two, and harder.
    quantities = list(dict.fromkeys(find_quantity("metric", name) for name in metric or DEFAULT))
    found, left_out = find_runs(runs)
    command = shlex.join(["llmbench", *sys.argv[1:]])
    with watching(quiet=as_json) as watch:
        told = history_of(
            found,
            left_out,
            quantities,
            significance=significance,
            command=command,
            stage=watch.stage,
        )
    if out is not None:
        write_texts(out, history_reports(told))
    if figures is not None:
        from ...reports.history_report import history_report

        draw(history_report(told), figures)
    if as_json:
        from ..storage.json_text import json_text

        print(json_text(asdict(told)))
        return
    _print(told)
    if out is not None:
        say(f"\n[bold]report[/]  {foreign(out / 'history.html')}")


def _print(told: History) -> None:
    from ...reports.history_report import history_report
    from ...reports.history_text import alone_text, cautions

    for series in told.series:
        _print_series(series)
    say(f"[bold]{foreign(history_report(told).verdict)}[/]")
    for name, why in told.left_out:
        say(f"[yellow]left out[/] {foreign(f'{name}: {why}')}")
    for said in cautions(told):
        say(f"[yellow]{foreign(said)}[/]")
    if told.alone:
        say(f"[dim]{alone_text(told)} (--out and --json name them)[/]")


def _print_series(series: Series) -> None:
    from ...reports.format import scale_of
    from ...reports.history_text import judged_or_all, span_text

    console = TerminalConsole()
    table = numbers("", "", "first", "last", "steps", words=("", "steps"))
    for trend in series.trends:
        known = judged_or_all(trend)
        scale = scale_of(trend.unit, known)
        table.add_row(
            foreign(trend.label),
            sparkline(_judged(trend)),
            scale.quantity(known[0]),
            scale.quantity(known[-1]),
            _steps(trend, series),
        )
    console.print(f"[bold]{foreign(series.name)}[/], {foreign(span_text(series))}")
    console.print(table)
    console.print()


def _steps(trend: Trend, series: Series) -> str:
    """The last two steps; more are in the report."""
    from ...reports.history_text import change_text

    told = []
    for step in trend.steps[-2:]:
        style = _STYLES.get(step.verdict or "", "dim")
        where = foreign(series.runs[step.index].name)
        told.append(f"[{style}]{change_text(trend, step)}[/] at {where}")
    more = len(trend.steps) - len(told)
    return "; ".join([*([f"{more} before"] if more > 0 else []), *told])


def _judged(trend: Trend) -> tuple[float | None, ...]:
    """The values, with a blank where one enters no test."""
    return tuple(None if at in trend.left_out else value for at, value in enumerate(trend.values))


def sparkline(values: tuple[float | None, ...]) -> str:
    """A bar a value, the lowest to the highest; a blank where there is none."""
    shown = values[-_WIDEST:]
    known = [value for value in shown if value is not None]
    if not known:
        return ""
    low, span = min(known), max(known) - min(known)
    return "".join(
        " "
        if value is None
        else _BARS[round((value - low) / span * (len(_BARS) - 1)) if span else 0]
        for value in shown
    )
