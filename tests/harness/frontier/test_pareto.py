"""Dominance, on methods whose figures are set by hand."""

from __future__ import annotations

import pytest
from llmbench.harness.frontier.pareto import dominated_by, dominates
from llmbench.reports.frontier_model import FrontierMethod


def method(
    name: str, kl: float | None, weight_bytes: float, speed: float, reason: str = ""
) -> FrontierMethod:
    return FrontierMethod(
        name,
        name,
        4,
        reason=reason,
        text_kl_mean=kl,
        weight_bytes=weight_bytes,
        output_tokens_per_s=speed,
    )


PLAIN = method("none", 0.0, 100, 50.0)


@pytest.mark.parametrize(
    ("other", "expected"),
    [
        (method("slower", 0.0, 100, 40.0), True),
        (method("larger", 0.0, 101, 50.0), True),
        (method("further", 0.1, 100, 50.0), True),
        (method("faster", 0.1, 100, 60.0), False),
        (method("smaller", 0.1, 25, 40.0), False),
        (method("equal", 0.0, 100, 50.0), False),
        # A speed within 2 % is the same: it neither saves a method nor beats another.
        (method("a hair faster", 0.1, 100, 50.9), True),
        (method("a hair slower", 0.0, 100, 49.5), False),
    ],
)
def test_who_is_no_choice_beside_the_unquantised(other: FrontierMethod, expected: bool) -> None:
    assert dominates(PLAIN, other) is expected


def test_what_is_not_known_decides_nothing() -> None:
    assert not dominates(PLAIN, method("unjudged", None, 100, 50.0))
    assert dominates(PLAIN, method("unjudged", None, 100, 40.0))


def test_dominators_are_named_and_only_those_that_count() -> None:
    worst = method("worst", 0.2, 200, 10.0)
    refused = method("refused", 0.0, 1, 99.0, reason="not valid")
    everyone = [PLAIN, worst, method("middle", 0.1, 150, 20.0), refused]
    assert dominated_by(worst, everyone) == ("none", "middle")
    assert dominated_by(PLAIN, everyone) == ()
