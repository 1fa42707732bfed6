"""Runs side by side, as tables: every metric, the settings that differ, what each run is."""

from __future__ import annotations

import math
from collections.abc import Sequence

from .facts import UNKNOWN, axes, engine_name, simulated_on
from .format import Scale, moment, number, scale_of_typical, setting
from .glossary import label_of
from .headline import badge
from .measure import GROUPS
from .model import Cell, Comparison, MetricComparison, Ratio, Run, Table, Tone, Verdict
from .tables import table

WORDS: dict[Verdict, tuple[str, Tone]] = {
    "better": ("▲ better", "good"),
    "worse": ("▼ worse", "bad"),
    "same": ("= same", "quiet"),
    "inconclusive": ("? inconclusive", "caution"),
}
# No run shows where beyond this factor an end of an interval lies, unless its value is there, too.
FARTHEST = 100.0
STATS = {"window": "steady window, else whole run", "run": "whole run"}


def row_labels(rows: Sequence[MetricComparison]) -> list[str]:
    """Their labels, with the statistic where two rows would be called alike: rates of whole runs
    beside those of the window, which is where not every run has a steady one."""
    labels = [row.label for row in rows]
    return [
        f"{label}, {STATS.get(row.stat, row.stat)}" if labels.count(label) > 1 else label
        for row, label in zip(rows, labels, strict=True)
    ]


def row_scales(rows: Sequence[MetricComparison]) -> list[Scale]:
    """One unit a metric, that of its median: a mean in ms above a p99 in s is read as less."""
    every: dict[str, list[MetricComparison]] = {}
    for row in rows:
        every.setdefault(row.name if row.id in GROUPS else row.id, []).append(row)
    scales: dict[str, Scale] = {}
    for name, of in every.items():
        by_stat = {row.stat: row.values for row in of}
        typical = by_stat.get("p50") or by_stat.get("mean") or ()
        scales[name] = scale_of_typical(of[0].unit, typical, [v for row in of for v in row.values])
    return [scales.get(row.id) or scales[row.name] for row in rows]


def _statistic(row: MetricComparison, comparison: Comparison) -> str:
    if row.id in GROUPS:
        return ""
    return comparison.rates_over if row.stat == "window" else STATS.get(row.stat, row.stat)


def metric_table(comparison: Comparison) -> Table:
    """Every statistic in each run, and its ratio to the baseline with interval and verdict."""
    others = [at for at, name in enumerate(comparison.runs) if name != comparison.baseline]
    only = len(others) == 1
    verdicts = tuple(
        "Ratio and verdict" if only else f"{comparison.runs[at]} to baseline" for at in others
    )
    rows: list[tuple[str | Cell, ...]] = []
    for row, scale in zip(comparison.rows, row_scales(comparison.rows), strict=True):
        rows.append(
            (
                label_of(row.stat if row.id in GROUPS else row.id),
                _statistic(row, comparison),
                scale.unit,
                *(scale.number(value) for value in row.values),
                *(ratio_cell(row.ratios[at]) for at in others),
            )
        )
    titles = [
        f"{name} (baseline)" if name == comparison.baseline else name for name in comparison.runs
    ]
    return table(
        "comparison",
        "Every metric against the baseline",
        ("Metric", "Statistic", "Unit", *titles, *verdicts),
        rows,
        words=("Statistic", "Unit", *verdicts),
        note=f"Ratios are to {comparison.baseline}; below 1× is less. In brackets, the interval "
        f"the ratio lies in, {level_text(comparison)}, {_intervals(comparison)}. Inconclusive: too "
        "few samples, an interval that holds both no change and a real one, or one number a run, "
        "which has none."
        f"{_alone(comparison)}",
    )


def _intervals(comparison: Comparison) -> str:
    quality = any(
        row.id == "quality" and any(one and one.low is not None for one in row.ratios)
        for row in comparison.rows
    )
    of_text = "; of quality, by resampling stretches of the text" if quality else ""
    if comparison.between is not None:
        return f"by {comparison.between.how}{of_text}"
    return (
        "by resampling requests, or for rates and means over time parts of the run, in pairs where "
        f"both had the same to do: it does not cover what changes from one run to the next{of_text}"
    )


def level_text(comparison: Comparison) -> str:
    """How sure the intervals are: among thirty at 95 % each one or two would mislead."""
    held = "at 95 % for all together"
    return f"{held} but those marked alone" if _some_alone(comparison) else held


def _some_alone(comparison: Comparison) -> bool:
    return any(one is not None and one.alone for row in comparison.rows for one in row.ratios)


def _alone(comparison: Comparison) -> str:
    if not _some_alone(comparison):
        return ""
    return " Alone: at 95 % by itself, so that of twenty such one may mislead."


