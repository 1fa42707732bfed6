"""What is said about a sweep, in reading order: what was best, the trade-off, every cell."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from .comparison_tables import ratio_text
from .format import number, plural, quantity, scale_of
from .model import Axis, Badge, Cell, Chart, KeyFigure, Note, Panel, Report, Section, Series, Table
from .palette import run_role
from .sweep_headline import AT_ONCE, label_of_quantity, rate_text, setting_text, verdict
from .sweep_model import SaturationPoint, SweepCell, SweepTable
from .tables import glossary, table

WHOLE = Badge("Every cell counts", "✓", "good")
INCOMPLETE = Badge("Cells left out", "!", "caution")
RATE = "request-rate"
# More lines than this cannot be told apart.
_MOST_LINES = 6
_LATENCIES = ("ttft.p99", "tpot.mean", "e2el.p50")
_SPEED = "output_throughput.window"


def sweep_report(sweep: SweepTable) -> Report:
    """Everything a report says about a sweep."""
    left_out = [cell for cell in sweep.cells if cell.failure]
    return Report(
        title=f"Sweep of {' × '.join(sweep.options)}" if sweep.options else "Sweep",
        subtitle=_subtitle(sweep),
        badge=WHOLE if sweep.is_whole else INCOMPLETE,
        verdict=verdict(sweep),
        statements=tuple(_statements(sweep)),
        figures=tuple(_key_figures(sweep)),
        notes=(
            *(
                Note(f"the search ended early: {one.failure}", "caution")
                for one in sweep.saturation
                if one.failure
            ),
            *(Note(f"{one.name} does not count: {one.failure}", "caution") for one in left_out),
            *(
                Note(f"{one.name} was not followed, and its numbers count for nothing else: {why}")
                for one in sweep.cells
                if (why := one.refused)
            ),
        ),
        sections=tuple(section for section in _sections(sweep) if section.parts),
        premise=simulated_text(sweep),
        footer=f"llmbench sweep … -- {sweep.command}",
    )


def _subtitle(sweep: SweepTable) -> str:
    text = f"{plural(len(sweep.cells), 'cell')} of: {sweep.command}"
    systems = systems_text(sweep)
    return f"{text} · {systems}" if systems else text


def systems_text(sweep: SweepTable) -> str:
    """`llama-3-8b, bfloat16 on a simulated h100`, and others where these were varied."""
    return "; ".join(one.text for one in sweep.systems)


def simulated_text(sweep: SweepTable) -> str:
    """What of a sweep was not measured, and how wrong that may be; empty if all was."""
    by_error: dict[str, list[str]] = {}
    for one in sweep.systems:
        if one.error:
            by_error.setdefault(one.error, []).append(one.text)
    return " ".join(
        f"Simulated, not measured: {'; '.join(texts)}. How wrong it may be: {error}."
        for error, texts in by_error.items()
    )


def _statements(sweep: SweepTable) -> Iterator[str]:
    if _repeated(sweep):
        yield "A point's numbers here are the medians of its repeats."
    if any(lead.alike or lead.next for lead in sweep.leads):
        yield _how_sure(sweep)
    if sweep.criterion:
        yield f"A rate is followed if {sweep.criterion}."
    if any(point.outcome == "always" for point in sweep.saturation):
        yield (
            "All requests at once are a burst and not a rate: with more of them there is a highest "
            "one that is followed."
        )
    for point in sweep.saturation:
        if len(sweep.saturation) > 1:
            yield f"{setting_text(point.settings)}: {rate_text(point)}."
        if point.exceptions:
            yield (
                f"{setting_text(point.settings)} has no single threshold: {_contradicting(point)} "
                "requests/s contradict it."
            )


def _contradicting(point: SaturationPoint) -> str:
    return ", ".join(AT_ONCE if rate is None else number(rate) for rate in point.exceptions)


def _key_figures(sweep: SweepTable) -> Iterator[KeyFigure]:
    """Each quantity's best point, and how far the one that differs most is from it."""
    by_name = {one.name: one for one in sweep.quantities}
    for lead in sweep.leads:
        if (one := by_name.get(lead.quantity)) is None:
            continue
        text, _, unit = quantity(lead.value, one.unit).partition(" ")
        best = f"best: {setting_text(lead.settings)}"
        if lead.alike:
            best = f"not told apart: {setting_text(lead.settings)}, "
            best += plural(len(lead.alike), "other point")
        far = ""
        if lead.value and lead.farthest is not None:
            far = f", {ratio_text(lead.farthest / lead.value)}× at worst"
        yield KeyFigure(label_of_quantity(one), text, unit, f"{best}{far}")


def _how_sure(sweep: SweepTable) -> str:
    over = (
        "repeats" if any(lead.repeated for lead in sweep.leads) else "requests of one run of each"
    )
    return (
        f"Points are told apart where 95 % intervals of their ratios to the best, over {over}, for "
        "all of them together, leave out 1 and reach beyond 2 % of it."
    )


