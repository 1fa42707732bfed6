"""Clipping: what fits is left alone, what does not is cut as documented and counted."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from llmbench.workloads.api import LengthLimits, WorkloadError
from llmbench.workloads.clip import fit_lengths


@pytest.mark.parametrize(
    ("pair", "fitted"),
    [
        ((500, 500), (500, 500)),  # fits exactly
        ((900, 200), (800, 200)),  # the input gives way
        ((900, 700), (500, 500)),  # a reply over half is cut to half
        ((100, 2000), (100, 900)),  # or to what its short prompt leaves
        ((5000, 1), (999, 1)),
    ],
)
def test_clip_to_a_model_of_1000_tokens(pair: tuple[int, int], fitted: tuple[int, int]) -> None:
    pairs, _ = fit_lengths(np.array([pair]), LengthLimits(None, None, 1000), "clip")
    assert tuple(pairs[0].tolist()) == fitted


def test_what_was_clipped_is_counted() -> None:
    pairs = np.array([[0, 10], [50, 90], [300, 10], [400, 80]])
    fitted, notes = fit_lengths(pairs, LengthLimits(200, 85, 250), "clip")
    assert fitted.tolist() == [[1, 10], [50, 85], [200, 10], [170, 80]]
    assert notes == (
        "input length raised to 1 token for 1 of 4 requests",
        "input length clipped to 200 tokens for 2 of 4 requests",
        "output length clipped to 85 tokens for 1 of 4 requests",
        "1 of 4 requests clipped to the model's 250 tokens",
    )


def test_a_clipped_reply_is_mentioned() -> None:
    _, notes = fit_lengths(np.array([[900, 700]]), LengthLimits(None, None, 1000), "clip")
    assert notes == (
        "1 of 1 requests clipped to the model's 1000 tokens (1 of them in the output too)",
    )


def test_a_request_longer_than_the_model_is_refused_with_the_flags_to_use() -> None:
    pairs = np.array([[100, 44], [4142, 601], [2000, 90]])
    with pytest.raises(WorkloadError) as caught:
        fit_lengths(pairs, LengthLimits(None, None, 2048), "error")
    assert str(caught.value) == (
        "lengths: '4142 + 601 tokens' (request 1) is longer than the model, as are 2 of 3 requests;"
        " expected at most 2048 in all: cap them with --max-input-len / --max-output-len"
        " (--max-input-len 1447 would do)"
    )


def test_caps_come_before_the_refusal() -> None:
    pairs, _ = fit_lengths(np.array([[4142, 601]]), LengthLimits(1447, None, 2048), "error")
    assert pairs.tolist() == [[1447, 601]]


@pytest.mark.parametrize(
    ("limits", "message"),
    [
        ((0, None, 10), "max_input_len: 0 is not allowed; expected 1 to 1,000,000,000,000"),
        ((None, -1, 10), "max_output_len: -1 is not allowed; expected 1 to 1,000,000,000,000"),
        (
            (None, None, 1),
            "max_total_tokens: 1 is not allowed; expected at least 2: one token in, one out",
        ),
    ],
)
def test_limits_that_leave_no_request(
    limits: tuple[int | None, int | None, int], message: str
) -> None:
    with pytest.raises(WorkloadError) as caught:
        LengthLimits(*limits)
    assert str(caught.value) == message


@settings(deadline=None)
@given(
    pairs=st.lists(st.tuples(st.integers(0, 5000), st.integers(0, 5000)), min_size=1, max_size=20),
    max_input=st.none() | st.integers(1, 3000),
    max_output=st.none() | st.integers(1, 3000),
    total=st.integers(2, 4000),
)
def test_clip_always_fits_never_grows_and_leaves_what_fits(
    pairs: list[tuple[int, int]], max_input: int | None, max_output: int | None, total: int
) -> None:
    before = np.array(pairs)
    after, notes = fit_lengths(before, LengthLimits(max_input, max_output, total), "clip")
    assert (after >= 1).all()
    assert (after.sum(axis=1) <= total).all()
    assert (after <= np.maximum(before, 1)).all()
    assert after[:, 0].max() <= (max_input or total)
    assert after[:, 1].max() <= (max_output or total)
    assert bool(notes) == (after.tolist() != before.tolist())
