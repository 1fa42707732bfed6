from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from llmbench.reports.thinning import ecdf, even_rows, hold, keep_slowest

LATENCIES = st.lists(st.floats(0, 1e3), min_size=1, max_size=300)


def test_few_steps_are_shown_one_by_one_and_idle_time_is_zero() -> None:
    start_s, end_s = np.array([0.0, 1.0, 5.0]), np.array([1.0, 2.0, 6.0])
    held = hold(start_s, end_s, {"tokens": np.array([10.0, 20.0, 30.0])}, most=10, bins=5)
    assert held.times_s.tolist() == [0, 1, 2, 5, 6]
    assert held.columns["tokens"].tolist() == [10, 20, 0, 30, 0]
    assert held.labels == ("step 0", "step 1", "no step", "step 2", "no step")
    assert held.note == ""


def test_bins_weigh_steps_by_the_time_they_took() -> None:
    # Four seconds in two bins: 10 for 1 s and 40 for 1 s; then 30 for 0.5 s and idle.
    start_s, end_s = np.array([0.0, 1.0, 3.5]), np.array([1.0, 2.0, 4.0])
    held = hold(start_s, end_s, {"tokens": np.array([10.0, 40.0, 30.0])}, most=2, bins=2)
    assert held.times_s.tolist() == [0, 2, 4]
    assert held.columns["tokens"].tolist() == pytest.approx([25, 30, 0])
    assert held.labels == ("steps 0 to 1", "step 2", "no step")
    assert "2 s" in held.note


@given(
    st.lists(
        st.tuples(st.floats(0.01, 2), st.floats(0, 1), st.floats(0, 100)), min_size=5, max_size=60
    ),
    st.integers(1, 4),
)
def test_bins_keep_the_time_integral(steps: list[tuple[float, float, float]], bins: int) -> None:
    durations_s, gaps_s, values = (np.array(column) for column in zip(*steps, strict=True))
    start_s = np.cumsum(durations_s + gaps_s) - durations_s
    end_s = start_s + durations_s
    held = hold(start_s, end_s, {"value": values, "one": np.ones_like(values)}, most=4, bins=bins)
    edges = held.times_s
    # Brute force: how long each step overlaps each bin.
    overlap = np.clip(
        np.minimum(end_s, edges[1:, None]) - np.maximum(start_s, edges[:-1, None]), 0, None
    )
    busy = overlap.sum(axis=1)
    assert held.columns["value"][:-1] * busy == pytest.approx(overlap @ values, abs=1e-6)
    assert held.columns["one"].max() == pytest.approx(1)


def test_no_steps_give_an_empty_series() -> None:
    held = hold(np.empty(0), np.empty(0), {"tokens": np.empty(0)}, most=10, bins=5)
    assert len(held.times_s) == len(held.columns["tokens"]) == 0


def test_ecdf_of_four() -> None:
    values, share = ecdf(np.array([3.0, 1.0, 2.0, 2.0]))
    assert values.tolist() == [1, 2, 2, 3]
    assert share.tolist() == [25, 50, 75, 100]


@given(LATENCIES)
def test_a_thinned_ecdf_lies_on_the_whole_one_and_keeps_its_ends(latencies: list[float]) -> None:
    data = np.array(latencies)
    values, share = ecdf(data, most=20)
    assert len(values) <= 20
    assert values[-1] == data.max()
    assert share[-1] == 100
    assert values[0] == data.min()
    for value, at in zip(values, share, strict=True):
        assert np.mean(data < value) * 100 - 1e-9 <= at <= np.mean(data <= value) * 100 + 1e-9


@given(LATENCIES, st.integers(2, 40))
def test_the_slowest_of_all_is_never_dropped(latencies: list[float], most: int) -> None:
    data = np.array(latencies)
    times_s = np.random.default_rng(0).random(len(data))
    kept = keep_slowest(times_s, data, most)
    assert len(kept) <= most
    assert data[kept].max() == data.max()
    assert np.all(np.diff(times_s[kept]) >= 0)
    assert len(np.unique(kept)) == len(kept)


@given(st.integers(0, 500), st.integers(1, 50))
def test_even_rows_hold_both_ends(length: int, most: int) -> None:
    rows = even_rows(length, most)
    assert len(rows) == min(length, most)
    if length:
        assert rows[0] == 0
    if length and most > 1:
        assert rows[-1] == length - 1
