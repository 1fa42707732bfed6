"""What is said of a quantity, from an answer set by hand."""

from __future__ import annotations

from llmbench.harness.ab.judge import Answer, Question
from llmbench.harness.ab.verdicts import describe, reach
from llmbench.harness.comparison.quantities import QUANTITIES

RATE, TTFT = QUANTITIES["output_throughput.run"], QUANTITIES["ttft.mean"]


def test_the_ratio_of_turns_and_the_medians_of_trials_are_told_apart() -> None:
    answer = Answer(Question(TTFT, 0.05, 0.1), "regressed", 20, 0.0121, 0.0134, 1.107, 1.021, 1.19)
    assert describe(answer) == "+10.7 % (+2.1 to +19.0 %), median trials 12.1 -> 13.4 ms"


def test_medians_that_lie_the_other_way_are_said_to() -> None:
    """A machine that was slow for a while is in a median, and not in turns that follow each
    other."""
    answer = Answer(Question(RATE, 0.05, 0.1), "inconclusive", 20, 144.5, 149.1, 0.919, 0.84, 1.01)
    assert describe(answer) == (
        "-8.1 % (-16.0 to +1.0 %), median trials 144.5 -> 149.1 tokens/s, the other way, for turns "
        "far apart are in them"
    )


def test_what_would_be_found_says_how_often() -> None:
    answer = Answer(
        *(Question(RATE, 0.05, 0.1), "passed", 20, 144.5, 149.1, 1.03, 0.98, 1.08),
        detectable=0.132,
        pairs_needed=186,
    )
    assert reach(answer) == (
        "a slowdown of 13.2 % would be found nine times in ten; 10 % needs 186 pairs"
    )
