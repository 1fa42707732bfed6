"""What a frontier's report is given, as data: methods of quantisation on the same requests."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

from .claims_model import ClaimVerdict
from .model import Comparison, Ratio, Verdict

# What two methods are held against each other by: names of `harness/comparison/quantities.py`.
THROUGHPUT = "output_throughput.window"
KL = "quality.text_kl_mean"
PERPLEXITY = "quality.perplexity"
_FLIPPED: dict[Verdict | None, Verdict | None] = {"better": "worse", "worse": "better"}


@dataclass(frozen=True)
class FrontierMethod:
    """One method and what its run found; None: not measured.

    name: as in `--quant`; also its run's directory. bits: of one weight, scales left out.
    emulated: the hardware has no such arithmetic, so the speed is that of the emulation and decides
    nothing.
    reason: why the run does not count, in words; empty for one that does. disturbed: the machine
    was not its alone, or slowed down, while it ran: its speed decides nothing.
    weight_bytes: weights as served. output_tokens_per_s: over the steady window. batch_requests: in
    a step, on average.
    perplexity, text_kl_mean, text_kl_p99 and text_top1_agreement are of `text_tokens` of held-out
    text, kl_mean and top1_agreement of the run's answers; KL in nats a token. The unquantised
    model's own are 0 and 1.
    ratios: to the baseline, by the names of these fields; throughput_ratio and perplexity_ratio
    with what is known of how sure they are. task_scores: (task, metric, value, standard error).
    dominated_by: methods that are no worse in anything and better in something, beyond doubt.
    undecided_by: those of which that is neither shown nor refuted.
    """

    name: str
    label: str
    bits: float | None
    emulated: bool = False
    reason: str = ""
    disturbed: bool = False
    weight_bytes: float | None = None
    output_tokens_per_s: float | None = None
    ttft_mean_s: float | None = None
    tpot_mean_s: float | None = None
    batch_requests: float | None = None
    text_tokens: int | None = None
    perplexity: float | None = None
    text_kl_mean: float | None = None
    text_kl_p99: float | None = None
    text_top1_agreement: float | None = None
    kl_mean: float | None = None
    top1_agreement: float | None = None
    throughput_ratio: Ratio | None = None
    perplexity_ratio: Ratio | None = None
    ratios: dict[str, float] | None = None
    dominated_by: tuple[str, ...] = ()
    undecided_by: tuple[str, ...] = ()
    task_scores: tuple[tuple[str, str, float, float | None], ...] = ()

    @property
    def counts(self) -> bool:
        return not self.reason

    @property
    def on_frontier(self) -> bool:
        """Whether no method dominates it, beyond doubt."""
        return self.counts and not self.dominated_by and not self.undecided_by


@dataclass(frozen=True)
class MethodPair:
    """Two methods beside each other. ratios: of the second to the first, by quantity; the intervals
    of all pairs of a frontier hold together at 95 %, but for those marked alone."""

    first: str
    second: str
    ratios: dict[str, Ratio]


def between(pairs: Sequence[MethodPair], one: str, other: str) -> dict[str, Ratio]:
    """The ratios of `one` to `other`; empty if they were not held against each other."""
    for pair in pairs:
        if (pair.second, pair.first) == (one, other):
            return pair.ratios
        if (pair.first, pair.second) == (one, other):
            return {name: _inverse(ratio) for name, ratio in pair.ratios.items()}
    return {}


def _inverse(ratio: Ratio) -> Ratio:
    return replace(
        ratio,
        value=_over(ratio.value),
        low=None if ratio.high is None else _over(ratio.high),
        high=None if ratio.low is None else _over(ratio.low),
        verdict=_FLIPPED.get(ratio.verdict, ratio.verdict),
    )


def _over(value: float) -> float:
    return 1 / value if value else math.inf


@dataclass(frozen=True)
class FrontierClaim:
    """What people say, and what was measured of it, in a sentence or two. method: of which it was;
    empty: of those that it names."""

    claim: str
    verdict: ClaimVerdict
    evidence: str
    method: str = ""

    @property
    def named(self) -> str:
        """The claim, and of which method."""
        return f"{self.claim} ({self.method})" if self.method else self.claim


@dataclass(frozen=True)
class StepsLine:
    """Steps of one method. bandwidths_bytes_per_s: the machine's, beside each of its passes.

    decode_s: of a step, one for each of the batch sizes; floor_s: the least it could take.
    speed_ups: over the first method, one for each batch size, of steps taken in turns.
    prefill_s: of one prompt, prefill_speed_up: as above; None where the model has no positions for
    it. spreads: how far two passes differ in the speed-up, as a share, one for each batch size.
    """

    method: str
    bandwidths_bytes_per_s: tuple[float, ...]
    decode_s: tuple[float, ...]
    floor_s: tuple[float, ...]
    speed_ups: tuple[float, ...]
    prefill_s: float | None
    prefill_speed_up: float | None
    flops_per_s: float
    spreads: tuple[float, ...]


@dataclass(frozen=True)
class Crossing:
    """Where a method stops winning. kind: `at` a batch size between two measured ones; `beyond`
    the largest; `never` won. wins_from: the first batch size at which it wins. lost_at: sizes
    between its first win and its last at which it does not."""

    kind: Literal["at", "beyond", "never"]
    batch: float | None = None
    wins_from: float | None = None
    lost_at: tuple[int, ...] = ()


@dataclass(frozen=True)
class TurningPoint:
    """A 4-bit method against another: the batch size from which it wins no more.

    speed_ups: the other's time over the method's, for each batch size. measured: interpolated.
    floor: by the roofline at the machine's rates. reached: by a roofline at the rates that each
    method reached itself, bandwidth at batch 1 and operations on the prompt; None without one.
    sentence: where it turns. why: the reason, in words. steady: whether passes over the same steps
    agree.
    """

    method: str
    against: str
    speed_ups: tuple[float, ...]
    measured: Crossing
    floor: Crossing
    reached: Crossing | None
    sentence: str
    why: str
    steady: bool = True


@dataclass(frozen=True)
class FrontierSteps:
    """Decode steps by batch size, side by side. bytes_per_s: the median of all passes.
    rates_source: measured, or a datasheet's."""

    batches: tuple[int, ...]
    context_tokens: int
    prompt_tokens: int
    bytes_per_s: float
    rates_source: str
    lines: tuple[StepsLine, ...]
    turning_points: tuple[TurningPoint, ...]


@dataclass(frozen=True)
class Frontier:
    """Methods side by side on the same requests.

    baseline: the method that ratios are taken to. quality_of: the text that quality is measured on,
    with its windows; empty where none was. setting: what every run was made with, in words. notes:
    what the numbers cannot carry. comparison: every figure of the runs that count; None below two.
    steps: None where steps were not measured. pairs: every two methods that count.
    """

    model: str
    baseline: str
    setting: tuple[str, ...]
    quality_of: str
    methods: tuple[FrontierMethod, ...]
    claims: tuple[FrontierClaim, ...]
    notes: tuple[str, ...]
    comparison: Comparison | None
    steps: FrontierSteps | None
    command: str
    pairs: tuple[MethodPair, ...] = ()

    @property
    def counted(self) -> tuple[FrontierMethod, ...]:
        return tuple(one for one in self.methods if one.counts)

    def method(self, name: str) -> FrontierMethod:
        return next(one for one in self.methods if one.name == name)
