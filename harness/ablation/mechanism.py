"""What an engine did to get its numbers, and which part of that explains an effect.

A latency is a sum of parts (`harness/attribution/`), so the change of its logarithm between two
cells is a sum over the parts: part k of x = sum x_k contributes (x_k' - x_k) / L(x', x), where L is
the logarithmic mean (x' - x) / ln(x' / x). Nothing is left over. Source: Ang, "The LMDI approach to
decomposition analysis: a practical guide", Energy Policy 33 (2005).

Throughput follows from Little's law (Operations Research 9, 1961): tokens a second = requests
running / seconds a request takes its place for each token. The first factor is how many run at a
time, the second is a sum of parts again.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ...reports.kept_out import kept_out
from ..attribution import PARTS
from ..comparison.observed import Observed
from ..result import Result
from .accounting import QUEUE, Account, account
from .contrasts import Contrast
from .design import Cell
from .responses import Measure, Scale, measures_of
from .work import Work, work_of

Parts = Mapping[str, float]
RUNNING = "running"
THROUGHPUT = "output_throughput"
# A p99 is one request; the slowest twentieth says what slow requests spend their time on.
TAIL_SHARE = 0.05


@dataclass(frozen=True)
class Mechanism:
    """One run's mechanisms in numbers; shares are of 1.

    queue_s: mean of the queue in a TTFT; queue_share: of the mean TTFT.
    interference_s: others' prefills, mean a token after the first; spanned_share: of those tokens,
    the ones that another's prefill stood before.
    running: mean requests running at a time; running_peak; blocked_share: of step time, while a
    request waited for memory: a place in the batch and token budget were free; closed_share: while
    one waited like that for a static batch to end; waste_share: of the KV memory taken; None if
    none was.
    preemptions; recomputed_share: of all tokens computed.
    decode_s: decode and host, mean a token after the first: what it takes with nobody in its way.
    residence_s: a request's time in the engine, for each of its tokens.
    """

    queue_s: float
    queue_share: float
    interference_s: float
    spanned_share: float
    running: float
    running_peak: float
    blocked_share: float
    closed_share: float
    waste_share: float | None
    preemptions: float
    recomputed_share: float
    decode_s: float
    residence_s: float


@dataclass(frozen=True)
class Accounted:
    """What an analysis keeps of a run, once its tables have been read.

    directory: where it is stored. measures: by name of response. work: of its steps.
    """

    directory: Path
    result: Result
    account: Account
    mechanism: Mechanism
    measures: Mapping[str, Measure]
    work: Work

    @classmethod
    def of(cls, run: Observed) -> Accounted:
        stored = run.stored
        found = account(run.records, stored.steps)
        return cls(
            stored.directory,
            stored.result,
            found,
            _mechanism(run, found),
            measures_of(run),
            work_of(stored.steps),
        )


@dataclass(frozen=True)
class Explanation:
    """How much of an effect each part accounts for: shares of its logarithm, which sum to 1.

    A negative share worked against the effect.
    """

    shares: Parts

    def leading(self) -> tuple[str, ...]:
        """The part, or the two, that account for half of the effect; none if they do not."""
        ordered = sorted(self.shares, key=lambda part: -self.shares[part])
        for count in (1, 2):
            chosen = ordered[:count]
            if all(self.shares[part] > 0 for part in chosen) and (
                sum(self.shares[part] for part in chosen) >= 0.5
            ):
                return tuple(chosen)
        return ()


def explain(
    response: str, contrast: Contrast, repeats: Sequence[Mapping[Cell, Accounted]]
) -> Explanation | None:
    """Which parts account for the effect on a latency or a throughput.

    None for a response that is no sum of parts, or an effect too small to be divided.
    """
    name = quantity_of(response)
    if name == THROUGHPUT:
        return _explained(contrast, repeats, _throughput)
    parts = PARTS_OF.get(name)
    return None if parts is None else _explained(contrast, repeats, _by_parts(parts))


def quantity_of(response: str) -> str:
    """Its key in `PARTS_OF`, if it has one: a throughput of any stretch of the run is one."""
    return THROUGHPUT if response.startswith(f"{THROUGHPUT}.") else response


def _explained(
    contrast: Contrast,
    repeats: Sequence[Mapping[Cell, Accounted]],
    parts_of: Callable[[Accounted, Accounted], Parts],
) -> Explanation | None:
    half = len(contrast.pairs) if contrast.is_main else len(contrast.pairs) // 2
    totals: dict[str, float] = {}
    for cells in repeats:
        for at, (base, level) in enumerate(contrast.pairs):
            sign = 1.0 if at < half else -1.0
            change = parts_of(cells[base], cells[level])
            for part, amount in change.items():
                totals[part] = totals.get(part, 0.0) + sign * amount / (half * len(repeats))
    whole = sum(totals.values())
    if abs(whole) < 1e-9:
        return None
    return Explanation({part: amount / whole for part, amount in totals.items()})


def divided(before: Parts, after: Parts) -> dict[str, float]:
    """The change of log(sum of parts), part by part."""
    x, y = sum(before.values()), sum(after.values())
    if x <= 0 or y <= 0:
        return dict.fromkeys(before, 0.0)
    mean = x if math.isclose(x, y, rel_tol=1e-12) else (y - x) / math.log(y / x)
    return {part: (after[part] - before[part]) / mean for part in before}


def peak_ratio(contrast: Contrast, repeats: Sequence[Mapping[Cell, Accounted]]) -> float:
    """The most requests that ran at a time, level over base."""
    return _geometric(contrast, repeats, lambda one: one.mechanism.running_peak)


def running_ratio(contrast: Contrast, repeats: Sequence[Mapping[Cell, Accounted]]) -> float:
    """Requests running at a time, level over base: geometric mean over a main effect's pairs."""
    return _geometric(contrast, repeats, lambda one: one.mechanism.running)