def _sections(sweep: SweepTable) -> tuple[Section, ...]:
    charts = (_trade_off(sweep, name) for name in _LATENCIES)
    return (
        Section("trade-off", "Throughput against latency", tuple(filter(None, charts))),
        Section("saturation", "Saturation", tuple(filter(None, [_saturation_table(sweep)]))),
        Section("cells", "Every cell", (cells_table(sweep),)),
        Section("glossary", "Glossary", (glossary(),)),
    )


def _trade_off(sweep: SweepTable, latency: str) -> Chart | None:
    """A line for each point of the grid over growing rates, or a named point a cell."""
    by_name = {one.name: one for one in sweep.quantities}
    if latency not in by_name or _SPEED not in by_name:
        return None
    cells = [
        cell
        for cell in sweep.counted
        if cell.values[latency] is not None and cell.values[_SPEED] is not None
    ]
    if len(cells) < 2:
        return None
    y = by_name[latency]
    scale = scale_of(y.unit, [cell.values[latency] for cell in cells])
    label = label_of_quantity(y)
    speeds = [cell.values[_SPEED] or 0.0 for cell in cells]
    return Chart(
        id=f"trade-off-{latency.replace('.', '-')}",
        title=f"Output throughput against {label}",
        reading="Further right is faster, lower is sooner.",
        x=Axis("Output throughput", "tokens/s", high=1.15 * max(speeds)),
        panels=(Panel(Axis(label, scale.unit), _lines(cells, latency, scale.factor)),),
    )


def _lines(cells: Sequence[SweepCell], latency: str, factor: float) -> tuple[Series, ...]:
    groups: dict[str, list[SweepCell]] = {}
    for cell in cells:
        settings = {name: value for name, value in cell.settings.items() if name != RATE}
        groups.setdefault(setting_text(settings), []).append(cell)
    swept = any(RATE in cell.settings for cell in cells)
    if not swept or len(groups) > _MOST_LINES:
        groups = {"cells": list(cells)}
    return tuple(
        _series(name, at, members, latency, factor)
        for at, (name, members) in enumerate(groups.items())
    )


def _series(name: str, at: int, cells: Sequence[SweepCell], latency: str, factor: float) -> Series:
    swept = all(RATE in cell.settings for cell in cells) and name != "cells"
    ordered = (
        sorted(cells, key=lambda cell: float(cell.settings.get(RATE, "0"))) if swept else cells
    )
    return Series(
        name,
        run_role(at),
        "line" if swept else "point",
        tuple(cell.values[_SPEED] or 0.0 for cell in ordered),
        tuple(factor * (cell.values[latency] or 0.0) for cell in ordered),
        tuple(cell.name for cell in ordered),
    )


def _saturation_table(sweep: SweepTable) -> Table | None:
    if not sweep.saturation:
        return None
    return table(
        "saturation",
        "Highest rate that is followed",
        ("Setting", "Followed (requests/s)", "Not followed (requests/s)", "Contradicted at"),
        [
            (
                setting_text(point.settings),
                number(point.holds_per_s),
                AT_ONCE
                if point.outcome == "found" and point.fails_per_s is None
                else number(point.fails_per_s),
                _contradicting(point) or "—",
            )
            for point in sweep.saturation
        ],
    )


def cells_table(sweep: SweepTable) -> Table:
    """A row a cell; each quantity in one unit for all."""
    scales = {
        one.name: scale_of(one.unit, [cell.values[one.name] for cell in sweep.cells])
        for one in sweep.quantities
    }
    heads = [_head(label_of_quantity(one), scales[one.name].unit) for one in sweep.quantities]
    rows: list[tuple[str | Cell, ...]] = [
        (
            *(cell.settings.get(option, "—") for option in sweep.options),
            *([str(cell.repeat)] if _repeated(sweep) else []),
            *(scales[one.name].number(cell.values[one.name]) for one in sweep.quantities),
            _mark(cell),
        )
        for cell in sweep.cells
    ]
    repeat = ("Repeat",) if _repeated(sweep) else ()
    titles = (*sweep.options, *repeat, *heads, "")
    return table("cells-of-sweep", "Every cell", titles, rows, words=(*sweep.options, ""))


def _head(label: str, unit: str) -> str:
    """Without a unit that the label says: preemptions."""
    return f"{label} ({unit})" if unit and unit != label.lower() else label


def _mark(cell: SweepCell) -> Cell:
    if cell.failure:
        return Cell("does not count", "caution")
    return Cell("not followed" if cell.refused else "✓", "quiet")


def _repeated(sweep: SweepTable) -> bool:
    return any(cell.repeat > 1 for cell in sweep.cells)
