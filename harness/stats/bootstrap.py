"""How sure a comparison of two runs can be: a block bootstrap of a ratio or a difference.

Source: Efron and Tibshirani, "An Introduction to the Bootstrap" (1993), percentile interval;
blocks, because neighbouring requests share a queue: Kuensch, Annals of Statistics 17 (1989), and,
so that every unit is drawn equally often, wrapped around as Politis and Romano (1992) do. Few long
blocks, and Student's t for how few they are: a load comes and goes more slowly than any one request
shows, so that short blocks leave an interval that misses several times as often as it says.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import NormalDist
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from .percentiles import percentile, repeated_percentile
from .student import quantile
from .tail import TAIL_FROM, columns, tail_percentile

RESAMPLES = 2000
CONFIDENCE = 0.95
MOST_BLOCKS = 10
_CELLS_AT_A_TIME = 2_000_000  # keeps a resampling matrix within some 16 MB

Contrast = Literal["ratio", "difference"]


@dataclass(frozen=True)
class Sample:
    """Values and the units they are resampled by.

    values: [samples]. units: [samples], which unit each value is of, in time order, from 0: a
    request with all its token gaps, or a stretch of time. num_units counts empty units too.
    per: [samples], what each value is for; 1 of each where None. A mean is the sum of the values
    over that of `per`, a ratio estimator; percentiles take no notice of it.
    """

    values: NDArray[np.float64]
    units: NDArray[np.int64]
    num_units: int
    per: NDArray[np.float64] | None = None

    @property
    def weights(self) -> NDArray[np.float64]:
        """`per`, or ones."""
        return np.ones(len(self.values)) if self.per is None else self.per

    def ascending(self) -> Sample:
        order = np.argsort(self.values, kind="stable")
        per = None if self.per is None else self.per[order]
        return Sample(self.values[order], self.units[order], self.num_units, per)


@dataclass(frozen=True)
class Statistic:
    """A mean, or the q-th percentile when q is given; of_logs: e to the power of the mean, as a
    perplexity is of what tokens cost in nats, so that a ratio of two is a difference of means."""

    q: float | None = None
    of_logs: bool = False

    def of(self, sample: Sample) -> float:
        """The statistic of the sample as observed; NaN if it is empty."""
        if not len(sample.values):
            return float("nan")
        if self.q is None:
            total = sample.weights.sum()
            mean = float(sample.values.sum() / total) if total > 0 else float("nan")
            return float(np.exp(mean)) if self.of_logs else mean
        return percentile(sample.values, self.q)

    def of_resamples(self, ascending: Sample, times: NDArray[np.int32]) -> NDArray[np.float64]:
        """The statistic of each resample. times: [resamples, units], how often each was drawn."""
        if self.q is not None and self.q >= TAIL_FROM:
            return tail_percentile(ascending, times, self.q)
        if self.q is not None:
            return repeated_percentile(ascending.values, times[:, ascending.units], self.q)
        units, size = ascending.units, ascending.num_units
        held = times @ np.bincount(units, weights=ascending.weights, minlength=size)
        sums = times @ np.bincount(units, weights=ascending.values, minlength=size)
        means = np.where(held > 0, sums / np.where(held > 0, held, 1), np.nan)
        return np.exp(means) if self.of_logs else means

    def width(self, sample: Sample) -> int:
        """Columns of the widest matrix that a resample takes."""
        if self.q is None:
            return sample.num_units
        count = len(sample.values)
        return max(sample.num_units, columns(count, self.q) if self.q >= TAIL_FROM else count)


@dataclass(frozen=True)
class Estimate:
    """A contrast of current with baseline and its interval; NaN where it is undefined."""

    value: float
    low: float
    high: float


def block_length(num_units: int) -> int:
    """A tenth of the units: ten batches of a simulation's output are enough for an interval, and
    more are shorter, and so less independent of each other (Schmeiser, Operations Research 30,
    1982). Of a few units n^(1/3), which is longer: the order of growth that Hall, Horowitz and Jing
    (Biometrika 82, 1995) derive for estimating a variance. Never all of them."""
    longest = max(1, num_units // 2)
    few = math.ceil(round(num_units ** (1 / 3), 9))
    return max(1, -(-num_units // MOST_BLOCKS), min(few, longest))


def blocks_of(num_units: int, block: int | None = None) -> int:
    """How many blocks a resample is made of; at least two, for one shows no spread."""
    return max(2, -(-num_units // (block or block_length(num_units))))


def widening(blocks: int, confidence: float, shown: float | None = None) -> float:
    """How many times as far the ends of an interval lie from its middle as resamples of so few
    blocks put them: sqrt(k / (k - 1)), for blocks lie closer to their own mean than to the truth,
    times Student's t over the normal quantile (Hesterberg, The American Statistician 69, 2015,
    section 3.3). shown: the share of resamples between those ends, `confidence` unless given."""
    normal = NormalDist().inv_cdf((1 + (shown or confidence)) / 2)
    return math.sqrt(blocks / (blocks - 1)) * quantile(confidence, blocks - 1) / normal


def widened(end: float, middle: float, factor: float, contrast: Contrast) -> float:
    """An end of an interval `factor` times as far from its middle; of ratios by logarithms."""
    if contrast == "difference" or middle <= 0:
        return middle + factor * (end - middle)
    if end <= 0:
        return 0.0
    # Beyond any number there is no larger one.
    return middle * math.exp(min(factor * math.log(end / middle), 600.0))


def interval_of(
    draws: NDArray[np.float64],
    blocks: int,
    confidence: float,
    contrast: Contrast,
    allowance: float = 1.0,
) -> tuple[float, float]:
    """The ends that finite draws of a contrast put to it: their percentiles, widened for how few
    blocks each was made of, and by `allowance`."""
    # Farther out resamples are too few to be counted, and tell of the least and the largest block
    # alone. Student's t says how far an interval of more confidence goes.
    shown = min(confidence, CONFIDENCE)
    outside = 100 * (1 - shown) / 2
    middle, factor = percentile(draws, 50), allowance * widening(blocks, confidence, shown)
    low, high = (
        widened(percentile(draws, q), middle, factor, contrast) for q in (outside, 100 - outside)
    )
    return low, high


def compare_samples(
    baseline: Sample,
    current: Sample,
    statistic: Statistic,
    *,
    contrast: Contrast = "ratio",
    paired: bool = False,
    block: int | None = None,
    allowance: float = 1.0,
    resamples: int = RESAMPLES,
    confidence: float = CONFIDENCE,
    seed: int = 0,
) -> Estimate:
    """statistic(current) over, or less, statistic(baseline), with a percentile interval.

    paired: both runs served the same units, so each resample draws the same ones from both, and
    what makes a unit slow in both runs cancels; the numbers of units must be equal.
    block: units drawn together; by default `block_length` of each sample. allowance: how many times
    as far from the truth the contrast lies as blocks of one sample show, where that is known.
    The interval covers the chance of which units were measured. It does not cover what differs
    from run to run (another process, another hour): only repeated, interleaved runs show that.
    """
    if paired and baseline.num_units != current.num_units:
        raise ValueError(f"paired samples of {baseline.num_units} and {current.num_units} units")
    value = _contrast(
        np.array([statistic.of(baseline)]), np.array([statistic.of(current)]), contrast
    )
    if not np.isfinite(value[0]):
        return Estimate(float("nan"), float("nan"), float("nan"))
    baseline, current = baseline.ascending(), current.ascending()
    widths = [block or block_length(one.num_units) for one in (baseline, current)]
    rng = np.random.default_rng(seed)
    rows = rows_at_a_time(max(statistic.width(baseline), statistic.width(current)))
    drawn: list[NDArray[np.float64]] = []
    for done in range(0, resamples, rows):
        count = min(rows, resamples - done)
        times = draw_blocks(baseline.num_units, widths[0], count, rng)
        other = times if paired else draw_blocks(current.num_units, widths[1], count, rng)
        drawn.append(
            _contrast(
                statistic.of_resamples(baseline, times),
                statistic.of_resamples(current, other),
                contrast,
            )
        )
    found = np.concatenate(drawn)
    found = found[np.isfinite(found)]
    if not len(found):
        return Estimate(float(value[0]), float("nan"), float("nan"))
    blocks = min(blocks_of(one.num_units, block) for one in (baseline, current))
    low, high = interval_of(found, blocks, confidence, contrast, allowance)
    return Estimate(float(value[0]), low, high)


def rows_at_a_time(width: int) -> int:
    """How many resamples are taken together where each takes so many columns."""
    return max(1, _CELLS_AT_A_TIME // width)


def draw_blocks(
    num_units: int, block: int, resamples: int, rng: np.random.Generator
) -> NDArray[np.int32]:
    """How often each unit is drawn in each resample: [resamples, num_units], rows sum to num_units.

    Runs of `block` neighbours from anywhere, wrapping around at the end; the last run is cut.
    """
    block = min(block, num_units)
    starts = rng.integers(num_units, size=(resamples, -(-num_units // block)))
    drawn = (starts[:, :, None] + np.arange(block)).reshape(resamples, -1)[:, :num_units]
    flat = drawn % num_units + num_units * np.arange(resamples)[:, None]
    counts = np.bincount(flat.ravel(), minlength=resamples * num_units)
    return counts.reshape(resamples, num_units).astype(np.int32)


def _contrast(
    baseline: NDArray[np.float64], current: NDArray[np.float64], contrast: Contrast
) -> NDArray[np.float64]:
    if contrast == "difference":
        return current - baseline
    # A ratio to nothing is undefined, not infinite.
    return np.where(baseline > 0, current / np.where(baseline > 0, baseline, 1), np.nan)
