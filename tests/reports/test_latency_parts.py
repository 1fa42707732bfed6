"""What a report says of where latency went, against the result it was given."""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import Any

import pytest
from llmbench.reports import latency_parts
from llmbench.reports.chart_table import chart_table
from llmbench.reports.format import THIN
from llmbench.reports.glossary import PARTS
from llmbench.reports.model import Run

from .conftest import Load, make_run, one_token_replies, without_requests


@pytest.fixture(scope="module")
def mixed() -> Run:
    return make_run("inflight", Load(mixed=True))


def with_attribution(run: Run, **changes: Any) -> Run:
    result = copy.deepcopy(dict(run.result))
    result["attribution"] |= changes
    return Run(run.name, result, run.requests, run.steps)


def test_bars_add_up_to_what_was_measured(run: Run) -> None:
    chart = latency_parts.first_token(run)
    assert chart is not None
    (panel,) = chart.panels
    mean_ms = 1e3 * run.requests["ttft_s"].mean()
    assert panel.y.categories[-1] == "All, 32 requests"
    assert sum(one.x[-1] for one in panel.series) == pytest.approx(mean_ms)
    slowest_ms = 1e3 * run.requests["ttft_s"].max()
    assert sum(one.x[0] for one in panel.series) == pytest.approx(slowest_ms)
    assert len(chart_table(chart).rows) == 3


def test_queue_is_the_metric_of_that_name(run: Run) -> None:
    chart = latency_parts.first_token(run)
    assert chart is not None
    (queue,) = (one for one in chart.series if one.name == "Queue")
    assert queue.x[-1] == pytest.approx(1e3 * run.requests["queue_s"].mean())


def test_prompt_steps_of_separate_batching_are_seen_in_the_slow_tokens(run: Run) -> None:
    chart = latency_parts.slow_tokens(run)
    assert chart is not None
    assert "of their time was others' prefill" in chart.reading
    assert "0 % of the steps held both prefill and decode" in chart.note


def test_mixed_steps_say_how_they_were_told_apart(mixed: Run) -> None:
    chart = latency_parts.first_token(mixed)
    assert chart is not None
    assert "what decode-only steps of similar width took" in chart.note
    told = with_attribution(mixed, mixed_steps_by_evidence=7, mixed_steps_by_tokens=3)
    chart = latency_parts.first_token(told)
    assert chart is not None
    assert chart.note.startswith("In 7 mixed steps")
    assert "in 3, for want of such steps, time is split by tokens" in chart.note


def test_a_part_that_took_nothing_is_not_drawn_and_a_residual_is(run: Run) -> None:
    chart = latency_parts.first_token(run)
    assert chart is not None
    assert {"Preemption", "Residual"}.isdisjoint(one.name for one in chart.series)
    bands = copy.deepcopy(run.result["attribution"]["ttft"])
    bands[0]["parts"]["residual_s"] = 0.005
    chart = latency_parts.first_token(with_attribution(run, ttft=bands))
    assert chart is not None
    assert [one.x[-1] for one in chart.series if one.name == "Residual"] == [5.0]


def test_a_run_without_slow_tokens_says_so(run: Run) -> None:
    bands = [band for band in run.result["attribution"]["itl"] if band["name"] != "slow"]
    chart = latency_parts.slow_tokens(with_attribution(run, itl=bands))
    assert chart is not None
    assert "no token was slow" in chart.reading


def test_the_table_holds_every_mean_with_its_residual(run: Run) -> None:
    table = latency_parts.parts(run)
    assert table is not None
    assert [row[0].text.split(",")[0] for row in table.rows] == (
        ["TTFT"] * 3 + ["TPOT"] + ["Token gaps"] * 3
    )
    assert table.columns[-1].title == "Residual"
    assert len(table.columns) == 3 + len(PARTS)
    for row in table.rows:
        # As rounded, they still add up: by half of the last digit each.
        measured = float(row[2].text.split()[0].replace(THIN, ""))
        added = sum(float(cell.text.replace(THIN, "")) for cell in row[3:])
        assert added == pytest.approx(measured, rel=0.005 * len(PARTS))


def test_runs_side_by_side_say_which_part_differs_most(run: Run, mixed: Run) -> None:
    first, gaps = latency_parts.compared([run, mixed])
    assert first.panels[0].y.categories == ("inflight", "paged-awq")
    for chart, metric in ((first, "ttft"), (gaps, "itl")):
        for at, one in enumerate((mixed, run)):
            mean_ms = 1e3 * one.result["metrics"][metric]["stats"]["mean"]
            assert sum(series.x[at] for series in chart.series) == pytest.approx(mean_ms)
    slower = copy.deepcopy(run.result["attribution"]["ttft"])
    slower[0]["parts"]["host_s"] += 3.0
    first, _ = latency_parts.compared([run, with_attribution(run, ttft=slower)])
    assert first.reading.endswith("in the mean TTFT: paged-awq 3 s more host.")


def test_runs_that_are_the_same_in_every_part_are_told_as_the_same(run: Run, mixed: Run) -> None:
    """Known wrong here: "six-orca 0 ms more queue"."""
    both = [replace(run, name=name) for name in ("a", "b")]
    first, gaps = latency_parts.compared(both)
    assert first.reading == "The mean TTFT of b is a's, part by part."
    assert gaps.reading == "The mean gap between tokens of b is a's, part by part."
    first, _ = latency_parts.compared([*both, replace(mixed, name="c")])
    assert first.reading.startswith("What differs most from a in the mean TTFT: c ")
    assert first.reading.endswith(". The mean TTFT of b is a's, part by part.")


def test_a_run_without_parts_leaves_nothing_to_compare(run: Run) -> None:
    assert latency_parts.compared([run, without_requests()]) == ()


def test_what_is_not_there_is_left_out() -> None:
    nothing = without_requests()
    for part in (
        latency_parts.first_token,
        latency_parts.slow_tokens,
        latency_parts.parts,
    ):
        assert part(nothing) is None
    alone = one_token_replies()
    assert latency_parts.first_token(alone) is not None
    assert latency_parts.slow_tokens(alone) is None
