"""What two stored runs show of one quantity: both values, their contrast, and how sure it is."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import product

from ...reports.format import plural
from ...reports.tails import samples_for_interval
from ..metrics import CostPerMillionTokens, Goodput, GoodputShare
from ..result import Result
from ..stats.bootstrap import CONFIDENCE, Contrast, Estimate, Statistic, compare_samples
from ..storage.store import RunOnDisk, StoredRun
from . import judged
from .observed import Observed, can_be_resampled
from .pairing import Pairs, pairs_of
from .quantities import Quantity

# Below these a bootstrap knows too little of the spread to be trusted, and a machine's own rhythm
# (frequency, other processes, garbage collection) has not been seen.
FEWEST_REQUESTS = 20
SHORTEST_RUN_S = 5.0
# The chance, over all that is judged at once, of calling a difference that is not there.
ERROR_RATE = 0.05
# What repeats exactly agrees to nine digits: sums round differently between processors.
ROUNDING = 1e-9
_NOT_TIMED = ("kv", "batch_tokens", "batch_requests", "budget_utilisation")
# Rates and shares that count requests.
_OF_REQUESTS = ("request_throughput", Goodput.id, GoodputShare.id)
ONE_NUMBER = "one run of each does not show how much it varies from run to run; repeats do"


@dataclass(frozen=True)
class Finding:
    """One quantity of two runs.

    estimate: the contrast and its interval; where the quantity is exact all three numbers are the
    contrast. None if a run lacks the quantity. too_little: why nothing can be concluded
    whatever the interval; empty if something can.
    """

    quantity: Quantity
    baseline: float | None
    current: float | None
    estimate: Estimate | None
    too_little: str = ""


def has_interval(quantity: Quantity, results: Iterable[Result]) -> bool:
    """Whether single runs show how sure it is."""
    if quantity.kind == "judged":
        return judged.has_parts(
            quantity, [one for one in results if quantity.value(one) is not None]
        )
    return can_be_resampled(quantity) and not _exact_of(quantity, results)


def _exact_of(quantity: Quantity, results: Iterable[Result]) -> bool:
    """Whether it is what it is: a count, and what steps did or took in virtual time."""
    if quantity.kind == "reading" and quantity.id != CostPerMillionTokens.id:
        return all(result.simulation is not None for result in results)
    return quantity.kind == "count"


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
    if quantity.kind == "judged":
        sides = [[one] for one in results]
        return examine_quality(quantity, *sides, contrast=contrast, confidence=confidence)
    contrasted = _exact(before, after, contrast)
    if _exact_of(quantity, results):
        return Finding(quantity, before, after, contrasted)
    unknown = Estimate(contrasted.value, math.nan, math.nan)
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
        whole = 1.0 if contrast == "ratio" or quantity.id == GoodputShare.id else before
        estimate = _unseen(estimate, whole, fewest, confidence)
    sides = [[result] for result in results]
    named = zip((baseline.name, current.name), results, strict=True) if is_timed(quantity) else ()
    why = disturbed(named) or too_little(sides, quantity.label, needed=requests_needed(quantity.q))
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
        if why := judged.unlike(quantity, *pair):
            return Finding(quantity, value, other, unknown, why)
    samples = judged.pair_of(quantity, before, after)
    if samples is None:
        # A mean over thousands of tokens is the same only if each of them is; a share may be.
        if quantity.unit != "share" and agree(value, other):
            return Finding(quantity, value, other, contrasted)
        return Finding(quantity, value, other, unknown, judged.why_no_interval(quantity))
    estimate = compare_samples(
        *samples,
        judged.statistic_of(quantity),
        contrast=contrast,
        paired=True,
        block=judged.block_of(samples[0]),
        confidence=confidence,
    )
    same = estimate.low == estimate.high and agree(value, other)  # in every part
    why = "" if same else judged.too_little_text([*before, *after])
    return Finding(quantity, value, other, estimate, why)


def _mean_of(quantity: Quantity, side: Sequence[Result]) -> float:
    return sum(quantity.value(one) or 0.0 for one in side) / len(side)


def objections(stored: StoredRun | RunOnDisk) -> tuple[str, ...]:
    """Why a run may not enter a comparison or a gate; empty if it may."""
    result = stored.result
    reasons = tuple(check.detail for check in result.validity.failures if check.fatal)
    if not result.validity.valid and not reasons:
        reasons = ("it is marked invalid",)
    if result.status == "partial" and not reasons:
        reasons = ("it was interrupted",)
    return reasons


def unlike(quantity: Quantity, one: Result, other: Result) -> str:
    """Why two numbers are not of the same thing, and their ratio says nothing; empty if it does."""
    if quantity.kind == "judged":
        return judged.unlike(quantity, one, other)
    of_slo = quantity.id in (Goodput.id, GoodputShare.id)
    if of_slo and (one.config.get("slo") or {}) != (other.config.get("slo") or {}):
        return "the runs were judged by different SLOs"
    if of_window(quantity) and one.window.steady != other.window.steady:
        return "one is over a steady window, and the other, without one, over the whole run"
    return ""


def of_window(quantity: Quantity) -> bool:
    """Whether it is over the steady window, and over the whole run where there is none."""
    return quantity.stat == "window" or quantity.id == CostPerMillionTokens.id


def is_timed(quantity: Quantity) -> bool:
    """Whether it is a time, or made of times: a rate, what keeps a limit, a share of a peak, what a
    token costs. What steps computed and what memory held is none."""
    return quantity.measured and quantity.id not in _NOT_TIMED


def too_little(sides: Sequence[Sequence[Result]], what: str, *, needed: int = 0) -> str:
    """Why nothing can be concluded from these runs, whatever the interval; empty if something can.

    sides: the runs of each, which count together. what: a quantity as a reader calls it, and needed
    how many served requests it takes on each side. A simulated machine has no rhythm that a short
    run could miss.
    """
    simulated = all(result.simulation is not None for side in sides for result in side)
    shortest_s, runs = min((sum(one.duration_s for one in side), len(side)) for side in sides)
    if shortest_s < SHORTEST_RUN_S and not simulated:
        is_short = f"a run of {shortest_s:.1f} s is too short"
        if runs > 1:
            is_short = f"runs of {shortest_s:.1f} s together are too short"
        return f"{is_short} (at least {SHORTEST_RUN_S:g} s)"
    fewest = min(sum(one.counters.requests_ok for one in side) for side in sides)
    if fewest < needed:
        return f"{fewest} served requests are too few to compare {what}, which needs {needed}"
    return ""


def disturbed(runs: Iterable[tuple[str, Result]]) -> str:
    """Why times of these runs, by name, decide nothing: others used the machine, or it was held
    back, by more than the checks of a run allow. Empty if they may decide. No interval covers it:
    it would call the disturbance a difference."""
    found = {
        name: f"{result.validity.disturbances[0].detail} while {name} was measured"
        for name, result in runs
        if result.validity.disturbed
    }
    more = f" (and {plural(len(found) - 2, 'more run')} alike)" if len(found) > 2 else ""
    return f"{' and '.join(list(found.values())[:2])}{more}"


def requests_needed(q: float | None) -> int:
    """Served requests below which an interval is not to be trusted. q: of a percentile."""
    return max(FEWEST_REQUESTS, 0 if q is None else samples_for_interval(q))


def agree(one: float, other: float) -> bool:
    """Whether two numbers that repeat exactly are the same."""
    return math.isclose(one, other, rel_tol=ROUNDING, abs_tol=0.0)


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
