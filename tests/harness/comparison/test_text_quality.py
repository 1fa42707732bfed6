"""Quality is compared over the same tokens, part by part, or not at all."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from llmbench.harness.comparison.compare import compare
from llmbench.harness.comparison.evidence import Finding, examine
from llmbench.harness.comparison.observed import Observed
from llmbench.harness.comparison.quantities import QUANTITIES
from llmbench.harness.gate.rules import parse_rule
from llmbench.harness.gate.runs import GateOutcome, gate
from llmbench.harness.repeats.compare import compare_repeats
from llmbench.harness.repeats.pairs import examine_repeats, match
from llmbench.harness.result import Quality
from llmbench.harness.stats.student import quantile
from llmbench.harness.storage.store import StoredRun
from llmbench.reports.model import Ratio
from numpy.typing import NDArray

from ..judged import judged_run, quality_of
from ..repeats.made import in_memory

# Of 64 parts some are far harder than others, for any weights.
HARD = np.random.default_rng(7).normal(3.0, 0.5, 64)
SHIFT = np.random.default_rng(8).normal(0.0, 0.05, 64)
SHIFT -= SHIFT.mean()
PLAIN = quality_of(HARD)
PERPLEXITY = QUANTITIES["quality.perplexity"]


def found(before: Quality, after: Quality, name: str = "quality.perplexity") -> Finding:
    one, other = Observed(judged_run(before, "a")), Observed(judged_run(after, "b"))
    return examine(one, other, QUANTITIES[name])


def ratio_of(before: StoredRun, after: StoredRun, name: str = "quality.perplexity") -> Ratio:
    rows = {row.name: row for row in compare([before, after]).rows}
    ratio = rows[name].ratios[1]
    assert ratio is not None
    return ratio


def gated(before: Quality, after: Quality, rule: str) -> GateOutcome:
    return gate(judged_run(before, "a"), judged_run(after, "b"), [parse_rule(rule)])


def worse(by: float, shift: NDArray[np.float64] = SHIFT, **said: Any) -> Quality:
    """Perplexity e^by times as high on the whole, more in some parts and less in others."""
    return quality_of(HARD + by + shift, **said)


def test_another_length_of_text_is_not_a_worse_model() -> None:
    """The same weights over the text's first 512 tokens and over 2 048 of it."""
    short, long = quality_of(HARD[:16] - 0.15), quality_of(HARD)
    ratio = ratio_of(judged_run(short, "a"), judged_run(long, "b"))
    assert ratio.verdict == "inconclusive"
    assert ratio.too_little == "quality was measured on different text or windows"
    comparison = compare([judged_run(short, "a"), judged_run(long, "b")])
    assert "erplexity" not in comparison.statement
    said = "quality was measured on different text or windows, so it does not compare"
    assert said in comparison.warnings
    outcome = gated(short, long, "quality.perplexity=5%")
    assert outcome.exit_code == 4
    assert outcome.rows[0].note == "quality was measured on different text or windows"


@pytest.mark.parametrize(
    ("other", "why"),
    [
        ({"perplexity_text": "other.txt"}, "different text or windows"),
        ({"perplexity_window_tokens": 512}, "different text or windows"),
        ({"text_fingerprint": "as another tokenizer reads it"}, "another tokenizer"),
    ],
)
def test_what_was_judged_must_be_the_same_tokens(other: dict[str, Any], why: str) -> None:
    finding = found(PLAIN, worse(0.3, **other))
    assert why in finding.too_little
    assert finding.estimate is not None
    assert math.isnan(finding.estimate.low)


def test_two_models_of_one_tokenizer_compare_and_of_unknown_ones_do_not() -> None:
    ratio = ratio_of(judged_run(PLAIN), judged_run(worse(0.3), "b", model="another"))
    assert ratio.verdict == "worse"
    old = [quality_of(one, keeps_parts=False) for one in (HARD, HARD + 0.3)]
    ratio = ratio_of(judged_run(old[0]), judged_run(old[1], "b", model="another"))
    assert ratio.verdict == "inconclusive"
    assert "not known to have one tokenizer" in ratio.too_little


def test_distances_to_two_models_do_not_compare() -> None:
    kl = np.full(64, 0.01)
    finding = found(
        quality_of(HARD, kl), quality_of(HARD, 3 * kl, reference="another"), "quality.text_kl_mean"
    )
    assert "to different models" in finding.too_little


