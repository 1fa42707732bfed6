"""What a sequence in runs shows: worked by hand, and on a queue whose capacity is known."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from llmbench.harness.stats.batches import effective_size, uneven_p
from llmbench.harness.stats.mcnemar import mcnemar
from scipy.stats import ttest_1samp

from ...evidence.capacity import drawn


def test_a_sequence_in_runs_counts_for_as_many_as_its_runs() -> None:
    """100 requests are ten batches of ten. Kept in runs of ten by turns: batch means 1 and 0, half
    of each, so their sample variance is 10 / 9 x 1 / 4, and that of the mean a tenth: 1 / 36. A
    share of a half in n independent requests has 1 / (4 n): n = 9, less for ten batches by the
    square of Student's t over the normal quantile, (2.2622 / 1.9600)^2 = 1.3322: 6.756."""
    in_runs = [at // 10 % 2 == 0 for at in range(100)]
    assert effective_size(in_runs) == pytest.approx(9 / 1.3322, rel=1e-3)
    # As many in each batch: nothing hangs together.
    by_turns = [at % 2 == 0 for at in range(100)]
    assert effective_size(by_turns) == 100


def test_misses_in_one_run_are_one() -> None:
    """Ten misses of 100, all in the last batch: batch means nine times 1 and once 0, of sample
    variance 0.9 x 0.1 x 10 / 9 = 0.1, and the mean's is 0.01. 0.9 x 0.1 / 0.01 = 9, as above."""
    assert effective_size([at < 90 for at in range(100)]) == pytest.approx(9 / 1.3322, rel=1e-3)
    # One in each batch: as far apart as they can be.
    assert effective_size([at % 10 != 7 for at in range(100)]) == 100


@given(st.lists(st.booleans(), min_size=1, max_size=80))
def test_no_request_counts_for_two(kept: list[bool]) -> None:
    assert 0 < effective_size(kept) <= len(kept)
    # What is missed is what is not kept.
    assert effective_size([not one for one in kept]) == pytest.approx(effective_size(kept))


@pytest.mark.parametrize("kept", [True, False])
@pytest.mark.parametrize("count", [1, 2, 50])
def test_where_all_are_alike_nothing_hangs_together(kept: bool, count: int) -> None:
    assert effective_size([kept] * count) == count


def test_independent_requests_count_nearly_all() -> None:
    """Ten batches leave 1000 / 1.3322 = 751, times 9 over a chi-squared of 9 degrees of freedom,
    whose median is 8.34: 810. That of 1000 such sizes has a standard error of 16."""
    rng = np.random.default_rng()
    sizes = [effective_size((rng.random(1000) < 0.9).tolist()) for _ in range(1000)]
    assert float(np.median(sizes)) == pytest.approx(810, abs=90)


def test_the_interval_of_a_capacity_holds_the_true_one() -> None:
    """M/M/1 of which nine in ten requests keep the limit when it is 70 % busy. Taken for
    independent, 1000 requests gave an interval that held it in half of the cases at 95 %."""
    rng = np.random.default_rng(11)
    held: list[tuple[bool, bool]] = []
    for _ in range(60):
        found, effective = drawn(rng, 0.7, 0.9, 1000).capacity(0.9)
        ends = [found.interval_per_s(size) for size in (1000, effective)]
        held.append((ends[0][0] <= 0.7 <= ends[0][1], ends[1][0] <= 0.7 <= ends[1][1]))
    independent, batched = np.mean(held, axis=0)
    assert independent <= 0.75
    assert batched >= 0.88


def test_a_split_in_one_run_is_no_evidence() -> None:
    """A run of 20 requests that only the first keeps is one event; three in each of ten batches
    are not."""
    nothing = [False] * 200
    one_run = [100 <= at < 120 for at in range(200)]
    assert mcnemar(sum(one_run), 0) < 1e-5
    # Sums of ten batches: one is 20, so mean and error are 2, and t = 1 with 9 degrees of freedom.
    expected = ttest_1samp([0, 0, 0, 0, 0, 20, 0, 0, 0, 0], 0).pvalue
    assert uneven_p(one_run, nothing) == pytest.approx(expected)
    assert uneven_p(nothing, one_run) == pytest.approx(expected)
    spread = [at % 20 in (1, 7, 12) for at in range(200)]
    assert uneven_p(spread, nothing) == mcnemar(30, 0)


def test_a_split_is_never_less_likely_than_of_independent_pairs() -> None:
    rng = np.random.default_rng()
    for _ in range(50):
        first, second = rng.random((2, 60)) < 0.2
        alone = (first & ~second).tolist(), (second & ~first).tolist()
        p = uneven_p(*alone)
        assert mcnemar(sum(alone[0]), sum(alone[1])) <= p <= 1
        assert uneven_p(alone[1], alone[0]) == pytest.approx(p)
    assert uneven_p([False] * 9, [False] * 9) == 1.0
