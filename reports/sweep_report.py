"""What is said about a sweep, in reading order: what was best, the trade-off, every cell."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from .comparison_tables import end_text, ratio_text, times_text
from .format import number, plural, quantity, scale_of
from .headline import PARTIAL
from .model import Badge, Cell, KeyFigure, Note, Report, Section, Table
from .simulated import premise_of
from .sweep_charts import NUM_REQUESTS, RATE, trade_offs
from .sweep_headline import (
    alike_text,
    setting_text,
    told_leads,
    values_text,
    verdict,
)
from .sweep_model import SweepCell, SweepLead, SweepRival, SweepTable
from .sweep_rates import SEARCHED_AGAIN, contradictions, rates_table
from .sweep_searches import by_point
from .tables import glossary, table

WHOLE = Badge("Every cell counts", "✓", "good")
INCOMPLETE = Badge("Cells left out", "!", "caution")
UNDECIDED = Badge("No point ahead", "?", "caution")
MEDIANS = "A point's numbers here are the medians of its repeats."
_MOST_FIGURES = 6
_MOST_NAMED = 3


def sweep_report(sweep: SweepTable) -> Report:
    """Everything a report says about a sweep."""
    left_out = [cell for cell in sweep.cells if cell.failure]
    return Report(
        title=_title(sweep),
        subtitle=_subtitle(sweep),
        badge=_badge(sweep),
        verdict=f"{_partial(sweep)}{verdict(sweep)}",
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
            *map(Note, _adjusted(sweep)),
        ),
        sections=tuple(section for section in _sections(sweep) if section.parts),
        premise=premise_of((one.text, one.error) for one in sweep.systems),
        footer=f"llmbench sweep … -- {sweep.command}",
    )


def _partial(sweep: SweepTable) -> str:
    """What comes before everything that is said of a sweep that did not come to its end."""
    if not sweep.interrupted:
        return ""
    return f"Partial: the sweep was interrupted, {sweep.interrupted}. So far: "


def _adjusted(sweep: SweepTable) -> Iterator[str]:
    """What was changed of the workload, once for all cells that say the same."""
    cells: dict[str, list[str]] = {}
    for cell in sweep.cells:
        for text in cell.adjustments:
            cells.setdefault(text, []).append(cell.name)
    for text, names in cells.items():
        whose = "every cell"
        if len(names) < len(sweep.cells):
            whose = f"{plural(len(names), 'cell')} ({_named(names)})"
        yield f"The workload was adjusted in {whose}: {text}."


def _named(names: Sequence[str]) -> str:
    rest = len(names) - _MOST_NAMED
    more = f" and {plural(rest, 'other')}" if rest > 0 else ""
    return f"{', '.join(names[:_MOST_NAMED])}{more}"


def _badge(sweep: SweepTable) -> Badge:
    """Green says that something was decided, and not only that every cell counts."""
    if sweep.interrupted:
        return PARTIAL
    if not sweep.is_whole:
        return INCOMPLETE
    told = () if sweep.saturation else told_leads(sweep)
    return UNDECIDED if told and all(lead.alike for lead in told) else WHOLE


def _title(sweep: SweepTable) -> str:
    searched = (RATE, NUM_REQUESTS) if sweep.saturation else ()
    varied = " × ".join(one for one in sweep.options if one not in searched)
    if sweep.saturation:
        return f"Highest request rate by {varied}" if varied else "Highest request rate"
    return f"Sweep of {varied}" if varied else "Sweep"


def _subtitle(sweep: SweepTable) -> str:
    text = f"{plural(len(sweep.cells), 'cell')} of: {sweep.command}"
    systems = systems_text(sweep)
    return f"{text} · {systems}" if systems else text


def systems_text(sweep: SweepTable) -> str:
    """`llama-3-8b, bfloat16 on a simulated h100`, and others where these were varied."""
    return "; ".join(one.text for one in sweep.systems)


def _statements(sweep: SweepTable) -> Iterator[str]:
    if sweep.is_repeated:
        yield SEARCHED_AGAIN if sweep.saturation else MEDIANS
    if any(lead.alike or lead.next for lead in sweep.leads):
        yield _how_sure(sweep)
    if sweep.criterion:
        yield f"A rate is followed if {sweep.criterion}."
    yield from contradictions(sweep)


def _key_figures(sweep: SweepTable) -> Iterator[KeyFigure]:
    """Each point's highest rate; of a grid, each quantity's best point, and how far the one that
    differs most is from it."""
    for point in by_point(sweep.saturation)[:_MOST_FIGURES]:
        if point.holds_per_s is not None:
            where = setting_text(point.settings) if point.settings else ""
            yield KeyFigure(
                "Highest rate followed" if point.outcome == "found" else "Followed so far",
                number(point.holds_per_s),
                point.unit,
                ": ".join(filter(None, (where, point.spread))),
            )
    by_name = {one.name: one for one in sweep.quantities}
    for lead in sweep.leads:
        if (one := by_name.get(lead.quantity)) is None:
            continue
        best = f"best: {setting_text(lead.settings)}"
        if lead.alike:
            best = f"not told apart: {setting_text(lead.settings)}, "
            best += plural(len(lead.alike), "other point")
        far = ""
        if lead.value and lead.farthest is not None:
            far = f", {ratio_text(lead.farthest / lead.value)}× at worst"
        text = quantity(lead.value, one.unit)
        yield KeyFigure.of(one.label, text, f"{best}{far}")


def _how_sure(sweep: SweepTable) -> str:
    over = (
        "repeats" if any(lead.repeated for lead in sweep.leads) else "requests of one run of each"
    )
    return (
        f"Points are told apart where 95 % intervals of their ratios to the best, over {over}, for "
        "all of them together, leave out 1 and reach beyond 2 % of it."
    )


def _sections(sweep: SweepTable) -> tuple[Section, ...]:
    return (
        Section("saturation", "Saturation", tuple(filter(None, [rates_table(sweep)]))),
        Section("best", "Best points", tuple(filter(None, [best_table(sweep)]))),
        Section("trade-off", "Throughput against latency", trade_offs(sweep)),
        Section("cells", "Every cell", (cells_table(sweep),)),
        Section("glossary", "Glossary", (glossary(),)),
    )


def best_table(sweep: SweepTable) -> Table | None:
    """Who leads by each quantity and by how much, or which points cannot be told apart and why."""
    by_name = {one.name: one for one in sweep.quantities}
    rows: list[tuple[str, ...]] = []
    for lead in sweep.leads:
        if (one := by_name.get(lead.quantity)) is None:
            continue
        label, shown = one.label, quantity(lead.value, one.unit)
        if lead.alike:
            reasons = {other.too_little for other in lead.alike if other.too_little}
            why = f": {'; '.join(sorted(reasons))}" if reasons else ""
            rows.append((label, alike_text(lead), shown, f"cannot be told apart{why}"))
        elif lead.next is None:
            rows.append((label, values_text(lead.settings), shown, "—"))
        else:
            rows.append((label, values_text(lead.settings), shown, _next_text(lead, lead.next)))
    if not rows:
        return None
    best = f"Best ({', '.join(sweep.leads[0].settings)})" if sweep.options else "Best"
    heads = ("Quantity", best, "Value", "Next")
    return table("best-points", "By each quantity", heads, rows, words=(best, "Next"))


def _next_text(lead: SweepLead, other: SweepRival) -> str:
    """`inflight, 4: 0.91× (0.88 to 0.94)`."""
    text = values_text(other.settings)
    if not lead.value:
        return text
    ratio = other.value / lead.value
    text += f": {times_text(ratio, other.low, other.high)}"
    if other.low is None or other.high is None:
        return text
    return f"{text} ({end_text(other.low, ratio)} to {end_text(other.high, ratio)})"


def cells_table(sweep: SweepTable) -> Table:
    """A row a cell; each quantity in one unit for all."""
    scales = {
        one.name: scale_of(one.unit, [cell.values[one.name] for cell in sweep.cells])
        for one in sweep.quantities
    }
    heads = [_head(one.label, scales[one.name].unit) for one in sweep.quantities]
    rows: list[tuple[str | Cell, ...]] = [
        (
            *(cell.settings.get(option, "—") for option in sweep.options),
            *([str(cell.repeat)] if sweep.is_repeated else []),
            *(scales[one.name].number(cell.values[one.name]) for one in sweep.quantities),
            _mark(cell, searched=bool(sweep.saturation)),
        )
        for cell in sweep.cells
    ]
    repeat = ("Repeat",) if sweep.is_repeated else ()
    titles = (*sweep.options, *repeat, *heads, "")
    return table("cells-of-sweep", "Every cell", titles, rows, words=(*sweep.options, ""))


def _head(label: str, unit: str) -> str:
    """Without a unit that the label says: preemptions."""
    return f"{label} ({unit})" if unit and unit != label.lower() else label


def _mark(cell: SweepCell, *, searched: bool) -> Cell:
    if cell.failure:
        return Cell("does not count", "caution")
    if cell.followed is not None:
        return Cell("followed" if cell.followed else "not followed", "quiet")
    return Cell("too short to tell" if searched else "✓", "quiet")
