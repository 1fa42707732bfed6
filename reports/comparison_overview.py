"""A comparison's first screen: what decides most choices of each run, and the trade-off drawn."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from .clearly_best import clearly_best
from .comparison_headline import DECIDED, FIGURES, keys_shown
from .comparison_tables import WORDS, row_labels, row_scales, times_text
from .format import Scale, scale_of
from .model import (
    Axis,
    Cell,
    Chart,
    Comparison,
    KeyFigure,
    MetricComparison,
    Panel,
    Ratio,
    Series,
    Table,
    present,
)
from .named_points import crowded, room_right, too_long
from .palette import run_role
from .tables import table

# Of whole runs there is one where not every run has a steady window to set beside the others'.
_WINDOW, _RUN = ("output_throughput", "window"), ("output_throughput", "run")
_FIRST_TOKENS = (("ttft", "p50"), ("ttft", "p99"), ("ttft", "mean"))
_NEXT_TOKENS = (("tpot", "p50"), ("tpot", "p99"), ("tpot", "mean"))
_BEST = "Best"
# Throughputs within this of each other are no reason to prefer one.
_SAME_SPEED = 0.02
# Latencies so many times as long as others would press those onto a linear axis' floor.
_FAR = 20.0
_ROOM_OF_A_POINT = 1.05


def tiles(comparison: Comparison) -> tuple[KeyFigure, ...]:
    """How one run compares with another; of more of them `overview` has a table."""
    if len(comparison.runs) != 2:
        return ()
    return tuple(
        figure
        for label, row, scale in _shown(comparison)
        if (figure := _change(label, row, scale, comparison)) is not None
    )


def overview(comparison: Comparison) -> tuple[Chart | Table, ...]:
    """What stands beside the tiles, or in their place."""
    several = _answers(comparison) if len(comparison.runs) > 2 else None
    return present(several, _trade_off(comparison))


def _shown(comparison: Comparison) -> Iterator[tuple[str, MetricComparison, Scale]]:
    rows = comparison.rows
    each = zip(row_labels(rows), rows, row_scales(rows), strict=True)
    by_key = {(row.id, row.stat): (label, row, scale) for label, row, scale in each}
    return (by_key[key] for key in keys_shown(FIGURES, rows) if key in by_key)


def _change(
    label: str, row: MetricComparison, scale: Scale, comparison: Comparison
) -> KeyFigure | None:
    """How the other run's value compares with the baseline's."""
    base = comparison.runs.index(comparison.baseline)
    ratio = row.ratios[1 - base]
    if ratio is None or None in row.values:
        return None
    values = f"{scale.number(row.values[base])} → {scale.quantity(row.values[1 - base])}"
    # What is not decided alone is not decided together with others either.
    alone = ", taken alone" if ratio.alone and ratio.verdict in DECIDED else ""
    verdict = f"{WORDS[ratio.verdict][0]}{alone}: " if ratio.verdict else ""
    return KeyFigure(label, times_text(ratio.value), "", verdict + values)


def _answers(comparison: Comparison) -> Table | None:
    """Each run's values and the symbols of its verdicts; ratios are in a table below. None if runs
    have none of what is shown in common."""
    rows: list[tuple[str | Cell, ...]] = []
    for label, row, scale in _shown(comparison):
        rows.append(
            (
                f"{label} ({scale.unit})" if scale.unit else label,
                *(
                    _judged(scale.number(value), ratio)
                    for value, ratio in zip(row.values, row.ratios, strict=True)
                ),
                _best(row, comparison),
            )
        )
    if not rows:
        return None
    said = ", ".join(words for words, _ in WORDS.values())
    alone = " In brackets: taken alone." if _has_alone(comparison) else ""
    return table(
        "answers",
        "In short",
        ("", *comparison.runs, _BEST),
        rows,
        words=(_BEST,),
        note=f"Against {comparison.baseline}: {said}.{alone} Best: beyond doubt, of all of them. "
        "Other metrics, ratios and intervals are in the table of every metric.",
    )


def _best(row: MetricComparison, comparison: Comparison) -> str:
    best = clearly_best(row, comparison)
    return "—" if best is None else comparison.runs[best]


def _judged(text: str, ratio: Ratio | None) -> Cell:
    if ratio is None or ratio.verdict is None:
        return Cell(text)
    words, tone = WORDS[ratio.verdict]
    symbol = words.partition(" ")[0]
    return Cell(f"{text} ({symbol})" if _is_alone(ratio) else f"{text} {symbol}", tone)


def _is_alone(ratio: Ratio) -> bool:
    return ratio.alone and ratio.verdict in DECIDED


def _has_alone(comparison: Comparison) -> bool:
    return any(
        one is not None and _is_alone(one) for _, row, _ in _shown(comparison) for one in row.ratios
    )


def _trade_off(comparison: Comparison) -> Chart | None:
    """A point a run: throughput against the first token's time and the next ones'; None where
    fewer than two runs have both."""
    by_key = {(row.id, row.stat): row for row in comparison.rows}
    speed = by_key.get(_RUN, by_key.get(_WINDOW))
    if speed is None:
        return None
    panels = [
        panel
        for keys in (_FIRST_TOKENS, _NEXT_TOKENS)
        if (row := next((by_key[key] for key in keys if key in by_key), None)) is not None
        and len((panel := _panel(comparison, speed, row)).series) > 1
    ]
    if not panels:
        return None
    known = [x for panel in panels for one in panel.series for x in one.x]
    names = [one.name for panel in panels for one in panel.series]
    x = Axis("Output throughput", speed.unit, high=max(known) / (1 - max(map(room_right, names))))
    if any(map(too_long, names)) or any(crowded(x, panel) for panel in panels):
        panels = [_unnamed(panel) for panel in panels]
        x = replace(x, high=max(known) * _ROOM_OF_A_POINT)
    return Chart(
        id="trade-off",
        title="Throughput against latency",
        reading=_reading(max(known) / min(known) - 1 < _SAME_SPEED),
        x=x,
        panels=tuple(panels),
    )


def _panel(comparison: Comparison, speed: MetricComparison, row: MetricComparison) -> Panel:
    """Runs that have the same point share one, and are named together."""
    scale = scale_of(row.unit, row.values)
    points: dict[tuple[float, float], list[int]] = {}
    for at, (x, y) in enumerate(zip(speed.values, row.values, strict=True)):
        if x and y is not None:
            points.setdefault((x, scale.factor * y), []).append(at)
    series: list[Series] = []
    for (x, y), runs in points.items():
        name = ", ".join(comparison.runs[at] for at in runs)
        series.append(Series(name, run_role(runs[0]), "named", (x,), (y,), (name,)))
    heights = [y for _, y in points]
    far = min(heights, default=0.0) > 0 and max(heights) > _FAR * min(heights)
    return Panel(Axis(row_labels([row])[0], scale.unit, log=far), tuple(series))


def _unnamed(panel: Panel) -> Panel:
    """Its points are told apart by the legend."""
    return replace(panel, series=tuple(replace(one, mark="point") for one in panel.series))


def _reading(same_speed: bool) -> str:
    if same_speed:
        return "Throughputs are within 2 % of each other: lower is sooner."
    return "Further right is faster, lower is sooner."
