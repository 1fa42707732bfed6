from __future__ import annotations

import pytest
from llmbench.engines.cost.published import (
    H100_8B,
    Comparison,
    compare_with_published,
    running_requests,
    steady_throughput,
    steady_work,
)
from llmbench.engines.cost.published_figures import H100_LLAMA_31_8B_FP8, PublishedRow
from llmbench.engines.cost.roofline import Efficiency

ALLOWED = 0.25


@pytest.fixture(scope="module")
def comparisons() -> tuple[Comparison, ...]:
    return compare_with_published()


def test_rows_left_out_of_the_fit_are_predicted(comparisons: tuple[Comparison, ...]) -> None:
    """Fitted on the first, third, fifth and seventh row in published order."""
    predictions = comparisons[0].predictions
    assert [made.fitted for made in predictions] == [True, False] * 4
    left_out = [made for made in predictions if not made.fitted]
    assert [made.row for made in left_out] == list(H100_LLAMA_31_8B_FP8[1::2])
    assert all(abs(made.error) < ALLOWED for made in left_out)


def test_the_other_half_does_as_well(comparisons: tuple[Comparison, ...]) -> None:
    predictions = comparisons[1].predictions
    assert [made.fitted for made in predictions] == [False, True] * 4
    assert all(abs(made.error) < ALLOWED for made in predictions)


def test_shapes_and_a_device_that_no_fit_saw(comparisons: tuple[Comparison, ...]) -> None:
    unseen = [made for part in comparisons[2:4] for made in part.predictions]
    assert len(unseen) == 10
    assert all(abs(made.error) < ALLOWED for made in unseen)


def test_the_defaults_are_the_first_fit(comparisons: tuple[Comparison, ...]) -> None:
    assert comparisons[0].efficiency == Efficiency()


def test_figures_are_fitted_once_and_not_for_every_result() -> None:
    """Each fit tries 4 941 pairs of factors."""
    assert compare_with_published() is compare_with_published()


def test_the_batch_is_what_kv_memory_holds() -> None:
    """79.65 GiB less 8.03 GB of FP8 weights and their scales, the vocabulary's two tables in 16
    bits instead of 8; nine tenths, at 65536 bytes a token and 2176 tokens a request."""
    weights = 6.98e9 + 2 * 2 * 128256 * 4096
    expected = 0.9 * (79.65 * 2**30 - weights) / 65536 / 2176
    assert running_requests(H100_8B, PublishedRow(128, 2048, 1)) == int(expected)
    assert running_requests(H100_8B, PublishedRow(16, 16, 1)) == 4096


def test_a_decode_step_attends_what_a_reply_has_so_far() -> None:
    """A prompt of 6 tokens gives the first of 4; the others come of steps that attend 7, 8 and 9
    keys. Three requests at once: a prompt enters every step, beside three decodes."""
    work = steady_work(3, PublishedRow(6, 4, 1))
    assert work.decode_tokens == 3
    assert work.decode_context_tokens == 7 + 8 + 9
    assert (work.prefill_tokens, work.prefill_pairs, work.sampled_rows) == (6, 21, 4)


def test_steady_throughput_is_requests_over_their_time() -> None:
    """One request at a time: a prompt's step and output - 1 decodes would take at least the
    weights' reading each, so it makes fewer tokens a second than that allows and nearly as many."""
    roofline = H100_8B.roofline(Efficiency(1.0, 1.0))
    bytes_a_step = 6.98e9 + 2 * 128256 * 4096
    most = 1 / (bytes_a_step / 3.35e12)
    made = steady_throughput(roofline, 1, PublishedRow(16, 1000, 1))
    assert 0.9 * most < made < most
