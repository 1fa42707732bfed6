from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from llmbench.harness.run.record import RequestStatus
from llmbench.harness.tables.requests import REQUEST_COLUMNS, records_of, requests_frame
from llmbench.workloads.api import Plan, PlannedRequest

from ..observed import make_request, serve_in_turn


def test_the_requests_table() -> None:
    requests, _ = serve_in_turn(3)
    refused = make_request((), index=3, status=RequestStatus.REFUSED)
    frame = requests_frame([*requests, refused])

    assert tuple(frame.columns) == REQUEST_COLUMNS
    assert frame["e2el_s"].tolist()[:3] == pytest.approx([0.08] * 3)
    assert frame["status"].tolist() == ["ok", "ok", "ok", "refused"]
    assert np.isnan(frame["ttft_s"].iloc[3])
    assert frame["ttft_s"].dtype == np.float64
    assert list(frame["token_times_s"].iloc[0]) == pytest.approx([i / 100 for i in range(1, 9)])


def test_records_come_back_from_the_table() -> None:
    requests, _ = serve_in_turn(3)
    requests.append(make_request((), index=3, status=RequestStatus.REFUSED))
    requests.append(replace(make_request((1.0, 2.0), index=4), hidden_tokens=1))

    assert records_of(requests_frame(requests)) == requests


def test_empty_tables_keep_their_columns() -> None:
    assert tuple(requests_frame([]).columns) == REQUEST_COLUMNS


def test_a_table_says_who_waited_for_whom_where_the_plan_is_known() -> None:
    requests = [make_request((1.0, 2.0), index=at) for at in range(3)]
    sent = [
        PlannedRequest(0, 0.0, (1,), 2),
        PlannedRequest(1, None, (1, 2), 2, after=0, think_s=1.5),
        PlannedRequest(2, 1.0, (1,), 2),
    ]
    frame = requests_frame(requests, Plan(tuple(sent), None))
    assert frame["after"].isna().tolist() == [True, False, True]
    assert (frame["after"][1], frame["think_s"].tolist()) == (0.0, [0.0, 1.5, 0.0])
    assert requests_frame(requests)["after"].isna().all()


def test_a_table_says_which_prompts_begin_alike_where_the_plan_is_known() -> None:
    requests = [make_request((1.0, 2.0), index=at) for at in range(3)]
    prompts = (range(40), (*range(16), *range(90, 120)), range(50, 90))
    sent = [PlannedRequest(at, 0.0, tuple(prompt), 2) for at, prompt in enumerate(prompts)]
    frame = requests_frame(requests, Plan(tuple(sent), None))
    assert [list(names) for names in frame["prefix_blocks"]] == [[0], [0], []]
    assert list(requests_frame(requests)["prefix_blocks"]) == [None] * 3
