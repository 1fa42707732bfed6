"""The interval holds the truth about as often as it says, and blocks and pairs do their work."""

from __future__ import annotations

import math
from time import process_time

import numpy as np
import pytest
import scipy.stats
from hypothesis import given
from hypothesis import strategies as st
from llmbench.harness.stats.bootstrap import (
    Sample,
    Statistic,
    block_length,
    blocks_of,
    compare_samples,
    draw_blocks,
    widened,
    widening,
)

from .samples import one_each

MEAN, P50, P90 = Statistic(), Statistic(50), Statistic(90)


def _lognormal(rng: np.random.Generator, count: int, scale: float = 1.0) -> Sample:
    return one_each(scale * rng.lognormal(0, 0.5, count))


def _covered(statistic: Statistic, true_ratio: float, trials: int = 120) -> float:
    rng = np.random.default_rng(7)
    hits = 0
    for trial in range(trials):
        found = compare_samples(
            _lognormal(rng, 80),
            _lognormal(rng, 80, true_ratio),
            statistic,
            block=1,
            resamples=300,
            seed=trial,
        )
        hits += found.low <= true_ratio <= found.high
    return hits / trials


@pytest.mark.parametrize("statistic", [MEAN, P50, P90])
def test_a_95_percent_interval_covers_about_95_percent(statistic: Statistic) -> None:
    # 120 trials of 95 % have a standard error of 2 points; percentile intervals run a little short.
    assert 0.87 <= _covered(statistic, 1.2) <= 1.0


def test_the_p99_of_many_gaps_is_looked_for_in_the_tail_alone() -> None:
    """200 000 gaps of 500 requests: the tail takes a thirtieth of the time that all of them do."""
    rng = np.random.default_rng()
    units = np.repeat(np.arange(500), 400)
    sample = Sample(rng.lognormal(size=len(units)), units, 500).ascending()
    times = draw_blocks(500, 50, 20, rng)

    def timed(q: float) -> float:
        begun_s = process_time()
        Statistic(q).of_resamples(sample, times)
        return process_time() - begun_s

    assert min(timed(99) for _ in range(3)) < min(timed(50) for _ in range(3)) / 4
    assert Statistic(99).width(sample) < Statistic(50).width(sample) / 20


def test_the_ratio_is_of_the_observed_samples() -> None:
    found = compare_samples(one_each([1, 2, 3]), one_each([2, 4, 9]), MEAN)

    assert found.value == pytest.approx(5 / 2)
    assert found.low <= found.value <= found.high


def test_a_difference() -> None:
    found = compare_samples(one_each([1, 2, 3]), one_each([2, 4, 9]), MEAN, contrast="difference")

    assert found.value == pytest.approx(3.0)


def test_the_same_seed_gives_the_same_interval() -> None:
    rng = np.random.default_rng(0)
    a, b = _lognormal(rng, 40), _lognormal(rng, 40)

    assert compare_samples(a, b, P90, seed=3) == compare_samples(a, b, P90, seed=3)
    assert compare_samples(a, b, P90, seed=3) != compare_samples(a, b, P90, seed=4)


def test_pairs_cancel_what_both_sides_share() -> None:
    rng = np.random.default_rng(0)
    a = rng.lognormal(0, 1, 60)
    noise = rng.normal(1.1, 0.01, 60)
    baseline, current = one_each(a), one_each(a * noise)

    paired = compare_samples(baseline, current, MEAN, paired=True)
    unpaired = compare_samples(baseline, current, MEAN)

    assert paired.low > 1.05
    assert unpaired.low < 1.0  # the same data, and nothing could be said
    assert paired.high - paired.low < 0.2 * (unpaired.high - unpaired.low)


def test_pairs_must_be_pairs() -> None:
    with pytest.raises(ValueError, match="paired samples of 2 and 3 units"):
        compare_samples(one_each([1, 2]), one_each([1, 2, 3]), MEAN, paired=True)


def test_blocks_widen_the_interval_of_a_series_with_memory() -> None:
    """Waiting times follow each other: resampling them singly claims too much."""
    rng = np.random.default_rng(5)

    def series() -> Sample:
        values = [10.0]
        for _ in range(299):
            values.append(10 + 0.9 * (values[-1] - 10) + rng.normal())
        return one_each(values)

    a, b = series(), series()
    single = compare_samples(a, b, MEAN, block=1)
    blocks = compare_samples(a, b, MEAN, block=30)

    assert blocks.high - blocks.low > 2 * (single.high - single.low)


def test_gaps_of_one_request_are_drawn_together() -> None:
    # Ten requests of 50 equal gaps each hold ten observations, not five hundred.
    pace = np.linspace(1, 2, 10)
    units = np.repeat(np.arange(10), 50)
    together = Sample(np.repeat(pace, 50), units, 10)
    apart = one_each(np.repeat(pace, 50))

    wide = compare_samples(together, together, MEAN, block=1)
    narrow = compare_samples(apart, apart, MEAN, block=1)

    assert wide.high - wide.low > 5 * (narrow.high - narrow.low)


@pytest.mark.parametrize("baseline", [[], [0.0, 0.0]])
def test_a_ratio_to_nothing_is_undefined(baseline: list[float]) -> None:
    found = compare_samples(one_each(baseline), one_each([1.0, 2.0]), MEAN)

    assert math.isnan(found.value)
    assert math.isnan(found.low)