@pytest.mark.parametrize("name", ["kl_mean", "top1_agreement"])
def test_what_each_run_answered_is_not_the_same_text(name: str) -> None:
    def answered(value: float, fingerprint: str) -> Quality:
        said: dict[str, Any] = {name: value, "answers_fingerprint": fingerprint}
        return quality_of(HARD, **said)

    rule = f"quality.{name}=5%"
    for one, other in (("x", "y"), ("", ""), ("x", "")):
        outcome = gated(answered(0.5, one), answered(0.2, other), rule)
        assert outcome.exit_code == 4
        assert "each run's own answers" in outcome.rows[0].note
        assert "not the same" in outcome.rows[0].note or "not known" in outcome.rows[0].note
    # The same answers at the same distance: nothing changed.
    same = found(answered(0.5, "x"), answered(0.5, "x"), f"quality.{name}")
    assert (same.too_little == "") is (name == "kl_mean"), "two shares may be equal by chance"


def test_a_ratio_of_perplexities_is_by_pairs_of_parts() -> None:
    """What is hard for both cancels: the interval is of the differences, whose spread is a tenth,
    and near Student's for the sixteen blocks that a resample has, widened by what blocks of one
    stretch do not show."""
    finding = found(PLAIN, worse(0.10))
    assert finding.estimate is not None
    assert finding.estimate.value == pytest.approx(math.exp(0.10))
    half = math.log(finding.estimate.high / finding.estimate.low) / 2
    blocks = np.array([np.roll(SHIFT, -at)[:4].mean() for at in range(64)])
    by_hand = 1.3 * quantile(0.95, 15) * blocks.std() / math.sqrt(15)
    assert half == pytest.approx(by_hand, rel=0.1)
    assert finding.estimate.low > 1
    assert finding.too_little == ""


def test_a_difference_that_the_text_does_not_decide_is_not_called() -> None:
    """A tenth of a percent either way, as RTN beside no quantisation: no verdict but `the same` or
    `inconclusive`, in a comparison and in a gate."""
    for by in (-0.001, 0.001):
        noisy = worse(by, 4 * SHIFT)
        assert ratio_of(judged_run(PLAIN), judged_run(noisy, "b")).verdict == "inconclusive"
        assert gated(PLAIN, noisy, "quality.perplexity=0%").exit_code == 4
        close = worse(by, 0.02 * SHIFT)
        assert ratio_of(judged_run(PLAIN), judged_run(close, "b")).verdict == "same"
    far = worse(0.15)
    ratio = ratio_of(judged_run(PLAIN), judged_run(far, "b"))
    assert ratio.verdict == "worse"
    assert ratio.low is not None
    assert ratio.low > 1
    assert gated(PLAIN, far, "quality.perplexity=5%").exit_code == 1
    assert gated(PLAIN, far, "quality.perplexity=40%").exit_code == 0
    assert gated(PLAIN, far, "quality.perplexity=20").exit_code == 0, "in perplexity itself"


def test_an_interval_that_holds_with_thirty_others_is_some_twice_as_wide_as_by_itself() -> None:
    """Of four blocks it would be 3.5 times as wide, and decide next to nothing."""
    sides = Observed(judged_run(PLAIN, "a")), Observed(judged_run(worse(0.1), "b"))

    def half(confidence: float) -> float:
        found = examine(*sides, PERPLEXITY, confidence=confidence).estimate
        assert found is not None
        return math.log(found.high / found.low) / 2

    assert half(1 - 0.05 / 31) == pytest.approx(1.8 * half(0.95), rel=0.03)


def test_which_of_two_has_a_part_decides_nothing_by_chance() -> None:
    """One model twice: a coin says which of both gets the more of each part of the text."""
    rng = np.random.default_rng(1)
    hard, far = rng.normal(3.0, 0.5, 128), rng.gamma(2.0, 0.05, (2, 128))
    called = 0
    for _ in range(100):
        coin = rng.integers(0, 2, 128)
        sides = (quality_of(hard, np.where(coin == side, *far)) for side in (0, 1))
        ratio = ratio_of(
            *(judged_run(one, name) for one, name in zip(sides, "ab", strict=True)),
            name="quality.text_kl_mean",
        )
        called += ratio.verdict in ("better", "worse")
    assert called <= 5


