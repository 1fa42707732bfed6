"""Claims held against figures that are set by hand."""

from __future__ import annotations

from dataclasses import replace

import pytest
from llmbench.harness.frontier.claims import claims
from llmbench.harness.frontier.turning_points import AtBatch1
from llmbench.reports.frontier_model import (
    KL,
    PERPLEXITY,
    ClaimVerdict,
    FrontierClaim,
    FrontierMethod,
    MethodPair,
)
from llmbench.reports.model import Ratio

PLAIN = FrontierMethod("none", "unquantised", 16, perplexity=20.0, text_kl_mean=0.0)


def four_bits(ratio: Ratio | None, name: str = "awq", **figures) -> FrontierMethod:
    return FrontierMethod(name, "4 bits", 4, throughput_ratio=ratio, **figures)


def passes(lowest: float, highest: float | None = None) -> AtBatch1:
    """Decode steps at batch 1; of one pass, or of two alike."""
    highest = highest or lowest
    return AtBatch1((lowest * highest) ** 0.5, lowest, highest)


def only(found: tuple[FrontierClaim, ...]) -> FrontierClaim:
    assert len(found) == 1
    return found[0]


@pytest.mark.parametrize(
    ("batch_1", "ratio", "verdict"),
    [
        (2.4, Ratio(2.2, 2.1, 2.3), "confirmed"),
        (2.4, Ratio(1.2, 1.1, 1.3), "partly"),
        (1.8, Ratio(1.2, 1.1, 1.3), "refuted"),
        (2.4, Ratio(2.0, 1.5, 2.5), "partly"),  # the run decides nothing
        (None, Ratio(2.0, 1.5, 2.5), "undecided"),
        (None, Ratio(1.2, 1.1, 1.3), "refuted"),
        (2.1, None, "confirmed"),
        (None, None, "undecided"),
        (None, Ratio(2.5), "confirmed"),
        (None, Ratio(2.5, verdict="inconclusive"), "undecided"),
        # An interval of so little is none.
        (None, Ratio(2.5, 2.4, 2.6, "inconclusive", too_little="too short"), "undecided"),
    ],
)
def test_whether_four_bits_double_throughput(
    batch_1: float | None, ratio: Ratio | None, verdict: ClaimVerdict
) -> None:
    by_method = {} if batch_1 is None else {"awq": passes(batch_1)}
    claim = only(claims([PLAIN, four_bits(ratio)], by_method))
    assert claim.verdict == verdict
    assert claim.named == "INT4 weights double throughput (awq)"
    if batch_1 is not None:
        assert f"batch 1 is {batch_1:.2f}×" in claim.evidence
    if ratio is not None and ratio.low is not None:
        assert f"{ratio.value:.2f}× ({ratio.low:.2f} to {ratio.high:.2f})" in claim.evidence
        assert claim.evidence.endswith(", and too short.") is bool(ratio.too_little)


@pytest.mark.parametrize(
    ("lowest", "highest", "verdict", "said"),
    [
        (1.80, 2.15, "undecided", "1.97× (passes from 1.80× to 2.15×)"),
        (1.92, 2.20, "undecided", "2.06× (passes from 1.92× to 2.20×)"),
        (2.00, 2.20, "confirmed", "2.10× (passes from 2.00× to 2.20×)"),
        (1.80, 1.999, "refuted", "1.90× (passes from 1.80× to 1.999×)"),
        # Passes that read alike are not told apart in words.
        (1.620, 1.622, "refuted", "1.62×"),
    ],
)
def test_passes_on_both_sides_of_two_decide_nothing(
    lowest: float, highest: float, verdict: ClaimVerdict, said: str
) -> None:
    claim = only(claims([PLAIN, four_bits(None)], {"awq": passes(lowest, highest)}))
    assert claim.verdict == verdict
    assert claim.evidence == f"A decode step at batch 1 is {said}."


def test_the_speed_of_an_emulation_doubles_nothing() -> None:
    """And does not fail to: W4A8 through PyTorch multiplies floats."""
    for ratio, steps in ((Ratio(1.2, 1.1, 1.3), 1.2), (Ratio(2.2, 2.1, 2.3), 2.4)):
        claim = only(claims([PLAIN, four_bits(ratio, emulated=True)], {"awq": passes(steps)}))
        assert claim.verdict == "undecided"
        assert claim.evidence.count("only emulates it, which decides nothing: not decided") == 2


def test_what_a_claim_came_to_is_said_once() -> None:
    ratio = Ratio(0.96, 0.46, 2.04, "inconclusive")
    alone = only(claims([PLAIN, four_bits(ratio)], {}))
    assert alone.evidence == "This run's output throughput is 0.96× (0.46 to 2.04)."
    # Two parts may differ, so each has its own.
    both = only(claims([PLAIN, four_bits(ratio)], {"awq": passes(2.4)}))
    assert "2.40×: confirmed; " in both.evidence
    assert both.evidence.endswith(": not decided.")


@pytest.mark.parametrize("disturbed", ["none", "awq"])
def test_a_run_that_had_the_machine_not_to_itself_decides_nothing(disturbed: str) -> None:
    """Its interval is of requests, and holds nothing of what other processes took. Steps that were
    taken in turns still decide."""
    plain = replace(PLAIN, disturbed=disturbed == "none")
    awq = four_bits(Ratio(4.5, 4.0, 5.0), disturbed=disturbed == "awq")
    assert only(claims([plain, awq], {})).verdict == "undecided"
    assert only(claims([plain, awq], {"awq": passes(1.5)})).verdict == "refuted"
    assert only(claims([plain, awq], {"awq": passes(2.5)})).verdict == "partly"


