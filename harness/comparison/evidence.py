"""What two stored runs show of one quantity: both values, their contrast, and how sure it is."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import product

from ..metrics import CostPerMillionTokens, Goodput, GoodputShare
from ..result import Result
from ..stats.bootstrap import CONFIDENCE, Contrast, Estimate, Statistic, compare_samples
from . import text_quality
from .alike import unlike
from .enough import disturbed, is_timed, requests_needed, too_little
from .observed import Observed, can_be_resampled
from .pairing import Pairs, counts_repeat, pairs_of
from .quantities import QUANTITIES, Quantity

# The chance, over all that is judged at once, of calling a difference that is not there.
ERROR_RATE = 0.05
# What repeats exactly agrees to nine digits: sums round differently between processors.
ROUNDING = 1e-9
# Rates and shares that count requests.
_REQUESTS = "request_throughput"
_OF_REQUESTS = (_REQUESTS, Goodput.id, GoodputShare.id)
ONE_NUMBER = "one run of each does not show how much it varies from run to run; repeats do"


@dataclass(frozen=True)
class Finding:
    """One quantity of two runs.

    estimate: the contrast and its interval; where the quantity is exact all three numbers are the
    contrast. None if a run lacks the quantity. too_little: why nothing can be concluded
    whatever the interval; empty if something can. undefined: why a ratio has no interval, where
    more can be said than that the baseline is 0.
    """

    quantity: Quantity
    baseline: float | None
    current: float | None
    estimate: Estimate | None
    too_little: str = ""
    undefined: str = ""


def has_interval(quantity: Quantity, results: Iterable[Result]) -> bool:
    """Whether single runs show how sure it is."""
    if quantity.kind == "quality":
        return text_quality.has_parts(
            quantity, [one for one in results if quantity.value(one) is not None]
        )
    return can_be_resampled(quantity) and not _exact_of(quantity, results)


def _exact_of(quantity: Quantity, results: Iterable[Result]) -> bool:
    """Whether it is what it is: a count, and what steps did or took in virtual time."""
    if quantity.kind == "reading" and quantity.id != CostPerMillionTokens.id:
        return all(result.simulation is not None for result in results)
    return quantity.kind == "count"


def counts_alike(quantity: Quantity, results: Iterable[Result]) -> bool:
    """Whether another run would count the same: what was read of memory does, and what steps did
    where the schedule does."""
    return quantity.id != "counters" or all(map(counts_repeat, results))


def examine(
    baseline: Observed,
    current: Observed,
    quantity: Quantity,
    *,
    contrast: Contrast = "ratio",
    confidence: float = CONFIDENCE,
) -> Finding:
    """Contrast one quantity of two runs. The seed of the bootstrap is fixed: it repeats."""
    before = quantity.value(baseline.stored.result)
    after = quantity.value(current.stored.result)
    if before is None or after is None:
        return Finding(quantity, before, after, None, "a run does not have it")
    results = (baseline.stored.result, current.stored.result)
    if quantity.kind == "quality":
        sides = [[one] for one in results]
        return examine_quality(quantity, *sides, contrast=contrast, confidence=confidence)
    contrasted = _exact(before, after, contrast)
    unknown = Estimate(contrasted.value, math.nan, math.nan)
    if _exact_of(quantity, results):
        if before == after or counts_alike(quantity, results):
            return Finding(quantity, before, after, contrasted)
        return Finding(quantity, before, after, unknown, ONE_NUMBER)
    if why := unlike(quantity, *results):
        return Finding(quantity, before, after, unknown, why)
    if not can_be_resampled(quantity):
        return Finding(quantity, before, after, unknown, ONE_NUMBER)
    if not (len(baseline.stored.requests) and len(current.stored.requests)):
        return Finding(quantity, before, after, unknown, "a run is known by its summary alone")
    pairs = pairs_of(baseline, current, quantity)
    estimate = compare_samples(
        baseline.sample(quantity, pairs.cut),
        current.sample(quantity, pairs.cut),
        Statistic(quantity.q),
        contrast=contrast,
        paired=pairs is not Pairs.NONE,
        confidence=confidence,
    )
    if estimate.low == estimate.high and quantity.id in _OF_REQUESTS:
        fewest = min(result.counters.requests_ok for result in results)
        whole = _of_all_requests(quantity, baseline.stored.result)
        whole = whole / before if contrast == "ratio" else whole
        estimate = _unseen(estimate, whole, fewest, confidence)
        if contrast == "ratio":
            estimate = replace(estimate, low=max(0.0, estimate.low))
    sides = [[result] for result in results]
    named = zip((baseline.name, current.name), results, strict=True) if is_timed(quantity) else ()
    why = disturbed(named) or too_little(sides, quantity, needed=requests_needed(quantity.q))
    return Finding(quantity, before, after, estimate, why)


def examine_quality(
    quantity: Quantity,
    before: Sequence[Result],
    after: Sequence[Result],
    *,
    contrast: Contrast = "ratio",
    confidence: float = CONFIDENCE,
) -> Finding:
    """Contrast a quantity of quality, which all of these runs have; of several on a side, their
    mean. The interval covers which text was read. One more run reads the same, so several show no
    more than one, and how long a run was or who disturbed it does not matter."""
    value, other = (_mean_of(quantity, side) for side in (before, after))
    contrasted = _exact(value, other, contrast)
    unknown = Estimate(contrasted.value, math.nan, math.nan)
    for pair in product(before, after):
        if why := text_quality.unlike(quantity, *pair):
            return Finding(quantity, value, other, unknown, why)
    samples = text_quality.pair_of(quantity, before, after)
    if samples is None:
        # A mean over thousands of tokens is the same only if each of them is; a share may be.
        if quantity.unit != "share" and agree(value, other):
            return Finding(quantity, value, other, contrasted)
        return Finding(quantity, value, other, unknown, text_quality.why_no_interval(quantity))
    estimate = compare_samples(
        *samples,
        text_quality.statistic_of(quantity),
        contrast=contrast,
        paired=True,
        block=text_quality.block_of(samples[0]),
        allowance=text_quality.ALLOWANCE,
        confidence=confidence,
    )
    same = estimate.low == estimate.high and agree(value, other)  # in every part
    why = "" if same else text_quality.too_little_text([*before, *after])
    return Finding(quantity, value, other, estimate, why)


def _mean_of(quantity: Quantity, side: Sequence[Result]) -> float:
    return sum(quantity.value(one) or 0.0 for one in side) / len(side)


def agree(one: float, other: float) -> bool:
    """Whether two numbers that repeat exactly are the same."""
    return math.isclose(one, other, rel_tol=ROUNDING, abs_tol=0.0)


def _of_all_requests(quantity: Quantity, result: Result) -> float:
    """What it would be if every request that was served counted."""
    if quantity.id == GoodputShare.id:
        return 1.0
    rate = QUANTITIES[f"{_REQUESTS}.{quantity.stat}"].value(result)
    assert rate is not None, "a run that has one rate of requests has this one"
    return rate


def _unseen(estimate: Estimate, whole: float, requests: int, confidence: float) -> Estimate:
    """An interval where requests of both runs fared alike, every one: that none of so many differed
    does not show that none does. What happens to a larger share of them happens to none with a
    chance below 1 - confidence (Hanley and Lippman-Hand, JAMA 249, 1983: three in n at 95 %).

    whole: what all requests come to, in the contrast's unit."""
    if not requests:
        return estimate
    margin = whole * min(1.0, -math.log(1 - confidence) / requests)
    return Estimate(estimate.value, estimate.low - margin, estimate.high + margin)


def _exact(before: float, after: float, contrast: Contrast) -> Estimate:
    if contrast == "difference":
        value = after - before
    elif before == after:
        value = 1.0
    else:
        value = after / before if before else float("inf")
    return Estimate(value, value, value)
