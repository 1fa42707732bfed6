"""A comparison by turns, drawn: each metric's interval, and every pair in the order of turns."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from statistics import median

from .ab_model import Ab, AbAnswer, AbMetric, AbPair, AbVerdict
from .ab_tables import (
    change_text,
    forest_table,
    interval_text,
    pairs_table,
    quad_text,
    ratio_text,
)
from .format import listed, plural, scale_of
from .model import Axis, Chart, Guide, Mark, Panel, Series, Zone

# Roles, each with its verdicts and what it is called.
_VERDICTS: tuple[tuple[str, str, tuple[AbVerdict, ...]], ...] = (
    ("verdict_bad", "Regressed", ("regressed",)),
    ("verdict_open", "Inconclusive", ("inconclusive",)),
    ("verdict_good", "Passed or improved", ("passed", "improved")),
)
_BETTER = {"lower": "lower is better", "higher": "higher is better", "none": "no side is better"}
_ALLOWED = "Worse, but allowed"
# Counted pairs below which two halves say nothing.
_FEWEST_HALVED = 4


def forest(ab: Ab) -> Chart | None:
    """Each metric's ratio with its interval, and what is allowed; None where nothing was judged."""
    judged = [(one, one.answer) for one in ab.metrics if one.answer is not None]
    if not judged:
        return None
    series = (
        _intervals(name, role, [(at, *of) for at, of in enumerate(judged) if of[1].verdict in held])
        for role, name, held in _VERDICTS
    )
    categories = tuple(f"{one.label}, {_BETTER[one.better]}" for one, _ in judged)
    return Chart(
        id="ratios",
        title="B / A of each metric",
        reading="A dot is the typical ratio, its line the interval that the verdict goes by. The "
        "dashed line is no difference.",
        x=Axis("B / A", "×", log=True),
        panels=(
            Panel(
                Axis("Metric", categories=categories),
                tuple(one for one in series if one.x),
                (Guide("x", 1.0, ""),),
                tuple(
                    Zone(_ALLOWED, x=_allowed(one), y=(at - 0.4, at + 0.4))
                    for at, (one, _) in enumerate(judged)
                ),
            ),
        ),
        data=forest_table(ab),
    )


def _allowed(metric: AbMetric) -> tuple[float, float]:
    return min(1.0, metric.limit), max(1.0, metric.limit)


def _intervals(name: str, role: str, rows: Sequence[tuple[int, AbMetric, AbAnswer]]) -> Series:
    """An end that is not known is not drawn."""
    return Series(
        name,
        role,
        "interval",
        x=tuple(answer.ratio for _, _, answer in rows),
        y=tuple(float(at) for at, _, _ in rows),
        labels=tuple(f"{one.label}: {interval_text(answer)}" for _, one, answer in rows),
        low=tuple(math.nan if answer.low is None else answer.low for _, _, answer in rows),
        high=tuple(math.nan if answer.high is None else answer.high for _, _, answer in rows),
    )


def pair_charts(ab: Ab) -> tuple[Chart, ...]:
    """One a metric that any pair has."""
    return tuple(
        _pairs(ab, metric)
        for metric in ab.metrics
        if any(pair.ratio(metric.name) is not None for pair in ab.pairs)
    )


def _pairs(ab: Ab, metric: AbMetric) -> Chart:
    dropped = tuple(Guide("x", one.place + 0.5, "") for one in ab.dropped)
    label = metric.label
    last = max(pair.place for pair in ab.pairs)
    return Chart(
        id=f"pairs-{metric.id}-{metric.stat}".replace("_", "-"),
        title=label,
        reading=_reading(ab, metric),
        x=Axis("Pair, in the order measured", high=last + 0.5, numbered=True),
        panels=(
            Panel(
                Axis("B / A of each pair", "×", log=True),
                tuple(_ratios(ab, metric)),
                (Guide("y", 1.0, ""), *dropped),
                (Zone(_ALLOWED, y=_allowed(metric)),),
            ),
            Panel(
                Axis("Each trial over A's median", "×", log=True),
                tuple(_levels(ab, metric)),
                dropped,
            ),
        ),
        data=pairs_table(ab, metric),
    )


def _ratios(ab: Ab, metric: AbMetric) -> Iterator[Series]:
    """The pairs by whose turn was first: were it the turn that matters, they would lie apart."""
    kinds = (
        ("A's turn first", "a_first", [one for one in ab.counted if one.first == "a"]),
        ("B's turn first", "b_first", [one for one in ab.counted if one.first == "b"]),
        ("Counts for nothing", "left_out", [one for one in ab.pairs if not one.counts]),
    )
    for name, role, pairs in kinds:
        held = [(one, ratio) for one in pairs if (ratio := one.ratio(metric.name)) is not None]
        if held:
            yield _series(name, role, "point", metric, held)


def _levels(ab: Ab, metric: AbMetric) -> Iterator[Series]:
    """What the machine did meanwhile is in both."""
    pairs = ab.counted or ab.pairs
    both = [(one, one.a, one.b) for one in pairs if one.ratio(metric.name) is not None]
    of_a = [(one, a[metric.name]) for one, a, _ in both if a]
    of_b = [(one, b[metric.name]) for one, _, b in both if b]
    usual = median(value for _, value in of_a) if of_a else 1.0
    for name, role, held in (("A", "run_1", of_a), ("B", "run_3", of_b)):
        relative = [(one, value / usual) for one, value in held]
        if relative:
            yield _series(name, role, "line", metric, relative)


def _series(
    name: str, role: str, mark: Mark, metric: AbMetric, points: Sequence[tuple[AbPair, float]]
) -> Series:
    return Series(
        name,
        role,
        mark,
        tuple(float(pair.place) for pair, _ in points),
        tuple(y for _, y in points),
        tuple(_point_label(pair, metric) for pair, _ in points),
    )


def _point_label(pair: AbPair, metric: AbMetric) -> str:
    values = [side.get(metric.name) if side else None for side in (pair.a, pair.b)]
    scale = scale_of(metric.unit, values)
    a, b = map(scale.quantity, values)
    return f"pair {pair.place}: A {a}, B {b}"


def _reading(ab: Ab, metric: AbMetric) -> str:
    """The pairs in the middle, of both halves of the time, and what A alone did between them."""
    told = [_halves(ab, metric)]
    if ab.dropped:
        places = listed([quad_text(one.place) for one in ab.dropped])
        told.append(f"Dropped whole, where vertical lines are: pairs {places}.")
    return " ".join(filter(None, told))


def _halves(ab: Ab, metric: AbMetric) -> str:
    pairs = [(one, ratio) for one in ab.counted if (ratio := one.ratio(metric.name)) is not None]
    if not pairs:
        return "No pair of it counts."
    middle_ratio = median(ratio for _, ratio in pairs)
    middle = f"The median pair is at {ratio_text(middle_ratio)}"
    if metric.answer is not None and (metric.answer.ratio - 1) * (middle_ratio - 1) < 0:
        typical = ratio_text(metric.answer.ratio)
        middle += f", the other way than the {typical} of all pairs that the verdict goes by"
    if len(pairs) < _FEWEST_HALVED:
        return f"{middle}, of {plural(len(pairs), 'pair')}."
    halves = pairs[: len(pairs) // 2], pairs[len(pairs) // 2 :]
    first, second = (median(ratio for _, ratio in half) for half in halves)
    before, after = (median(one.a[metric.name] for one, _ in half if one.a) for half in halves)
    return (
        f"{middle}: {ratio_text(first)} in the first half of them, {ratio_text(second)} in the "
        f"second. A itself changed by {change_text(after / before)}\u00a0% between the two."
    )
