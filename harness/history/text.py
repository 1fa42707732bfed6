"""A trend in a line of text: its sparkline, and its steps in words."""

from __future__ import annotations

from collections.abc import Sequence

from ..stats.steps import Step
from .trends import Trend

_BARS = "▁▂▃▄▅▆▇█"
MOST_BARS = 60


def sparkline(values: Sequence[float]) -> str:
    """The newest values as bars from the smallest to the largest; equal ones are in the middle."""
    shown = list(values)[-MOST_BARS:]
    low, high = min(shown), max(shown)
    if high == low:
        return _BARS[3] * len(shown)
    last = len(_BARS) - 1
    return "".join(_BARS[round((value - low) / (high - low) * last)] for value in shown)


def describe_step(trend: Trend, step: Step) -> str:
    """`worse: 12.1 -> 13.4 ms (+10.7 %) at run-17 (1a2b3c), p = 0.001`."""
    point = trend.points[step.at]
    worse = trend.worsened(step)
    word = {None: "changed", True: "worse", False: "better"}[worse]
    change = f" ({(step.after / step.before - 1) * 100:+.1f} %)" if step.before else ""
    commit = f" ({point.commit})" if point.commit else ""
    values = f"{shown(trend, step.before)} -> {shown(trend, step.after)} {unit(trend)}".rstrip()
    return f"{word}: {values}{change} at {point.run}{commit}, p = {step.p:.2g}"


def shown(trend: Trend, value: float) -> str:
    return f"{value * (1e3 if trend.quantity.unit == 's' else 1):.4g}"


def unit(trend: Trend) -> str:
    return "ms" if trend.quantity.unit == "s" else trend.quantity.unit
