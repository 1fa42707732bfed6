"""Runs side by side on a terminal."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Sequence

from rich.table import Table

from ...reports.comparison_tables import (
    interval_ends,
    level_text,
    ratio_text,
    row_label,
    row_labels,
    row_scales,
)
from ...reports.format import Scale, setting
from ...reports.model import Comparison, MetricComparison, Ratio, Verdict
from .console import TerminalConsole, foreign

_SIGNS: dict[Verdict, str] = {"better": "+", "worse": "-", "same": "=", "inconclusive": "?"}
_STYLES: dict[Verdict, str] = {"better": "green", "worse": "red", "inconclusive": "dim"}
# A run's name is broken here, at a hyphen if it has one.
_NAME_WIDTH = 10


def print_headline(comparison: Comparison) -> None:
    """What was found, in a sentence."""
    _print_headline(TerminalConsole(), comparison)


def print_comparison(comparison: Comparison) -> None:
    """Settings that differ, then every statistic with its ratio to the first run, then what that
    comes to."""
    console = TerminalConsole()
    if comparison.differing_config:
        console.print(_settings(comparison))
        console.print()
    _print_metrics(console, comparison)
    _print_headline(console, comparison)
    how = "" if comparison.between is None else f", by {comparison.between.how}"
    console.print(f"[dim]intervals[/] {foreign(level_text(comparison) + how)}", soft_wrap=True)
    for warning in comparison.warnings:
        console.print(f"[yellow]note[/] {foreign(warning)}")


def _print_headline(console: TerminalConsole, comparison: Comparison) -> None:
    console.print(f"[bold]{foreign(comparison.statement)}[/]")
    if comparison.undecided:
        console.print(foreign(comparison.undecided))


def _settings(comparison: Comparison) -> Table:
    heads = _heads([["setting"], *map(_name_lines, comparison.runs)])
    table = Table(*heads, box=None, pad_edge=False)
    for one in comparison.differing_config:
        values = (setting(one.field, value) for value in one.values)
        table.add_row(*map(foreign, (one.field, *values)))
    return table


def _print_metrics(console: TerminalConsole, comparison: Comparison) -> None:
    """All runs beside each other if the terminal is wide enough, and else one after the other;
    verdicts in words if they fit."""
    every = tuple(range(1, len(comparison.runs)))
    each = tuple((at,) for at in every)
    for places, words in (((every,), True), (each, True), (each, False)):
        tables = [_metrics(comparison, others, words=words) for others in places]
        if all(_width(console, one) <= console.width for one in tables):
            break
    for others, table in zip(places, tables, strict=True):
        if len(places) > 1:
            name, base = comparison.runs[others[0]], comparison.baseline
            console.print(f"[bold]{foreign(name)} against {foreign(base)}[/]")
        console.print(table)
        console.print()
    if not words:
        legend = [_styled(f"{sign} {verdict}", verdict) for verdict, sign in _SIGNS.items()]
        if any(ratio and ratio.alone for row in comparison.rows for ratio in row.ratios):
            legend.append("[dim]* alone[/]")
        console.print("   ".join(legend))


def _width(console: TerminalConsole, table: Table) -> int:
    """What the table takes where there is room."""
    return console.measure(table, options=console.options.update_width(10_000)).maximum


def _metrics(comparison: Comparison, others: Sequence[int], *, words: bool) -> Table:
    """others: places of the runs that are held against the first. words: whether a verdict is
    spelt, and not a sign alone."""
    shown = (0, *others)
    names = [_name_lines(comparison.runs[at]) for at in shown]
    verdict = "verdict" if words else ""
    several = len(others) > 1
    heads = [["metric"], ["unit"], *names]
    is_number = [False, False, *(True for _ in shown)]
    for name in names[1:]:
        heads += [[*name, "ratio"] if several else ["ratio"], ["interval"], [verdict]]
        is_number += [True, False, False]
    table = Table(box=None, pad_edge=False)
    for at, head in enumerate(_heads(heads)):
        table.add_column(head, justify="right" if is_number[at] else "left", no_wrap=at > 0)
    rows = comparison.rows
    for label, row, scale in zip(row_labels(rows), rows, row_scales(rows), strict=True):
        table.add_row(
            foreign(label),
            foreign(_unit(row, scale)),
            *(scale.number(row.values[at]) for at in shown),
            *(cell for at in others for cell in _ratio(row.ratios[at], words=words)),
        )
    return table


def _unit(row: MetricComparison, scale: Scale) -> str:
    """Nothing where the name says it: preemptions."""
    return "" if scale.unit == row_label(row).lower() else scale.unit


def _ratio(ratio: Ratio | None, *, words: bool) -> Iterator[str]:
    if ratio is None:
        yield from ("", "", "")
        return
    yield f"{ratio_text(ratio.value)}x"
    interval = ""
    if (ends := interval_ends(ratio)) is not None:
        interval = foreign(f"[{ends[0]}, {ends[1]}]")
    alone = (" [dim]alone[/]" if words else "[dim]*[/]") if ratio.alone else ""
    yield f"{interval}{alone}"
    if ratio.verdict is None:
        yield ""
        return
    sign = _SIGNS[ratio.verdict]
    yield _styled(f"{sign} {ratio.verdict}" if words else sign, ratio.verdict)


def _styled(text: str, verdict: Verdict) -> str:
    style = _STYLES.get(verdict)
    return f"[{style}]{text}[/]" if style else text


def _name_lines(name: str) -> list[str]:
    return textwrap.wrap(name, _NAME_WIDTH)


def _heads(heads: Sequence[Sequence[str]]) -> list[str]:
    """Headings of one line stand beside the last line of longer ones."""
    most = max(map(len, heads))
    return ["\n" * (most - len(head)) + "\n".join(map(foreign, head)) for head in heads]