@given(st.integers(1, 60), st.integers(1, 80), st.integers(1, 20))
def test_every_resample_is_as_large_as_the_sample(units: int, block: int, rows: int) -> None:
    times = draw_blocks(units, block, rows, np.random.default_rng(0))

    assert times.shape == (rows, units)
    assert (times.sum(axis=1) == units).all()
    assert (times >= 0).all()


def test_wrapping_draws_every_unit_equally_often() -> None:
    times = draw_blocks(20, 6, 20_000, np.random.default_rng(0))

    assert times.mean(axis=0) == pytest.approx(np.ones(20), abs=0.05)


def _stays(rng: np.random.Generator, count: int, load: float) -> Sample:
    """How long each request stays at a server with exponential gaps and services, by Lindley's
    recursion: it waits for what the one before it has left, less the gap between them."""
    gaps, services = rng.standard_exponential(count), load * rng.standard_exponential(count)
    stays, wait = np.empty(count), 0.0
    for at in range(count):
        stays[at] = wait + services[at]
        wait = max(0.0, stays[at] - gaps[at])
    return one_each(stays)


@pytest.mark.parametrize("statistic", [MEAN, P50], ids=["mean", "p50"])
def test_two_loads_of_one_server_are_seldom_told_apart(statistic: Statistic) -> None:
    """Requests that queue behind each other, 70 % busy: the true ratio is 1. Blocks of n^(1/3)
    called two draws of the same load different in four of ten at 95 %."""
    rng = np.random.default_rng(11)
    trials = 150
    missed = 0
    for _ in range(trials):
        found = compare_samples(
            _stays(rng, 320, 0.7), _stays(rng, 320, 0.7), statistic, resamples=300
        )
        missed += not found.low <= 1 <= found.high
    assert missed <= 0.16 * trials


@pytest.mark.parametrize(
    ("units", "length", "blocks"),
    [
        (1, 1, 2),
        (2, 1, 2),
        (3, 1, 3),
        (8, 2, 4),
        (20, 3, 7),
        (27, 3, 9),
        (60, 6, 10),
        (1000, 100, 10),
        (1001, 101, 10),
    ],
)
def test_blocks_are_long_and_ten_at_most(units: int, length: int, blocks: int) -> None:
    assert block_length(units) == length
    assert blocks_of(units) == blocks


def test_few_blocks_widen_an_interval() -> None:
    """sqrt(10 / 9) 2.2622 / 1.9600, from tables of Student's t and the normal distribution."""
    assert widening(10, 0.95) == pytest.approx(1.0541 * 2.2622 / 1.9600, rel=1e-4)
    assert widening(2, 0.95) == pytest.approx(1.4142 * 12.706 / 1.9600, rel=1e-4)
    assert widening(1000, 0.95) == pytest.approx(1.0, abs=2e-3)
    # An end at a fifth, twice as far: a twenty-fifth of a ratio, and -0.6 of a difference.
    assert widened(0.2, 1.0, 2.0, "ratio") == pytest.approx(0.04)
    assert widened(0.2, 1.0, 2.0, "difference") == pytest.approx(-0.6)
    assert widened(0.0, 1.0, 2.0, "ratio") == 0.0
    assert math.isfinite(widened(1e9, 1.0, 1e4, "ratio"))


def test_few_units_are_no_certainty() -> None:
    found = compare_samples(one_each([1.0, 2.0]), one_each([2.0, 3.0]), MEAN)
    assert math.isfinite(found.low)
    assert found.low < 0.7
    assert found.high > 5


@given(
    st.lists(st.floats(0.1, 1e3), min_size=2, max_size=30),
    st.floats(0.5, 2.0),
    st.sampled_from([MEAN, P50, P90]),
)
def test_a_paired_rescaling_is_known_exactly(
    values: list[float], factor: float, statistic: Statistic
) -> None:
    baseline = one_each(values)
    current = one_each(np.asarray(values) * factor)
    found = compare_samples(baseline, current, statistic, paired=True, resamples=50)

    assert (found.value, found.low, found.high) == pytest.approx((factor,) * 3)


def test_more_confidence_goes_as_far_as_students_t() -> None:
    """Not as far as the outermost of 2 000 resamples, which are the least block drawn ten times."""
    rng = np.random.default_rng()
    baseline, current = (one_each(rng.lognormal(0, 1.5, size=50)) for _ in range(2))
    usual, sure = (
        compare_samples(baseline, current, MEAN, contrast="difference", confidence=one)
        for one in (0.95, 0.9998)
    )
    farther = float(scipy.stats.t.ppf(0.9999, df=9)) / float(scipy.stats.t.ppf(0.975, df=9))
    assert (sure.high - sure.low) / (usual.high - usual.low) == pytest.approx(farther)


def test_a_mean_of_logarithms_is_compared_as_what_it_is_the_logarithm_of() -> None:
    """A ratio of perplexities is e to the difference of what a token costs, interval and all."""
    rng = np.random.default_rng(11)
    logs = rng.normal(3.0, 0.4, 80)
    before = Sample(logs, np.arange(80), 80, per=np.full(80, 2.0))
    after = Sample(logs + rng.normal(0.1, 0.1, 80), np.arange(80), 80, per=np.full(80, 2.0))
    ratio = compare_samples(before, after, Statistic(of_logs=True), paired=True)
    apart = compare_samples(before, after, Statistic(), contrast="difference", paired=True)
    ends = (apart.value, apart.low, apart.high)
    assert (ratio.value, ratio.low, ratio.high) == pytest.approx(
        tuple(math.exp(one) for one in ends), rel=1e-6
    )
    assert Statistic(of_logs=True).of(before) == pytest.approx(math.exp(logs.sum() / 160))
