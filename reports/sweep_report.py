"""What is said about a sweep, in reading order: what was best, the trade-off, every cell."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from statistics import median

from .comparison_tables import ratio_text
from .effect_text import response_label
from .format import number, plural, quantity, scale_of
from .glossary import in_sentence
from .model import Axis, Badge, Cell, Chart, KeyFigure, Note, Panel, Report, Section, Series, Table
from .palette import run_role
from .sweep_model import SaturationPoint, SweepCell, SweepQuantity, SweepTable
from .tables import glossary, table

WHOLE = Badge("Every cell counts", "✓", "good")
INCOMPLETE = Badge("Cells left out", "!", "caution")
RATE = "request-rate"
_AT_ONCE = "all at once"
# More lines than this cannot be told apart.
_MOST_LINES = 6
_HEADLINES = ("output_throughput.window", "ttft.p99", "tpot.mean", "e2el.p50", "kv.waste_share")
_LATENCIES = ("ttft.p99", "tpot.mean", "e2el.p50")
_SPEED = "output_throughput.window"


def sweep_report(sweep: SweepTable) -> Report:
    """Everything a report says about a sweep."""
    left_out = [cell for cell in sweep.cells if cell.failure]
    return Report(
        title=f"Sweep of {' × '.join(sweep.options)}" if sweep.options else "Sweep",
        subtitle=_subtitle(sweep),
        badge=WHOLE if sweep.is_whole else INCOMPLETE,
        verdict=_verdict(sweep),
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


def setting_text(settings: Mapping[str, str]) -> str:
    """`engine paged, request-rate 2`."""
    return ", ".join(f"{option} {value}" for option, value in settings.items()) or "the run"


def rate_text(point: SaturationPoint) -> str:
    """`follows 4.2 requests/s, not 4.3`."""
    if point.outcome == "never":
        return f"follows no rate: not even {quantity(point.fails_per_s, 'requests/s')}"
    if point.outcome == "always":
        return "follows any rate with so few requests: all at once, too"
    followed = f"follows {quantity(point.holds_per_s, 'requests/s')}"
    missed = _AT_ONCE if point.fails_per_s is None else number(point.fails_per_s)
    if point.outcome == "unknown":
        known = [followed] if point.holds_per_s is not None else []
        if point.fails_per_s is not None:
            known.append(f"not {missed}")
        return "has no highest rate that is known" + (f": {', '.join(known)}" if known else "")
    return f"{followed}, not {missed}"


def label_of_quantity(one: SweepQuantity) -> str:
    return response_label(one.id, one.stat)


def _verdict(sweep: SweepTable) -> str:
    if sweep.saturation:
        # All at once, which `always` holds, is above any rate.
        best = max(
            sweep.saturation,
            key=lambda one: (
                one.outcome == "always",
                one.outcome != "unknown",
                one.holds_per_s or 0,
            ),
        )
        alike = [one for one in sweep.saturation if one.outcome == best.outcome == "always"]
        if len(alike) > 1:
            names = " and ".join(setting_text(one.settings) for one in alike)
            return f"{names}: each {rate_text(best)}."
        where = setting_text(best.settings) if best.settings else "It"
        return f"{where} {rate_text(best)}."
    told = [
        f"{word} {in_sentence(label_of_quantity(one))} "
        f"{quantity(best.values[one.name], one.unit)} with {setting_text(best.settings)}"
        for word, one, best in _best(sweep)
    ]
    return (
        f"{told[0][0].upper()}{'; '.join(told)[1:]}." if told else "No cell has a run that counts."
    )


def _best(sweep: SweepTable) -> Iterator[tuple[str, SweepQuantity, SweepCell]]:
    """Highest throughput, lowest latencies: of the points that count."""
    for one in sweep.quantities:
        known = [cell for cell in _points(sweep) if cell.values[one.name] is not None]
        if one.name not in _HEADLINES[:3] or not known or one.better == "none":
            continue
        choose = max if one.better == "higher" else min
        word = "highest" if one.better == "higher" else "lowest"
        yield word, one, choose(known, key=lambda cell: cell.values[one.name] or 0.0)


def _points(sweep: SweepTable) -> list[SweepCell]:
    """A cell a point of the grid, with the medians of its repeats that count: the best of all
    repeats would be the luckiest."""
    repeats: dict[tuple[tuple[str, str], ...], list[SweepCell]] = {}
    for cell in sweep.counted:
        repeats.setdefault(tuple(cell.settings.items()), []).append(cell)
    return [
        replace(cells[0], values={one.name: _median(cells, one.name) for one in sweep.quantities})
        for cells in repeats.values()
    ]


def _median(cells: Sequence[SweepCell], quantity: str) -> float | None:
    known = [value for cell in cells if (value := cell.values[quantity]) is not None]
    return median(known) if known else None


def _statements(sweep: SweepTable) -> Iterator[str]:
    if _repeated(sweep):
        yield "A point's numbers here are the medians of its repeats."
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
    return ", ".join(_AT_ONCE if rate is None else number(rate) for rate in point.exceptions)


def _key_figures(sweep: SweepTable) -> Iterator[KeyFigure]:
    """Each headline's best point, and how far the worst is from it."""
    for one in sweep.quantities:
        known = {
            setting_text(cell.settings): value
            for cell in _points(sweep)
            if (value := cell.values[one.name]) is not None
        }
        if one.name not in _HEADLINES or not known or one.better == "none":
            continue
        choose = max if one.better == "higher" else min
        best = choose(known, key=known.__getitem__)
        other = (min if choose is max else max)(known.values())
        text, _, unit = quantity(known[best], one.unit).partition(" ")
        far = f", {ratio_text(other / known[best])}× at worst" if known[best] else ""
        yield KeyFigure(label_of_quantity(one), text, unit, f"best: {best}{far}")


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
                _AT_ONCE
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
