"""Two repeated runs side by side: which runs are pairs, and what a quantity does between them.

Repeats of one number are sent the same requests, because their seeds are derived alike, and all of
a trace are; so each is held against its pair, and what makes a draw of requests hard on both sides
cancels. What is left from pair to pair is how the machine, and the engines' answer to other
requests, differ from run to run. Runs that have no pair are compared as two groups.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import product

from ...engines.errors import ConfigError
from ..comparison.alike import unlike
from ..comparison.enough import disturbed, is_timed, too_little
from ..comparison.evidence import Finding, counts_alike, examine_quality
from ..comparison.quantities import Quantity, finite_or_none
from ..comparison.text_quality import of_answers
from ..errors import InvalidRun
from ..result import Result
from ..stats.between_runs import FEWEST_RUNS, of_groups, of_pairs
from ..stats.bootstrap import CONFIDENCE, Contrast, Estimate
from ..storage.store import RunOnDisk
from .directory import Repeats

# The standard deviation of what is rounded to whole numbers: of an even distribution as wide as 1.
_OF_WHOLE_NUMBERS = 1 / math.sqrt(12)


@dataclass(frozen=True)
class Sides:
    """The runs of both sides that are held against each other; if paired, place by place.
    left_out: names of runs that have no pair."""

    baseline: tuple[RunOnDisk, ...]
    current: tuple[RunOnDisk, ...]
    paired: bool
    left_out: tuple[str, ...] = ()

    @property
    def results(self) -> tuple[list[Result], list[Result]]:
        return [run.result for run in self.baseline], [run.result for run in self.current]

    @property
    def held_against(self) -> Iterable[tuple[Result, Result]]:
        """Each pair; of sides that are not paired, each run of one with each of the other."""
        return zip(*self.results, strict=True) if self.paired else product(*self.results)

    @property
    def fewest(self) -> int:
        return min(len(self.baseline), len(self.current))

    def too_little(self, quantity: Quantity) -> str:
        """Why the runs decide nothing about what took time, whatever the interval. The spread is
        between runs, so it does not matter how many requests each of them has; one that was
        disturbed would be taken for a spread of the side."""
        runs = (*self.baseline, *self.current) if is_timed(quantity) else ()
        named = ((_name(run), run.result) for run in runs)
        return disturbed(named) or too_little(self.results, quantity)


def refuse_invalid(repeats: Repeats) -> None:
    """Raises InvalidRun, naming the first: to leave it out could flatter a side."""
    for run, reason in repeats.invalid:
        raise InvalidRun(
            f"{repeats.directory / run.directory.name}: not valid, so not comparable: {reason}"
        )


def match(baseline: Repeats, current: Repeats) -> Sides:
    """Pairs of the same requests, where there are two or more; else all runs of both sides. Raises
    ConfigError for a side with a single run, which shows no spread."""
    for side in (baseline, current):
        if len(side.runs) < FEWEST_RUNS:
            raise ConfigError(
                "runs",
                f"{side.name} with {len(side.runs)} repeat",
                f"at least {FEWEST_RUNS} repeats, for an interval between runs",
            )
    pairs = _pairs(baseline.runs, current.runs)
    if len(pairs) < FEWEST_RUNS:
        return Sides(baseline.runs, current.runs, paired=False)
    paired = {id(run) for pair in pairs for run in pair}
    left_out = tuple(
        f"{side.name}/{run.directory.name}"
        for side in (baseline, current)
        for run in side.runs
        if id(run) not in paired
    )
    return Sides(
        tuple(before for before, _ in pairs), tuple(after for _, after in pairs), True, left_out
    )


def examine_repeats(
    sides: Sides,
    quantity: Quantity,
    *,
    contrast: Contrast = "ratio",
    confidence: float = CONFIDENCE,
) -> Finding:
    """Contrast one quantity of two repeated runs; values are means over runs. Counts, too, have an
    interval: other requests give other counts. Quality on a text has that of single runs, for
    every run reads the same text."""
    before, after = ([quantity.value(result) for result in side] for side in sides.results)
    each = map(finite_or_none, (*before, *after))
    known = [value for value in each if value is not None]
    if len(known) < len(before) + len(after):
        return Finding(quantity, _mean(before), _mean(after), None, "a run does not have it")
    if quantity.kind == "quality" and not of_answers(quantity):
        return examine_quality(quantity, *sides.results, contrast=contrast, confidence=confidence)
    baseline, current = known[: len(before)], known[len(before) :]
    results = (*sides.results[0], *sides.results[1])
    estimate = _estimate(
        baseline,
        current,
        contrast,
        confidence,
        paired=sides.paired,
        by_chance=quantity.kind == "count" and not counts_alike(quantity, results),
    )
    for one, other in sides.held_against:
        if why := unlike(quantity, one, other):
            unknown = Estimate(estimate.value, math.nan, math.nan)
            return Finding(quantity, _mean(before), _mean(after), unknown, why)
    why = sides.too_little(quantity) if quantity.measured else ""
    undefined = _zeros(baseline, current) if math.isnan(estimate.low) else ""
    return Finding(quantity, _mean(before), _mean(after), estimate, why, undefined)


def _name(run: RunOnDisk) -> str:
    """`paged/repeat-2`: many are called alike."""
    return "/".join(run.directory.parts[-2:])


def _pairs(
    baseline: Sequence[RunOnDisk], current: Sequence[RunOnDisk]
) -> list[tuple[RunOnDisk, RunOnDisk]]:
    """In order of the baseline. Those of one seed first: where every run is sent the same, as a
    trace is whatever the seed, the others are pairs in order."""
    found: dict[int, RunOnDisk] = {}
    left = dict(enumerate(current))
    for alike in (_with_seed, _requests):
        for at, run in enumerate(baseline):
            other = next((key for key, one in left.items() if alike(one) == alike(run)), None)
            if at not in found and other is not None:
                found[at] = left.pop(other)
    return [(baseline[at], found[at]) for at in sorted(found)]


def _with_seed(run: RunOnDisk) -> tuple[object, str]:
    return run.result.config.get("seed"), _requests(run)


def _requests(run: RunOnDisk) -> str:
    return run.result.workload.fingerprint


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if len(known) == len(values) else None


def _estimate(
    baseline: Sequence[float],
    current: Sequence[float],
    contrast: Contrast,
    confidence: float,
    *,
    paired: bool,
    by_chance: bool,
) -> Estimate:
    """by_chance: of counts that another run of the same requests would not repeat. Of few and
    small ones the differences are often the same, which shows no more than that they are whole
    numbers."""
    contrasted = of_pairs if paired else of_groups
    least_std = _OF_WHOLE_NUMBERS if by_chance else 0.0
    if contrast == "difference":
        return contrasted(baseline, current, confidence, least_std=least_std)
    if (least := min(*baseline, *current)) > 0:
        logs = contrasted(
            [math.log(value) for value in baseline],
            [math.log(value) for value in current],
            confidence,
            least_std=least_std / least,
        )
        return Estimate(*map(_exp, (logs.value, logs.low, logs.high)))
    return _of_zeros(baseline, current, confidence if by_chance else None)


def _exp(value: float) -> float:
    """Two runs that differ much leave an end beyond any number."""
    return math.exp(value) if value < 700 else math.inf


def _zeros(baseline: Sequence[float], current: Sequence[float]) -> str:
    """Which runs leave a ratio undefined, or open to chance."""
    counted = (
        f"{list(values).count(0)} of {side} {len(values)} runs"
        for side, values in (("the baseline's", baseline), ("the current side's", current))
        if 0 in values
    )
    return f"no ratio is sure: it is 0 in {' and in '.join(counted)}"


def _of_zeros(
    baseline: Sequence[float], current: Sequence[float], confidence: float | None
) -> Estimate:
    """A ratio where runs counted nothing: 1 if nobody did, infinite if only the baseline did, 0 if
    only the others did, else undefined. confidence: of counts by chance, with which the side of
    nothing must have had less than its share of all that was counted, any of which had as well
    been its own (Przyborowski and Wilenski, "Homogeneity of results in testing samples from
    Poisson series", Biometrika 31, 1940); None of anything else."""
    if not any(baseline) and not any(current):
        return Estimate(1.0, 1.0, 1.0)
    for nothing, counted, ratio in ((baseline, current, math.inf), (current, baseline, 0.0)):
        share = len(counted) / (len(baseline) + len(current))
        sure = confidence is None or 2 * share ** sum(counted) <= 1 - confidence
        if not any(nothing) and all(counted) and sure:
            return Estimate(ratio, ratio, ratio)
    before, after = sum(baseline) / len(baseline), sum(current) / len(current)
    return Estimate(after / before if before else math.inf, math.nan, math.nan)
