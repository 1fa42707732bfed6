"""Claims held against figures that are set by hand."""

from __future__ import annotations

from dataclasses import replace

import pytest
from llmbench.harness.frontier.claims import claims
from llmbench.reports.frontier_model import ClaimVerdict, FrontierClaim, FrontierMethod
from llmbench.reports.model import Ratio

PLAIN = FrontierMethod("none", "unquantised", 16, perplexity=20.0, text_kl_mean=0.0)


def four_bits(ratio: Ratio | None, name: str = "awq", **figures) -> FrontierMethod:
    return FrontierMethod(name, "4 bits", 4, throughput_ratio=ratio, **figures)


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
    by_method = {} if batch_1 is None else {"awq": batch_1}
    claim = only(claims([PLAIN, four_bits(ratio)], by_method))
    assert claim.verdict == verdict
    assert claim.named == "INT4 weights double throughput (awq)"
    if batch_1 is not None:
        assert f"batch 1 is {batch_1:.2f}×" in claim.evidence
    if ratio is not None and ratio.low is not None:
        assert f"{ratio.value:.2f}× ({ratio.low:.2f} to {ratio.high:.2f})" in claim.evidence
        assert claim.evidence.endswith(", and too short.") is bool(ratio.too_little)


def test_what_a_claim_came_to_is_said_once() -> None:
    ratio = Ratio(0.96, 0.46, 2.04, "inconclusive")
    alone = only(claims([PLAIN, four_bits(ratio)], {}))
    assert alone.evidence == "This run's output throughput is 0.96× (0.46 to 2.04)."
    # Two parts may differ, so each has its own.
    both = only(claims([PLAIN, four_bits(ratio)], {"awq": 2.4}))
    assert "2.40×: confirmed; " in both.evidence
    assert both.evidence.endswith(": not decided.")


@pytest.mark.parametrize("disturbed", ["none", "awq"])
def test_a_run_that_had_the_machine_not_to_itself_decides_nothing(disturbed: str) -> None:
    """Its interval is of requests, and holds nothing of what other processes took. Steps that were
    taken in turns still decide."""
    plain = replace(PLAIN, disturbed=disturbed == "none")
    awq = four_bits(Ratio(4.5, 4.0, 5.0), disturbed=disturbed == "awq")
    assert only(claims([plain, awq], {})).verdict == "undecided"
    assert only(claims([plain, awq], {"awq": 1.5})).verdict == "refuted"
    assert only(claims([plain, awq], {"awq": 2.5})).verdict == "partly"


@pytest.mark.parametrize(
    ("perplexity", "ratio", "verdict"),
    [
        (20.1, Ratio(1.4, 1.3, 1.5), "confirmed"),
        (20.3, Ratio(1.4, 1.3, 1.5), "partly"),
        (20.1, Ratio(0.4, 0.3, 0.5), "partly"),
        (20.3, Ratio(0.4, 0.3, 0.5), "refuted"),
        (None, Ratio(1.4, 1.3, 1.5), "undecided"),
    ],
)
def test_whether_eight_bit_floats_are_free(
    perplexity: float | None, ratio: Ratio, verdict: ClaimVerdict
) -> None:
    method = FrontierMethod(
        "fp8",
        "8-bit floats",
        8,
        emulated=True,
        perplexity=perplexity,
        text_top1_agreement=0.97,
        throughput_ratio=ratio,
    )
    claim = only(claims([PLAIN, method], {}))
    assert claim.verdict == verdict
    assert "only emulates it" in claim.evidence
    assert ("3.00 % of the next tokens change" in claim.evidence) is (perplexity is not None)


def test_rivals_are_judged_by_quality_and_only_together() -> None:
    awq = four_bits(None, text_kl_mean=0.02, perplexity=21.0, output_tokens_per_s=50.0)
    gptq = four_bits(None, "gptq", text_kl_mean=0.03, perplexity=21.4, output_tokens_per_s=50.0)
    assert [one.claim for one in claims([awq], {})] == []
    claim = only(claims([awq, gptq], {}))
    assert (claim.claim, claim.verdict) == ("AWQ beats GPTQ", "confirmed")
    worse = four_bits(None, text_kl_mean=0.02, perplexity=21.6, output_tokens_per_s=50.0)
    assert only(claims([worse, gptq], {})).verdict == "partly"


def test_a_run_that_does_not_count_supports_no_claim() -> None:
    refused = four_bits(Ratio(2.5, 2.4, 2.6), reason="not valid: an error")
    assert claims([PLAIN, refused], {}) == ()