def test_distance_and_agreement_are_by_pairs_of_parts_too() -> None:
    kl = np.random.default_rng(3).uniform(0.005, 0.015, 64)
    agreed = np.random.default_rng(4).integers(27, 31, 64)
    near = quality_of(HARD, kl, agreed.tolist())
    more = kl * np.random.default_rng(5).uniform(1.9, 2.1, 64)
    far = quality_of(HARD, more, (agreed - 8).tolist())
    ratio = ratio_of(judged_run(near), judged_run(far, "b"), "quality.text_kl_mean")
    assert ratio.verdict == "worse"
    assert ratio.value == pytest.approx(more.mean() / kl.mean())
    assert ratio.low is not None
    assert ratio.high is not None
    assert 1.8 < ratio.low < ratio.value < ratio.high < 2.2, "unpaired it would be as wide as KL is"
    ratio = ratio_of(judged_run(near), judged_run(far, "b"), "quality.text_top1_agreement")
    assert ratio.verdict == "worse"
    assert ratio.value == pytest.approx((agreed.sum() - 8 * 64) / agreed.sum())


def test_equal_quality_is_the_same_however_little_text() -> None:
    for parts in (1, 16, 64):
        finding = found(quality_of(HARD[:parts]), quality_of(HARD[:parts]))
        assert finding.too_little == ""
        assert finding.estimate is not None
        assert (finding.estimate.low, finding.estimate.high) == (1.0, 1.0)
    assert gated(PLAIN, quality_of(HARD), "quality.perplexity=exact").exit_code == 0
    assert gated(PLAIN, worse(1e-4), "quality.perplexity=exact").exit_code == 1


def test_too_little_text_decides_nothing() -> None:
    finding = found(quality_of(HARD[:15]), quality_of(HARD[:15] + 1))
    assert finding.too_little == "480 tokens of text are too few to compare quality (at least 500)"


def test_older_results_have_no_interval_and_say_so() -> None:
    before, after = (quality_of(one, keeps_parts=False) for one in (HARD, HARD + 0.3))
    assert "text_parts" in type(before).model_fields
    old = before.model_dump(exclude={"text_parts", "text_fingerprint", "answers_fingerprint"})
    assert Quality.model_validate(old) == before
    ratio = ratio_of(judged_run(before), judged_run(after, "b"))
    assert (ratio.low, ratio.verdict) == (None, "inconclusive")
    assert "stored as one number" in ratio.too_little
    assert gated(before, after, "quality.perplexity=5%").exit_code == 4
    assert ratio_of(judged_run(before), judged_run(before, "b")).verdict == "same"


def test_repeats_read_the_same_text_so_they_show_no_more_than_one() -> None:
    def side(name: str, quality: Quality) -> Sequence[StoredRun]:
        return [judged_run(quality, f"{name}-{at}") for at in (1, 2, 3)]

    noisy = worse(0.001, 4 * SHIFT)
    sides = in_memory("a", list(side("a", PLAIN))), in_memory("b", list(side("b", noisy)))
    finding = examine_repeats(match(*sides), PERPLEXITY)
    single = found(PLAIN, noisy)
    assert finding.estimate is not None
    assert single.estimate is not None
    assert finding.estimate.low == pytest.approx(single.estimate.low)
    assert finding.estimate.high == pytest.approx(single.estimate.high)
    rows = {row.name: row for row in compare_repeats(sides).rows}
    ratio = rows["quality.perplexity"].ratios[1]
    assert ratio is not None
    assert ratio.verdict == "inconclusive"


def test_who_disturbed_a_run_and_how_short_it_was_does_not_matter_to_its_quality() -> None:
    before, after = judged_run(PLAIN), judged_run(worse(0.15), "b")
    other = after.result.workload.model_copy(update={"fingerprint": "e" * 64})
    short = after.result.model_copy(update={"duration_s": 0.5, "workload": other})
    outcome = gate(
        before,
        StoredRun(after.directory, short, after.requests, after.steps),
        [parse_rule("quality.perplexity=5%")],
    )
    assert outcome.exit_code == 1


def test_a_comparison_says_of_quality_why_it_is_not_decided_whatever_else_is_not() -> None:
    """Requests and time are too few as well, for reasons enough to fill the other line."""
    said: dict[str, Any] = {"text_kl_p99": 0.05, "kl_mean": 0.1}
    one = judged_run(quality_of(HARD, **said, answers_fingerprint="x"))
    other = judged_run(worse(0.1, text_kl_p99=0.06, kl_mean=0.2, answers_fingerprint="y"), "b")
    lines = [text for text in compare([one, other]).warnings if text.startswith("quality is")]
    assert lines == [
        "quality is inconclusive whatever the interval: a p99 of KL, or what is over answers, is "
        "stored as one number and has no interval; it is over each run's own answers, and they are "
        "not the same"
    ]
