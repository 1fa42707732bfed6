"""Long series made short enough to draw, without hiding what matters in them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .format import seconds

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Held:
    """Values that hold from each time to the next; the last one ends the series.

    times_s: [n]. columns: [n] each, by name. labels: [n], which steps each is of, by position.
    bin_s: width of the bins they are means over, or None where each step is shown.
    """

    times_s: Floats
    columns: dict[str, Floats]
    labels: tuple[str, ...]
    bin_s: float | None = None

    @property
    def note(self) -> str:
        if self.bin_s is None:
            return ""
        return (
            f"Too many steps to draw: each value is the mean over {seconds(self.bin_s)}, weighted "
            "by step time; a single step can lie far from it."
        )


def hold(
    start_s: Floats, end_s: Floats, columns: dict[str, Floats], *, most: int, bins: int
) -> Held:
    """A value a step as a series over time: each step while there are at most `most`, else in bins.

    start_s, end_s: [steps], ascending, steps apart from each other. Where nothing was computed for
    a while every value is 0. In bins, only the time that steps took weighs; an empty bin is 0.
    """
    if len(start_s) == 0:
        return Held(np.empty(0), {name: np.empty(0) for name in columns}, ())
    if len(start_s) > most:
        return _binned(start_s, end_s, columns, bins)
    idle = np.append(start_s[1:] - end_s[:-1] > _idle_s(start_s, end_s), True)
    # Each idle gap, and the end, is a point of zeros right after its step.
    at = np.flatnonzero(idle) + 1
    steps = np.arange(len(start_s))
    first, last = np.insert(steps, at, 0), np.insert(steps, at, -1)
    return Held(
        np.insert(start_s, at, end_s[idle]),
        {name: np.insert(values, at, 0.0) for name, values in columns.items()},
        _labels(first, last),
    )


def _labels(first: NDArray[np.int64], last: NDArray[np.int64]) -> tuple[str, ...]:
    """first, last: [n], the first step of each point and the last; none where that is before."""
    return tuple(
        "no step" if b < a else f"step {a}" if a == b else f"steps {a} to {b}"
        for a, b in zip(first.tolist(), last.tolist(), strict=True)
    )


def _idle_s(start_s: Floats, end_s: Floats) -> float:
    """Shorter gaps between steps are the loop's own and too short to see."""
    return max(0.005, 0.002 * float(end_s[-1] - start_s[0]))


def _binned(start_s: Floats, end_s: Floats, columns: dict[str, Floats], bins: int) -> Held:
    edges = np.linspace(start_s[0], end_s[-1], bins + 1)
    knots = np.stack([start_s, end_s], axis=1).ravel()
    busy_s = _integral(knots, np.ones_like(start_s), end_s - start_s, edges)
    means: dict[str, Floats] = {}
    for name, values in columns.items():
        total = _integral(knots, values, end_s - start_s, edges)
        mean = np.divide(total, busy_s, out=np.zeros_like(total), where=busy_s > 0)
        means[name] = np.append(mean, 0.0)
    first = np.searchsorted(end_s, edges[:-1], "right")
    last = np.searchsorted(start_s, edges[1:], "left") - 1
    # The last edge ends the series.
    labels = _labels(np.append(first, 0), np.append(last, -1))
    return Held(edges, means, labels, float(edges[1] - edges[0]))


def _integral(knots: Floats, values: Floats, durations_s: Floats, edges: Floats) -> Floats:
    """The integral of the steps' values over each bin: [bins]."""
    grown = np.cumsum(values * durations_s)
    before = grown - values * durations_s
    cumulative = np.stack([before, grown], axis=1).ravel()
    return np.diff(np.interp(edges, knots, cumulative))


def ecdf(values: Floats, most: int = 400) -> tuple[Floats, Floats]:
    """The empirical distribution: values ascending and the share at or below each, in percent.

    Beyond `most` points: evenly by share, and the upper tail more closely, where latencies are
    judged.
    """
    ordered = np.sort(values)
    share = 100.0 * np.arange(1, len(ordered) + 1) / len(ordered) if len(ordered) else ordered
    if len(ordered) > most:
        even = np.linspace(0, len(ordered) - 1, most * 3 // 4)
        tail = np.linspace(0.98 * (len(ordered) - 1), len(ordered) - 1, most // 4)
        kept = np.unique(np.concatenate([even, tail]).round().astype(np.int64))
        ordered, share = ordered[kept], share[kept]
    return ordered, share


def keep_slowest(times_s: Floats, latencies_s: Floats, most: int) -> NDArray[np.int64]:
    """Positions of at most `most` points, in order of time: an even sample, and in every stretch
    of time the slowest, so that no spike is lost."""
    order = np.argsort(times_s, kind="stable")
    if len(order) <= most:
        return order
    stretches = np.array_split(order, most // 2)
    slowest = [part[np.argmax(latencies_s[part])] for part in stretches]
    even = order[np.linspace(0, len(order) - 1, most - len(slowest)).round().astype(np.int64)]
    kept = np.union1d(slowest, even)
    return kept[np.argsort(times_s[kept], kind="stable")]


def even_rows(length: int, most: int) -> NDArray[np.int64]:
    """Positions of at most `most` of `length` rows, evenly apart, first and last among them."""
    if length <= most:
        return np.arange(length)
    return np.unique(np.linspace(0, length - 1, most).round().astype(np.int64))
