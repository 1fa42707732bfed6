"""The sentence about many runs goes by quantity, however many there are."""

from __future__ import annotations

import pytest
from llmbench.reports.comparison_headline import headline
from llmbench.reports.model import MetricComparison, Ratio, Verdict

NAMES = ("a", "b", "c", "d", "e", "f")


def row(metric: str, stat: str, *ratios: tuple[float, Verdict]) -> MetricComparison:
    made = (None, *(Ratio(value, verdict=verdict) for value, verdict in ratios))
    return MetricComparison(metric, stat, "", "lower", (1.0,) * len(made), made)


UNSURE: tuple[float, Verdict] = (1.0, "inconclusive")
THROUGHPUT = row(
    "output_throughput",
    "window",
    (1.05, "better"),
    (1.8, "better"),
    (1.2, "better"),
    (0.7, "worse"),
    UNSURE,
)
TTFT = row("ttft", "p99", (0.5, "better"), UNSURE, UNSURE, UNSURE, UNSURE)


def test_runs_are_told_together_though_their_ratios_differ() -> None:
    """Known wrong here: a text for each run."""
    assert headline(NAMES, [THROUGHPUT, TTFT], {}).statement == (
        "Against a, output throughput: better in b, c and d (1.05× to 1.80×), worse in e (0.70×); "
        "TTFT p99: better in b (0.50×). Beside that, f is not told apart."
    )


def test_what_else_is_worse_is_said_and_which_are_one_run() -> None:
    more = row("queue", "p99", UNSURE, (2.0, "worse"), UNSURE, UNSURE, (2.0, "worse"))
    assert headline(NAMES, [THROUGHPUT, more], {"e": "a"}).statement == (
        "Against a, output throughput: better in b, c and d (1.05× to 1.80×). Beside that, "
        "c is worse in more rows of the table; e is the same run as a; "
        "f is worse in other rows of the table."
    )


@pytest.mark.parametrize("count", [5, 40])
def test_it_does_not_grow_with_the_runs(count: int) -> None:
    names = tuple(f"run{at}" for at in range(count + 1))
    ratios: list[tuple[float, Verdict]] = [(1 + at / 100, "better") for at in range(1, count + 1)]
    rows = [
        row(*key, *ratios)
        for key in (("output_throughput", "window"), ("ttft", "p99"), ("tpot", "p50"))
    ]
    said = headline(names, rows, {}).statement
    assert said.count("better in run1, run2, run3 and") == 3
    assert said.count("run") < 20


def test_where_nothing_is_decided_one_part_says_so_and_why() -> None:
    ratios = (None, *(Ratio(1.0, verdict="inconclusive", too_little="a run is short"),) * 5)
    told = headline(NAMES, [MetricComparison("ttft", "p99", "s", "lower", (1.0,) * 6, ratios)], {})
    assert told.statement == "Against a, b, c, d and 2 more are not told apart."
    assert told.undecided == "Not told apart: b, c, d and 2 more, since a run is short."