FAST, SLOW = Ratio(1.4, 1.3, 1.5), Ratio(0.4, 0.3, 0.5)


@pytest.mark.parametrize(
    ("perplexity", "speed", "verdict"),
    [
        (Ratio(1.005, 1.002, 1.008, "same"), FAST, "confirmed"),
        (Ratio(1.015, 1.012, 1.018, "same"), FAST, "partly"),
        (Ratio(1.005, 1.002, 1.008, "same"), SLOW, "partly"),
        (Ratio(1.03, 1.02, 1.04, "worse"), SLOW, "refuted"),
        (Ratio(1.0, verdict="same"), FAST, "confirmed"),
        # An interval that holds more and less than one percent, and none at all.
        (Ratio(1.005, 0.99, 1.02, "inconclusive"), FAST, "partly"),
        (Ratio(1.005, 0.99, 1.02, "inconclusive"), SLOW, "refuted"),
        (Ratio(1.0, verdict="inconclusive", too_little="no parts"), FAST, "partly"),
        (None, FAST, "undecided"),
    ],
)
def test_whether_eight_bit_floats_are_free(
    perplexity: Ratio | None, speed: Ratio, verdict: ClaimVerdict
) -> None:
    method = FrontierMethod(
        "fp8",
        "8-bit floats",
        8,
        perplexity=None if perplexity is None else 20 * perplexity.value,
        perplexity_ratio=perplexity,
        text_top1_agreement=0.97,
        throughput_ratio=speed,
    )
    claim = only(claims([PLAIN, method], {}))
    assert claim.verdict == verdict
    assert "emulates" not in claim.evidence
    assert ("3.00 % of the next tokens change" in claim.evidence) is (perplexity is not None)
    if perplexity is not None and perplexity.low is not None:
        assert "\u22121 % to +2 %" in claim.evidence or perplexity.low > 1


@pytest.mark.parametrize("speed", [FAST, SLOW])
@pytest.mark.parametrize(
    ("perplexity", "verdict"),
    [
        (Ratio(1.005, 1.002, 1.008, "same"), "partly"),
        (Ratio(1.03, 1.02, 1.04, "worse"), "refuted"),
        (Ratio(1.005, 0.99, 1.02, "inconclusive"), "undecided"),
    ],
)
def test_an_emulated_method_is_judged_by_its_quality_alone(
    perplexity: Ratio, verdict: ClaimVerdict, speed: Ratio
) -> None:
    method = FrontierMethod(
        "fp8",
        "8-bit floats",
        8,
        emulated=True,
        perplexity=20 * perplexity.value,
        perplexity_ratio=perplexity,
        throughput_ratio=speed,
    )
    claim = only(claims([PLAIN, method], {}))
    assert claim.verdict == verdict
    assert f"{speed.value:.2f}×" in claim.evidence
    assert "only emulates it, which decides nothing: not decided" in claim.evidence


def rivals(kl: Ratio | None, perplexity: Ratio | None) -> FrontierClaim:
    """gptq beside awq, as the runs were held against each other; the claim is about awq."""
    awq = four_bits(
        None, text_kl_mean=0.02, perplexity=21.0, output_tokens_per_s=50.0, text_tokens=4094
    )
    gptq = four_bits(None, "gptq", text_kl_mean=0.03, perplexity=21.4, output_tokens_per_s=50.0)
    ratios = {name: one for name, one in ((KL, kl), (PERPLEXITY, perplexity)) if one is not None}
    return only(claims([awq, gptq], {}, [MethodPair("awq", "gptq", ratios)]))


def test_rivals_are_judged_by_quality_and_only_together() -> None:
    assert [one.claim for one in claims([four_bits(None)], {})] == []
    further, higher = Ratio(1.5, 1.25, 2.0, "worse"), Ratio(1.05, 1.03, 1.07, "worse")
    claim = rivals(further, higher)
    assert (claim.claim, claim.verdict) == ("AWQ beats GPTQ", "confirmed")
    assert "0.0200 against 0.0300, 0.67× (0.50 to 0.80)" in claim.evidence
    assert rivals(further, replace(higher, verdict="better")).verdict == "partly"


def test_a_difference_whose_interval_holds_none_is_not_called() -> None:
    """AWQ's perplexity is lower on this text, and by less than another text would change it."""
    further = Ratio(1.5, 1.25, 2.0, "worse")
    unsure = Ratio(1.02, 0.98, 1.06, "inconclusive")
    claim = rivals(further, unsure)
    assert claim.verdict == "partly"
    assert "0.98× (0.94 to 1.02), which is not decided" in claim.evidence
    assert rivals(unsure, unsure).verdict == "undecided"
    assert rivals(None, None).verdict == "undecided"
    short = replace(unsure, too_little="too little text")
    assert "too little text" in rivals(further, short).evidence


def test_what_might_decide_it_is_said_where_anyone_would_read_so_much() -> None:
    """0.80 [0.60, 1.20] of 4 094 tokens: ln(1.2 / 0.8) is 1.82 times ln(1 / 0.8), so an interval
    that is to end before 1 takes 3.3 times the text."""
    evidence = rivals(Ratio(1 / 0.8, 1 / 1.2, 1 / 0.6, "inconclusive"), None).evidence
    assert "which is not decided (--quality-tokens 14000 may decide it)" in evidence
    near = rivals(Ratio(1.01, 0.9, 1.13, "inconclusive"), None).evidence
    assert "which is not decided;" in near, "a hundred times as much is no advice"


def test_a_run_that_does_not_count_supports_no_claim() -> None:
    refused = four_bits(Ratio(2.5, 2.4, 2.6), reason="not valid: an error")
    assert claims([PLAIN, refused], {}) == ()
