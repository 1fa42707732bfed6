"""Throughput and goodput on a run of 10 seconds whose numbers were worked by hand."""

from __future__ import annotations

import pytest
from llmbench.harness.metrics import Goodput, GoodputShare, Interval, meets
from llmbench.harness.metrics.output_throughput import OutputThroughput
from llmbench.harness.metrics.request_throughput import RequestThroughput
from llmbench.harness.metrics.total_throughput import TotalThroughput
from llmbench.harness.run.record import RequestRecord, RequestStatus

from ..observed import make_request

RUN = Interval(0.0, 10.0)
WINDOW = Interval(2.0, 6.0)


@pytest.fixture
def requests() -> list[RequestRecord]:
    return [
        make_request((1.0, 2.0, 3.0), index=0, input_tokens=10),
        make_request((4.0, 5.0), index=1, input_tokens=20, due_s=3.0),
        make_request((9.0,), index=2, input_tokens=40, due_s=5.0),
        make_request((), index=3, status=RequestStatus.REFUSED),
        make_request((6.0, 10.0), index=4, input_tokens=5, status=RequestStatus.UNFINISHED),
    ]


def test_output_tokens_count_when_they_are_ready(requests: list[RequestRecord]) -> None:
    assert OutputThroughput().of(requests, RUN) == pytest.approx(8 / 10)
    # In (2, 6]: 3.0, 4.0, 5.0, 6.0; the token at 2.0 was the work of the time before.
    assert OutputThroughput().of(requests, WINDOW) == pytest.approx(4 / 4)


def test_prompts_count_whole_at_their_first_token(requests: list[RequestRecord]) -> None:
    assert TotalThroughput().of(requests, RUN) == pytest.approx((75 + 8) / 10)
    assert TotalThroughput().of(requests, WINDOW) == pytest.approx((20 + 5 + 4) / 4)


def test_only_requests_that_ended_well_count(requests: list[RequestRecord]) -> None:
    assert RequestThroughput().of(requests, RUN) == pytest.approx(3 / 10)
    assert RequestThroughput().of(requests, WINDOW) == pytest.approx(2 / 4)


def test_an_empty_interval_has_rate_zero(requests: list[RequestRecord]) -> None:
    assert OutputThroughput().of(requests, Interval(5.0, 5.0)) == 0.0


def test_goodput_asks_for_every_slo(requests: list[RequestRecord]) -> None:
    # ttft 1, 1, 4 s; tpot 1, 1, none.
    assert Goodput({"ttft": 1.0, "tpot": 1.0}).of(requests, RUN) == pytest.approx(2 / 10)
    assert Goodput({"ttft": 1.0, "tpot": 0.9}).of(requests, RUN) == 0.0
    assert Goodput({"ttft": 4.0}).of(requests, WINDOW) == pytest.approx(2 / 4)


def test_share_leaves_out_the_unfinished_and_counts_the_refused(
    requests: list[RequestRecord],
) -> None:
    assert GoodputShare({"ttft": 1.0}).of(requests) == pytest.approx(2 / 4)


def test_a_one_token_reply_is_judged_on_the_other_slos() -> None:
    slow, quick = make_request((9.0,)), make_request((0.1,))
    slo = {"ttft": 1.0, "tpot": 0.05}

    assert meets(slow, slo) is False
    assert meets(quick, slo) is True


def test_a_one_token_reply_does_not_meet_an_slo_it_was_not_judged_on() -> None:
    """Known wrong elsewhere: TPOT 0 always meets the SLO."""
    one, slow = make_request((9.0,)), make_request((9.0, 19.0))
    slo = {"tpot": 0.05}

    assert meets(one, slo) is None
    assert Goodput(slo).of([one], RUN) == 0.0
    assert GoodputShare(slo).of([one, slow]) == 0.0
    assert GoodputShare(slo).of([one]) is None


def test_a_limit_on_what_nobody_saw_is_not_kept() -> None:
    """Of a server's reply nobody knows when it left the queue: its other limits prove nothing."""
    unseen = make_request((0.1, 0.2), scheduled_s=None)

    assert meets(unseen, {"queue": 0.001, "ttft": 1.0}) is None
    assert meets(unseen, {"ttft": 1.0}) is True


def test_a_limit_that_is_just_met_is_met() -> None:
    assert meets(make_request((0.25,)), {"ttft": 0.25}) is True
