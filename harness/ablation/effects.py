"""How large each effect is and how sure: a paired bootstrap of one run a cell, or repeated runs.

One run a cell: requests are drawn once for all cells, in blocks, and every effect is recomputed
(`stats/bootstrap.py`). Stretches of a run, for rates and shares over time, are drawn once for all
cells, too, where they are pairs (`comparison/pairing.py`), and else for each cell apart. The
interval is the bootstrap's percentiles, widened for how few blocks there are; p comes from the
bootstrap's standard error and Student's t, because two thousand draws cannot show a p small enough
for a family of fifty (Efron and Tibshirani, "An Introduction to the Bootstrap", 1993, chapters 12
and 13). It covers which requests were sent, and not how a machine differs from run to run.

Perplexity is of one text in every cell and every repeat: its parts are drawn once for all cells,
repeated or not, and the interval covers which text was read.

Repeated runs: every repeat has requests of its own and holds all cells, in an order of its own, so
it is a block of a randomised block design. What is left of a cell's value after its cell's and its
repeat's mean is the run-to-run variance, requests and machine together; pooled over the cells that
a contrast compares it has (cells - 1)(repeats - 1) degrees of freedom, and the interval is
Student's (Box, Hunter and Hunter, "Statistics for Experimenters", 2nd edition, 2005, chapters 4 and
5). Other cells do not count: they may be quieter, and a contrast over all of them averages over
just what it has. Of two cells it is the spread of their differences. Drawing whole repeats at
random instead would show too little of the spread: there are seldom more than three.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..comparison.pairing import are_alike
from ..stats.bootstrap import (
    CONFIDENCE,
    RESAMPLES,
    block_length,
    blocks_of,
    draw_blocks,
    interval_of,
    rows_at_a_time,
)
from ..stats.student import quantile, two_sided_p
from .contrasts import Contrast
from .design import Cell, Design
from .responses import ByPart, ByRequest, ByTime, Exact, Measure, Scale

Floats = NDArray[np.float64]
_SEED = 0  # fixed: the same runs have the same intervals


@dataclass(frozen=True)
class EffectEstimate:
    """An effect: a ratio (1 is none) or a difference (0 is none), as the scale says.

    low, high, p: None where there is no spread to go by: an exact count of a single run, or
    repeats that agree to the last bit.
    """

    value: float
    low: float | None = None
    high: float | None = None
    p: float | None = None


def estimate(
    design: Design,
    contrasts: Sequence[Contrast],
    repeats: Sequence[Mapping[Cell, Measure]],
    scale: Scale,
    *,
    resamples: int = RESAMPLES,
) -> tuple[EffectEstimate, ...]:
    """Every contrast of one response. repeats: the measured cells, the same in each repeat.

    On the scale `ratio` every value must be above 0.
    """
    cells = [cell for cell in design.cells if cell in repeats[0]]
    places = [at for at, cell in enumerate(design.cells) if cell in repeats[0]]
    weights = np.array([contrast.weights[places] for contrast in contrasts])
    found = np.array([[one[cell].value() for cell in cells] for one in repeats])
    if scale == "ratio" and (found <= 0).any():
        raise ValueError("a ratio of values that are not above 0")
    values = _on(scale, found)
    effects = weights @ values.mean(axis=0)
    measures = [repeats[0][cell] for cell in cells]
    of_text = all(isinstance(one, ByPart) for one in measures)
    if len(repeats) > 1 and not of_text:
        return _between_repeats(effects, weights, values, scale)
    if any(isinstance(one, Exact) for one in measures) or (of_text and not _are_pairs(measures)):
        return tuple(EffectEstimate(_off(scale, effect)) for effect in effects)
    drawn = weights @ _on(scale, resample(measures, resamples, np.random.default_rng(_SEED)))
    blocks = min(map(_blocks, measures))
    allowance = max(one.allowance if isinstance(one, ByRequest) else 1.0 for one in measures)
    return tuple(
        _within_run(effect, draws, scale, blocks, allowance)
        for effect, draws in zip(effects, drawn, strict=True)
    )


def _are_pairs(measures: Sequence[Measure]) -> bool:
    """Whether the cells read one text in the same parts."""
    return len({one.sample.num_units for one in measures if isinstance(one, ByPart)}) == 1


def resample(measures: Sequence[Measure], resamples: int, rng: np.random.Generator) -> Floats:
    """The statistic of each cell in each resample: [cells, resamples].

    Measures by request share their draws, for they are of the same requests; those by time where
    their stretches had the same to do.
    """
    by_request = [one for one in measures if isinstance(one, ByRequest)]
    if len(by_request) == len(measures):
        return _by_request(by_request, resamples, rng)
    by_time = [one for one in measures if isinstance(one, ByTime)]
    if len(by_time) < len(measures):
        raise ValueError("measures of more than one kind")
    bins = len(by_time[0].amount)
    if not are_alike([one.place for one in by_time]):
        return np.array(
            [
                _by_time(one, draw_blocks(bins, block_length(bins), resamples, rng))
                for one in by_time
            ]
        )
    times = draw_blocks(bins, block_length(bins), resamples, rng)
    return np.array([_by_time(one, times) for one in by_time])


def _by_request(measures: Sequence[ByRequest], resamples: int, rng: np.random.Generator) -> Floats:
    sizes = {one.sample.num_units for one in measures}
    if len(sizes) > 1:
        raise ValueError(f"cells of {sorted(sizes)} requests are not paired")
    times = _draws(sizes.pop(), measures[0].block, resamples, rng)
    return np.array([_one_by_request(one, times) for one in measures])


def _draws(
    num_units: int, block: int, resamples: int, rng: np.random.Generator
) -> NDArray[np.uint16]:
    """How often each unit is drawn: [resamples, units]. Kept for all cells, so in few bytes."""
    drawn = np.empty((resamples, num_units), dtype=np.uint16)
    rows = rows_at_a_time(num_units)
    for at in range(0, resamples, rows):
        count = min(rows, resamples - at)
        drawn[at : at + count] = draw_blocks(num_units, block, count, rng)
    return drawn


def _one_by_request(measure: ByRequest, times: NDArray[np.uint16]) -> Floats:
    """A cell by itself: the sorted gaps of a long trace, of all cells at once, take gigabytes."""
    ascending = measure.sample.ascending()
    rows = rows_at_a_time(measure.statistic.width(measure.sample))
    return np.concatenate(
        [
            measure.statistic.of_resamples(ascending, times[at : at + rows].astype(np.int32))
            for at in range(0, len(times), rows)
        ]
    )


def _by_time(measure: ByTime, times: NDArray[np.int32]) -> Floats:
    per = times @ measure.per
    amount = times @ measure.amount
    return np.where(per > 0, amount / np.where(per > 0, per, 1.0), np.nan)


def _blocks(measure: Measure) -> int:
    """Of a measure that can be resampled."""
    assert not isinstance(measure, Exact)
    if isinstance(measure, ByRequest):
        return blocks_of(measure.sample.num_units, measure.block)
    return blocks_of(len(measure.amount))


def _within_run(
    effect: float, draws: Floats, scale: Scale, blocks: int, allowance: float
) -> EffectEstimate:
    draws = draws[np.isfinite(draws)]
    if not len(draws):
        return EffectEstimate(_off(scale, effect))
    # Logarithms already, if the scale is one of ratios.
    low, high = interval_of(draws, blocks, CONFIDENCE, "difference", allowance)
    error = allowance * float(draws.std()) * math.sqrt(blocks / (blocks - 1))
    p = two_sided_p(effect / error, blocks - 1) if error > 0 else float(effect == 0)
    return EffectEstimate(_off(scale, effect), _off(scale, low), _off(scale, high), p)


def _between_repeats(
    effects: Floats, weights: Floats, values: Floats, scale: Scale
) -> tuple[EffectEstimate, ...]:
    """values: [repeats, cells], on the scale they are averaged on."""
    return tuple(
        _of_repeats(effect, weight[weight != 0], values[:, weight != 0], scale)
        for effect, weight in zip(effects, weights, strict=True)
    )


def _of_repeats(effect: float, weight: Floats, values: Floats, scale: Scale) -> EffectEstimate:
    """weight: [cells], of those that the contrast compares. values: [repeats, cells]."""
    repeats, cells = values.shape
    rest = values - values.mean(axis=0) - values.mean(axis=1, keepdims=True) + values.mean()
    df = (repeats - 1) * (cells - 1)
    variance = float((rest**2).sum()) / df
    # What is left of equal values is rounding, not spread.
    if variance <= (1e-12 * max(1.0, float(np.abs(values).max()))) ** 2:
        return EffectEstimate(_off(scale, effect))
    reach = quantile(CONFIDENCE, df)
    error = math.sqrt(variance * float((weight**2).sum()) / repeats)
    low, high = effect - reach * error, effect + reach * error
    p = two_sided_p(effect / error, df)
    return EffectEstimate(_off(scale, effect), _off(scale, low), _off(scale, high), p)


def _on(scale: Scale, values: Floats) -> Floats:
    if scale == "difference":
        return values
    # A resample without any value, or with none but zeros, has no logarithm and is left out.
    with np.errstate(divide="ignore", invalid="ignore"):
        logs = np.log(values)
    return np.where(np.isfinite(logs), logs, np.nan)


def _off(scale: Scale, value: float) -> float:
    return math.exp(value) if scale == "ratio" else float(value)
