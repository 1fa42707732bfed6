"""What one process says and another hears: the same, in whatever form it travels."""

from __future__ import annotations

import pickle

from hypothesis import given
from hypothesis import strategies as st
from llmbench.engines.api import FinishReason, Request, SamplingParams, TokenEvent, TokenLogprobs
from llmbench.harness.serve.engine_loop import Submit, Told
from llmbench.harness.serve.lives import StepSeen
from llmbench.harness.serve.wire import packed, unpacked

NAMES = st.text(max_size=12)
COUNTS = st.integers(0, 2**70)
TIMES = st.floats(allow_nan=False)
LOGPROBS = st.builds(
    TokenLogprobs,
    TIMES,
    st.integers(1, 9),
    st.lists(st.tuples(st.integers(0, 9), TIMES), max_size=2).map(tuple),
)
EVENTS = st.builds(
    TokenEvent,
    NAMES,
    st.none() | COUNTS,
    TIMES,
    st.none() | st.sampled_from(FinishReason),
    NAMES,
    st.integers(0, 4),
    st.none() | LOGPROBS,
)
STEPS = st.builds(
    StepSeen,
    TIMES,
    st.lists(NAMES, max_size=3).map(tuple),
    st.dictionaries(NAMES, COUNTS, max_size=3),
    *[COUNTS] * 4,
    TIMES,
)
TOLD = st.builds(Told, st.none() | STEPS, st.lists(EVENTS, max_size=4).map(tuple), st.booleans())


@given(TOLD)
def test_a_step_arrives_as_it_was_told(told: Told) -> None:
    arrived = unpacked(packed(told))
    assert arrived == told
    assert type(arrived.step) is type(told.step)
    assert all(isinstance(event, TokenEvent) for event in arrived.events)
    # An equal string would do for a comparison, and not for who asks what kind of end it was.
    ends = [event.finish for event in arrived.events]
    assert all(end is None or isinstance(end, FinishReason) for end in ends)


SAMPLINGS = st.builds(
    SamplingParams,
    max_tokens=st.integers(1, 99),
    temperature=st.just(0.0) | st.floats(0.01, 2.0),
    top_p=st.floats(0.1, 1.0),
    n=st.integers(1, 4),
    seed=st.integers(0, 2**63),
    logprobs=st.none() | st.integers(0, 5),
    ignore_eos=st.booleans(),
    stop_token_ids=st.lists(st.integers(0, 99), max_size=2).map(tuple),
    stop=st.lists(st.text(min_size=1, max_size=3), max_size=2).map(tuple),
)
REQUESTS = st.builds(
    Request,
    NAMES,
    st.lists(st.integers(0, 2**31), min_size=1, max_size=5).map(tuple),
    SAMPLINGS,
    TIMES,
    st.integers(-9, 9),
    st.none() | NAMES,
)


@given(st.lists(REQUESTS, max_size=3))
def test_requests_arrive_as_they_were_sent(requests: list[Request]) -> None:
    assert unpacked(packed(Submit(requests))) == Submit(requests)


def test_tokens_take_fewer_bytes_than_pickled() -> None:
    told = Told(StepSeen(1.0, (), {}, 1, 1, 0, 0, 0.5), (TokenEvent("r", 7, 1.5),), idle=False)
    assert len(packed(told)) < len(pickle.dumps(told)) / 2
