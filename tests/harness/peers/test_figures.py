"""Hand-worked: what is read from the times at which tokens came."""

from __future__ import annotations

import random

import pytest
from llmbench.harness.peers.figures import (
    NotAsAskedError,
    RequestTimes,
    decode_tokens_per_s,
    figures_of,
    output_tokens_per_s,
)
from llmbench.harness.peers.workload import Figure, Job


def test_prefill_counts_all_prompts_until_the_last_first_token() -> None:
    job = Job(Figure.PREFILL_32X128, ((1, 2, 3), (4, 5, 6)), 1)
    times = [RequestTimes(10.0, 3, (10.5,)), RequestTimes(10.1, 3, (12.0,))]
    assert figures_of(job, times) == {"prefill_32x128_tokens_per_s": 6 / 2.0}


def test_output_counts_from_the_first_request_to_the_last_token() -> None:
    job = Job(Figure.OUTPUT, ((1,), (2,)), 3)
    times = [RequestTimes(0.0, 1, (1.0, 2.0, 3.0)), RequestTimes(0.5, 1, (2.0, 3.0, 5.0))]
    figures = figures_of(job, times)
    assert figures["output_tokens_per_s"] == 6 / 5.0
    assert figures["ttft_mean_s"] == (1.0 + 1.5) / 2
    assert figures["tpot_mean_s"] == (1.0 + 1.5) / 2
    assert output_tokens_per_s(times) == 6 / 5.0


def test_decode_leaves_out_the_time_in_which_others_were_computing_prompts() -> None:
    """The first request decodes alone and slowly until the second has its first token."""
    early = RequestTimes(0.0, 1, (1.0, 5.0, 6.0, 7.0, 8.0))
    late = RequestTimes(0.0, 1, (5.0, 6.0, 7.0, 8.0, 8.5))
    assert decode_tokens_per_s([early, late]) == 2.0


def test_decode_does_not_depend_on_the_order_in_which_a_step_arrives() -> None:
    seed = random.randrange(2**32)
    rng = random.Random(seed)
    delays = [rng.uniform(0.0, 0.03) for _ in range(8)]
    times = [
        RequestTimes(0.0, 1, tuple(0.1 * step + delay for step in range(1, 65))) for delay in delays
    ]
    assert decode_tokens_per_s(times) == pytest.approx(80.0), seed


def test_two_tokens_in_one_event_count_twice() -> None:
    times = [RequestTimes(0.0, 1, (1.0, 2.0, 2.0, 3.0))]
    assert decode_tokens_per_s(times) == 1.5


def test_requests_that_never_decoded_together_have_no_rate() -> None:
    times = [RequestTimes(0.0, 1, (1.0, 2.0)), RequestTimes(0.0, 1, (3.0, 4.0))]
    with pytest.raises(NotAsAskedError, match="together"):
        decode_tokens_per_s(times)


@pytest.mark.parametrize(
    ("times", "said"),
    [
        ([RequestTimes(0.0, 2, (1.0, 2.0))], "1 answers to 2"),
        ([RequestTimes(0.0, 2, (1.0, 2.0)), RequestTimes(0.0, 3, (1.0, 2.0))], "3 prompt tokens"),
        ([RequestTimes(0.0, 2, (1.0, 2.0)), RequestTimes(0.0, 2, (1.0,))], "1 output tokens of 2"),
    ],
)
def test_an_engine_that_did_something_else_is_not_measured(
    times: list[RequestTimes], said: str
) -> None:
    with pytest.raises(NotAsAskedError, match=said):
        figures_of(Job(Figure.OUTPUT, ((1, 2), (3, 4)), 2), times)


def test_a_warm_up_has_no_figure() -> None:
    assert figures_of(Job(None, ((1,),), 1), [RequestTimes(0.0, 1, (1.0,))]) == {}
