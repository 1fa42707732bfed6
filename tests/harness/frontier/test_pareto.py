"""Dominance, on methods whose figures and verdicts are set by hand."""

from __future__ import annotations

from dataclasses import replace

import pytest
from llmbench.harness.frontier.pareto import dominated_by, dominates
from llmbench.reports.frontier_model import KL, THROUGHPUT, FrontierMethod, MethodPair
from llmbench.reports.model import Ratio, Verdict


def method(name: str, kl: float | None, weight_bytes: float, reason: str = "") -> FrontierMethod:
    return FrontierMethod(name, name, 4, reason=reason, text_kl_mean=kl, weight_bytes=weight_bytes)


def pair(
    first: str, second: str, kl: Verdict | None = None, speed: Verdict | None = None
) -> MethodPair:
    """The second beside the first; None: a run lacks it."""
    found: dict[str, Ratio] = {}
    if kl is not None:
        found[KL] = Ratio(0.9, 0.8, 1.0, kl)
    if speed is not None:
        found[THROUGHPUT] = Ratio(0.9, 0.8, 1.0, speed)
    return MethodPair(first, second, found)


PLAIN = method("none", 0.0, 100)


@pytest.mark.parametrize(
    ("other", "speed", "expected"),
    [
        (method("other", 0.0, 100), "worse", True),
        (method("other", 0.0, 101), "same", True),
        (method("other", 0.1, 100), "same", True),
        (method("other", 0.1, 100), "better", False),
        (method("other", 0.1, 25), "worse", False),
        (method("other", 0.0, 100), "same", False),
        # A speed that is not decided is neither no worse nor better.
        (method("other", 0.1, 100), "inconclusive", None),
        (method("other", 0.0, 100), "inconclusive", None),
        (method("other", 0.1, 25), "inconclusive", False),
    ],
)
def test_who_is_no_choice_beside_the_unquantised(
    other: FrontierMethod, speed: Verdict, expected: bool | None
) -> None:
    """Whose distance to itself is 0, so that any is more."""
    assert dominates(PLAIN, other, [pair("none", "other", speed=speed)]) is expected


@pytest.mark.parametrize(
    ("kl", "speed", "gptq", "awq"),
    [
        ("better", "same", True, False),
        ("better", "worse", False, False),
        ("better", "inconclusive", None, False),
        ("inconclusive", "inconclusive", None, None),
        ("inconclusive", "worse", False, None),
        ("same", "same", False, False),
    ],
)
def test_two_of_one_size_are_told_apart_by_verdicts(
    kl: Verdict, speed: Verdict, gptq: bool | None, awq: bool | None
) -> None:
    """gptq beside awq, and the other way round."""
    one, other = method("awq", 0.0054, 25), method("gptq", 0.0033, 25)
    pairs = [pair("awq", "gptq", kl, speed)]
    assert dominates(other, one, pairs) is gptq
    assert dominates(one, other, pairs) is awq


def test_points_that_no_verdict_tells_apart_decide_nothing() -> None:
    """Closer and 3 % faster in two runs that others disturbed: so far apart by chance."""
    awq = replace(method("awq", 0.0054, 25), output_tokens_per_s=97.0, disturbed=True)
    gptq = replace(method("gptq", 0.0033, 25), output_tokens_per_s=100.0, disturbed=True)
    pairs = [pair("awq", "gptq", "better", "inconclusive")]
    assert dominates(gptq, awq, pairs) is None
    assert dominated_by(awq, [awq, gptq], pairs) == ((), ("gptq",))
    assert dominated_by(gptq, [awq, gptq], pairs) == ((), ())


@pytest.mark.parametrize("speed", ["better", "worse"])
def test_the_speed_of_an_emulation_puts_nobody_off_the_frontier(speed: Verdict) -> None:
    """fp8 beside int8, of one size: on hardware that has e4m3 its speed would be another."""
    int8, fp8 = method("int8", 0.01, 50), replace(method("fp8", 0.02, 50), emulated=True)
    pairs = [pair("int8", "fp8", "worse", speed)]
    assert dominates(int8, fp8, pairs) is None
    assert dominates(fp8, int8, pairs) is False  # for its quality
    larger = replace(fp8, weight_bytes=60, text_kl_mean=0.01)
    assert dominates(int8, larger, [pair("int8", "fp8", "same", "worse")]) is None


def test_what_is_not_known_decides_nothing() -> None:
    unjudged = method("unjudged", None, 100)
    assert dominates(PLAIN, unjudged, [pair("none", "unjudged", speed="same")]) is False
    assert dominates(PLAIN, unjudged, [pair("none", "unjudged", speed="worse")]) is True


def test_dominators_are_named_and_only_those_that_count() -> None:
    worst, middle = method("worst", 0.2, 200), method("middle", 0.1, 150)
    refused = method("refused", 0.0, 1, reason="not valid")
    everyone = [PLAIN, worst, middle, refused]
    pairs = [
        pair("none", "worst", speed="worse"),
        pair("none", "middle", speed="worse"),
        pair("worst", "middle", "better", "better"),
    ]
    assert dominated_by(worst, everyone, pairs) == (("none", "middle"), ())
    assert dominated_by(PLAIN, everyone, pairs) == ((), ())