def residence_ratio(contrast: Contrast, repeats: Sequence[Mapping[Cell, Accounted]]) -> float:
    """Time in the engine for each token, level over base."""
    return _geometric(contrast, repeats, lambda one: one.mechanism.residence_s)


def residence_part(contrast: Contrast, repeats: Sequence[Mapping[Cell, Accounted]]) -> str | None:
    """The part of the time in the engine that accounts for half of its change, if one does."""
    found = _explained(contrast, repeats, _by_parts(parts_of_residence))
    leading = found.leading() if found is not None else ()
    return leading[0] if len(leading) == 1 else None


def at_base_and_level(
    contrast: Contrast,
    repeats: Sequence[Mapping[Cell, Accounted]],
    of: Callable[[Accounted], float],
    *,
    scale: Scale = "difference",
) -> tuple[float, float]:
    """The mean of a number over a main effect's cells at the base, and at the level. scale: of the
    effect beside it; on that of ratios the mean is geometric, as the effect is, but of a number
    that is 0 in some cell, which has no such mean."""
    sides = ([], [])
    for cells in repeats:
        for pair in contrast.pairs:
            for side, cell in zip(sides, pair, strict=True):
                side.append(of(cells[cell]))
    if scale == "ratio" and min(*sides[0], *sides[1]) > 0:
        return math.exp(np.mean(np.log(sides[0]))), math.exp(np.mean(np.log(sides[1])))
    return float(np.mean(sides[0])), float(np.mean(sides[1]))


def parts_of_ttft(one: Accounted) -> Parts:
    return _mean(one.account.first)


def parts_of_slow_ttft(one: Accounted) -> Parts:
    """Of the slowest twentieth."""
    ttft_s = one.account.ttft_s
    return _mean(one.account.first[ttft_s >= np.quantile(ttft_s, 1 - TAIL_SHARE)])


def parts_of_tpot(one: Accounted) -> Parts:
    """Mean over requests of each part's time a token after the first."""
    many = one.account.gaps > 0
    return _mean(one.account.stream[many] / one.account.gaps[many, None])


def parts_of_worst_gap(one: Accounted) -> Parts:
    return _mean(one.account.worst_gaps)


def parts_of_e2el(one: Accounted) -> Parts:
    return _mean(one.account.whole)


def parts_of_residence(one: Accounted) -> Parts:
    """Time in the engine for each output token of the run."""
    tokens = float(one.account.gaps.sum() + len(one.account))
    return _named(one.account.resident.sum(axis=0) / tokens)


def _throughput(before: Accounted, after: Accounted) -> dict[str, float]:
    pace = divided(parts_of_residence(before), parts_of_residence(after))
    return {
        RUNNING: math.log(after.mechanism.running / before.mechanism.running),
        **{part: -change for part, change in pace.items()},
    }


def _by_parts(parts: Callable[[Accounted], Parts]) -> Callable[[Accounted, Accounted], Parts]:
    return lambda before, after: divided(parts(before), parts(after))


# What each quantity is a sum of, and a throughput's pace.
PARTS_OF: dict[str, Callable[[Accounted], Parts]] = {
    "ttft.mean": parts_of_ttft,
    "ttft.p99": parts_of_slow_ttft,
    "tpot.mean": parts_of_tpot,
    "itl.p99": parts_of_worst_gap,
    "e2el.mean": parts_of_e2el,
    THROUGHPUT: parts_of_residence,
}


def _mean(rows: NDArray[np.float64]) -> Parts:
    return _named(rows.mean(axis=0) if len(rows) else np.zeros(len(PARTS)))


def _named(row: NDArray[np.float64]) -> Parts:
    return dict(zip(PARTS, map(float, row), strict=True))


def _geometric(
    contrast: Contrast,
    repeats: Sequence[Mapping[Cell, Accounted]],
    of: Callable[[Accounted], float],
) -> float:
    logs = [
        math.log(of(cells[level]) / of(cells[base]))
        for cells in repeats
        for base, level in contrast.pairs
    ]
    return math.exp(float(np.mean(logs)))


def _mechanism(run: Observed, found: Account) -> Mechanism:
    result, steps = run.stored.result, run.stored.steps
    computed = float(steps["prefill_tokens"].sum() + steps["decode_tokens"].sum())
    gaps = max(float(found.gaps.sum()), 1.0)
    ttft_s = float(found.ttft_s.mean())
    queue_s = float(found.first[:, QUEUE].mean())
    token_s = _named(found.stream.sum(axis=0) / gaps)
    resident_s = float(found.resident.sum())
    kept = kept_out(steps, result.config)
    counters = result.counters
    recomputed = counters.recomputed_tokens or 0
    return Mechanism(
        queue_s=queue_s,
        queue_share=queue_s / ttft_s if ttft_s else 0.0,
        interference_s=token_s["others_prefill"],
        spanned_share=found.behind / gaps,
        running=resident_s / result.duration_s,
        running_peak=float(steps["running"].max()),
        blocked_share=kept.by_memory,
        closed_share=kept.by_batch,
        waste_share=result.kv.waste_share if result.kv else None,
        preemptions=float(counters.preemptions or 0),
        recomputed_share=recomputed / computed if computed else 0.0,
        decode_s=token_s["decode"] + token_s["host"],
        residence_s=resident_s / (gaps + len(found)),
    )