def pairs_table(comparison: Comparison) -> Table | None:
    """Each pair of repeated runs; None where runs were not repeated or are no pairs."""
    if comparison.between is None or not comparison.between.pairs:
        return None
    pairs = comparison.between.pairs
    rows = {row.name: row for row in comparison.rows}
    names = [name for name in pairs[0].ratios if name in rows]
    several = len(comparison.runs) > 2
    return table(
        "pairs",
        "Every pair of runs",
        ("Pair", *(rows[name].label for name in names)),
        [
            (
                f"{pair.run}, {pair.repeat}" if several else pair.repeat,
                *(_ratio_of_pair(pair.ratios[name]) for name in names),
            )
            for pair in pairs
        ],
        note=f"Each ratio is of two runs that were sent the same requests, to "
        f"{comparison.baseline}'s.",
    )


def _ratio_of_pair(ratio: float | None) -> str:
    return "—" if ratio is None else f"{ratio_text(ratio)}×"


def ratio_cell(ratio: Ratio | None) -> Cell:
    """ "▲ better 0.83× (0.79 to 0.88)": symbol and word, so that colour is not needed."""
    if ratio is None:
        return Cell("—", "quiet")
    text = times_text(ratio.value, ratio.low, ratio.high)
    if (ends := interval_ends(ratio)) is not None:
        text += f" ({ends[0]} to {ends[1]})"
    if ratio.alone:
        text += " alone"
    if ratio.verdict is None:
        return Cell(text, "quiet")
    word, tone = WORDS[ratio.verdict]
    return Cell(f"{word} {text}", tone)


def interval_ends(ratio: Ratio) -> tuple[str, str] | None:
    """Its ends as they are written; None where there is no interval. One without a width where too
    little was measured is none: of so few every draw has the same extreme, which proves nothing."""
    if ratio.low is None or ratio.high is None:
        return None
    low, high = end_text(ratio.low, ratio.value), end_text(ratio.high, ratio.value)
    return None if ratio.too_little and low == high else (low, high)


def times_text(value: float, low: float | None = None, high: float | None = None) -> str:
    """ "0.83×"; of what was 0 before there is no ratio. low, high: of the interval beside it,
    within which it has to be as it is written, too: 1.001 of 1.001 to 1.002, and not 1.00."""
    if value == math.inf:
        return "from 0"
    one_sided = low is not None and high is not None and not low <= 1 <= high
    return f"{_off_one(value) if one_sided else ratio_text(value)}×"


def ratio_text(value: float) -> str:
    """Two decimals near 1, where ratios are compared, and two digits far below it."""
    if 0.1 <= value < 10:
        return f"{value:.2f}"
    return f"{value:#.2g}" if 1e-4 <= value < 0.1 else number(value)


def end_text(ratio: float, value: float = 1.0) -> str:
    """An end of an interval: "0.79"; beyond a factor of 100 only that it is: "<0.01", ">100", or of
    100² and so on where the value that it is of is beyond it. One near 1 has the digits that say on
    which side it lies, for that is what a verdict goes by."""
    farthest = FARTHEST
    while 0 < value < 1 / farthest or farthest < value < math.inf:
        farthest *= FARTHEST
    if ratio < 1 / farthest:
        return f"<{1 / farthest:g}"
    return f">{number(farthest)}" if ratio > farthest else _off_one(ratio)


def _off_one(ratio: float) -> str:
    """As `ratio_text`, with up to four decimals where it would be "1.00" and is not."""
    text = ratio_text(ratio)
    closer = (f"{ratio:.{digits}f}" for digits in (3, 4))
    return next((one for one in closer if float(one) != 1), text) if text == "1.00" else text


def difference_table(comparison: Comparison, *, all_said: bool = True) -> Table | None:
    """Settings that are not the same in all runs; None if there is none. all_said: whether every
    run says all of its settings."""
    if not comparison.differing_config:
        return None
    base = comparison.runs.index(comparison.baseline)
    same = "are the same" if all_said else "are the same, or not said by all runs"
    return table(
        "config-differences",
        "Settings that differ",
        ("Setting", *comparison.runs),
        [
            (one.field, *(_changed(one.field, value, one.values[base]) for value in one.values))
            for one in comparison.differing_config
        ],
        words=comparison.runs,
        note=f"≠: not as in the baseline. All other settings {same}.",
    )


def _changed(field: str, value: object, baseline: object) -> Cell:
    text = setting(field, value)
    unknown = any(isinstance(one, str) and one in UNKNOWN for one in (value, baseline))
    return Cell(text) if unknown or value == baseline else Cell(f"≠ {text}", "caution")


def runs_table(runs: Sequence[Run]) -> Table:
    rows: list[tuple[str | Cell, ...]] = []
    for run in runs:
        found = badge(run)
        rows.append(
            (
                run.name,
                Cell(f"{found.symbol} {found.word}", found.tone),
                engine_name(run),
                axes(run),
                str(run.result["config"].get("stands_for") or ""),
                "simulated" if simulated_on(run) else moment(run.result["created_at"]),
            )
        )
    titles = ("Run", "Validity", "Engine", "Made of", "Stands for", "Measured")
    return table("runs", "What each run is", titles, rows, words=titles)
