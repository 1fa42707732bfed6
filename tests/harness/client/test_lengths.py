"""Replies as long as asked, and replies that a model may end."""

from __future__ import annotations

from dataclasses import replace

import pytest
from llmbench.harness.client.lengths import check_output_lengths, ended_early
from llmbench.harness.run.record import RequestRecord, RequestStatus

from ..observed import make_request

ASKED = {"r0": 3, "r1": 3, "r2": 3}


def reply(index: int, tokens: int, reason: str = "") -> RequestRecord:
    record = make_request([0.1 * (at + 1) for at in range(tokens)], index=index)
    return replace(record, output_token_ids=(), finish_reason=reason)


def test_an_early_end_is_another_workload_unless_it_was_allowed() -> None:
    records = [reply(0, 3, "length"), reply(1, 1, "stop"), reply(2, 2, "stop")]
    exact = check_output_lengths(records, ASKED, may_end_early=False)
    assert (exact.ok, exact.fatal, exact.value) == (False, True, 2)
    assert "r1 1, not 3" in exact.detail
    assert "--output-lengths at-most" in exact.detail
    allowed = check_output_lengths(records, ASKED, may_end_early=True)
    assert (allowed.ok, allowed.value) == (True, 0)
    assert allowed.detail == (
        "2 of 3 served replies ended early, as they may: 6 of the 9 tokens asked for came"
    )


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (reply(1, 4, "stop"), "r1 4 of 3 tokens, finish_reason stop"),
        (reply(1, 4, "length"), "r1 4 of 3 tokens, finish_reason length"),
        # A limit of the server's, and a filter's: none is the model's.
        (reply(1, 2, "length"), "r1 2 of 3 tokens, finish_reason length"),
        (reply(1, 2, "content_filter"), "r1 2 of 3 tokens, finish_reason content_filter"),
        (reply(1, 2), "r1 2 of 3 tokens, finish_reason not said"),
        (replace(reply(1, 3, "stop"), output_token_ids=(1, 2)), "r1 3 of 3 tokens"),
    ],
)
def test_a_reply_is_not_longer_than_asked_and_ends_early_only_where_the_model_ends_it(
    wrong: RequestRecord, said: str
) -> None:
    records = [reply(0, 2, "stop"), wrong, reply(2, 3, "length")]
    found = check_output_lengths(records, ASKED, may_end_early=True)
    assert (found.ok, found.fatal, found.value) == (False, True, 1)
    assert said in found.detail


def test_replies_that_failed_are_not_called_early() -> None:
    failed = replace(reply(1, 1), status=RequestStatus.FAILED)
    assert [one.request_id for one in ended_early([reply(0, 2), failed], ASKED)] == ["r0"]
    assert check_output_lengths([reply(0, 3), failed], ASKED, may_end_early=False).ok
