"""Runs side by side on a terminal."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from string import ascii_uppercase

from rich.cells import cell_len
from rich.table import Table

from ...reports.comparison_tables import (
    interval_ends,
    level_text,
    row_labels,
    row_scales,
    times_text,
)
from ...reports.format import Scale, setting
from ...reports.model import Comparison, MetricComparison, Ratio, Verdict
from .console import TerminalConsole, foreign

_SIGNS: dict[Verdict, str] = {"better": "+", "worse": "-", "same": "=", "inconclusive": "?"}
_STYLES: dict[Verdict, str] = {"better": "green", "worse": "red", "inconclusive": "dim"}
# Longer names are letters in a table that has no room for them.
_SHORT_NAME = 10
_LONGEST_END = len("0.0148 to")


@dataclass(frozen=True)
class _Layout:
    """places: of the runs that each table holds against the first. names: of all runs, as headings.
    words: whether a verdict is spelt, and not a sign alone."""

    places: tuple[tuple[int, ...], ...]
    names: tuple[str, ...]
    words: bool


def print_headline(comparison: Comparison) -> None:
    """What was found, in a sentence."""
    _print_headline(TerminalConsole(), comparison)


def print_comparison(comparison: Comparison) -> None:
    """Settings that differ, then every statistic with its ratio to the first run, then what that
    comes to."""
    console = TerminalConsole()
    layout, tables = _fitting(console, comparison)
    if layout.names != comparison.runs:
        for letter, name in zip(layout.names, comparison.runs, strict=True):
            base = " (baseline)" if name == comparison.baseline else ""
            console.print(f"[bold]{letter}[/]  {foreign(name)}{base}", soft_wrap=True)
        console.print()
    if comparison.differing_config:
        console.print(_settings(comparison, layout.names))
        console.print()
    _print_metrics(console, comparison, layout, tables)
    _print_headline(console, comparison)
    how = "" if comparison.between is None else f", by {comparison.between.how}"
    console.print(f"[dim]intervals[/] {foreign(level_text(comparison) + how)}", soft_wrap=True)
    for warning in comparison.warnings:
        console.print(f"[yellow]note[/] {foreign(warning)}")


def _print_headline(console: TerminalConsole, comparison: Comparison) -> None:
    console.print(f"[bold]{foreign(comparison.statement)}[/]")
    if comparison.undecided:
        console.print(foreign(comparison.undecided))


def _settings(comparison: Comparison, names: Sequence[str]) -> Table:
    table = Table("setting", *map(foreign, names), box=None, pad_edge=False)
    for one in comparison.differing_config:
        values = (setting(one.field, value) for value in one.values)
        table.add_row(*map(foreign, (one.field, *values)))
    return table


def _layouts(comparison: Comparison) -> Iterator[_Layout]:
    """The widest first."""
    every = tuple(range(1, len(comparison.runs)))
    each = tuple((at,) for at in every)
    full = comparison.runs
    is_short = max(map(cell_len, full)) <= _SHORT_NAME or len(full) > len(ascii_uppercase)
    short = full if is_short else tuple(ascii_uppercase[: len(full)])
    yield _Layout((every,), full, words=True)
    yield _Layout((every,), short, words=True)
    yield _Layout(each, short, words=True)
    yield _Layout(each, short, words=False)


def _fitting(console: TerminalConsole, comparison: Comparison) -> tuple[_Layout, list[Table]]:
    """The first layout that the terminal is wide enough for, or the narrowest, and its tables."""
    found: tuple[_Layout, list[Table]] | None = None
    for layout in _layouts(comparison):
        tables = [_metrics(comparison, layout, others) for others in layout.places]
        found = layout, tables
        if all(_width(console, one) <= console.width for one in tables):
            break
    assert found is not None
    return found


def _print_metrics(
    console: TerminalConsole, comparison: Comparison, layout: _Layout, tables: Sequence[Table]
) -> None:
    for others, table in zip(layout.places, tables, strict=True):
        if len(tables) > 1:
            name, base = layout.names[others[0]], layout.names[0]
            console.print(f"[bold]{foreign(name)} against {foreign(base)}[/]")
        console.print(table)
        console.print()
    if not layout.words:
        legend = [_styled(f"{sign} {verdict}", verdict) for verdict, sign in _SIGNS.items()]
        if any(ratio and ratio.alone for row in comparison.rows for ratio in row.ratios):
            legend.append("[dim]* alone[/]")
        console.print("   ".join(legend))


def _width(console: TerminalConsole, table: Table) -> int:
    """What the table takes where there is room."""
    return console.measure(table, options=console.options.update_width(10_000)).maximum


def _metrics(comparison: Comparison, layout: _Layout, others: Sequence[int]) -> Table:
    """others: places of the runs that are held against the first."""
    shown = (0, *others)
    table = Table(box=None, pad_edge=False)
    labels = row_labels(comparison.rows)
    longest_word = max((cell_len(word) for label in labels for word in label.split()), default=0)
    table.add_column("metric", min_width=longest_word)
    table.add_column("unit", no_wrap=True)
    for at in shown:
        table.add_column(foreign(layout.names[at]), justify="right", no_wrap=True)
        if at:
            table.add_column("ratio", justify="right", no_wrap=True)
            # In too narrow a terminal an interval breaks between its ends, and no name is cut.
            table.add_column("interval", no_wrap=layout.words, min_width=_LONGEST_END)
            table.add_column("verdict" if layout.words else "", no_wrap=True)
    rows = comparison.rows
    for label, row, scale in zip(labels, rows, row_scales(rows), strict=True):
        cells = [scale.number(row.values[0])]
        for at in others:
            cells += [scale.number(row.values[at]), *_ratio(row.ratios[at], words=layout.words)]
        table.add_row(foreign(label), foreign(_unit(row, scale)), *cells)
    return table


def _unit(row: MetricComparison, scale: Scale) -> str:
    """Nothing where the name says it: preemptions."""
    return "" if scale.unit == row.label.lower() else scale.unit


def _ratio(ratio: Ratio | None, *, words: bool) -> Iterator[str]:
    if ratio is None:
        yield from ("", "", "")
        return
    yield times_text(ratio.value, ratio.low, ratio.high)
    interval = ""
    if (ends := interval_ends(ratio)) is not None:
        interval = f"{ends[0]} to {ends[1]}"
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
