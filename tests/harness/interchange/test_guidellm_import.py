"""Replies in guidellm's reports that have no times between their first token and their last."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from llmbench.harness.interchange import read_run
from llmbench.harness.storage.store import StoredRun

FILE = Path(__file__).parent / "data" / "guidellm.json"


def served(path: Path) -> list[dict[str, Any]]:
    return json.loads(path.read_text())["benchmarks"][0]["requests"]["successful"]


def changed(path: Path, **timings: Any) -> StoredRun:
    """The file's run with these timings in every request, a name for that of another timing."""
    report = json.loads(FILE.read_text())
    for row in report["benchmarks"][0]["requests"]["successful"]:
        each = row["info"]["timings"]
        row["info"]["timings"] = each | {
            name: each[value] if isinstance(value, str) else value
            for name, value in timings.items()
        }
    path.write_text(json.dumps(report))
    return read_run(path)


def edited(path: Path, edit: Callable[[dict[str, Any]], None]) -> StoredRun:
    """The file's run once its benchmark was changed."""
    report = json.loads(FILE.read_text())
    edit(report["benchmarks"][0])
    path.write_text(json.dumps(report))
    return read_run(path)


def held_back(run: StoredRun) -> str:
    (check,) = (one for one in run.result.validity.failures if one.id == "held_back")
    return check.detail


def test_what_was_not_streamed_is_there_when_its_request_ends(tmp_path: Path) -> None:
    """As guidellm's own path without a stream leaves it."""
    none = ("first_token_iteration", "first_output_token_iteration", "last_token_iteration")
    run = changed(tmp_path / "whole.json", **dict.fromkeys(none), token_iterations=0)
    result = run.result
    stays_s = [row["request_latency"] for row in served(FILE)]
    assert result.metrics["ttft_send"].stats["mean"] == pytest.approx(sum(stays_s) / 16)
    assert result.metrics["e2el"].stats["max"] >= max(stays_s)
    assert result.counters.output_tokens == 16 * 12
    rate_per_s = result.metrics["output_throughput"].stats["run"]
    assert rate_per_s == pytest.approx(16 * 12 / result.duration_s)
    assert "tpot" not in result.metrics
    assert held_back(run).startswith("16 of 16 replies of several tokens came all at once")


def test_a_reply_in_one_chunk_has_no_pace(tmp_path: Path) -> None:
    run = changed(
        tmp_path / "one.json", last_token_iteration="first_token_iteration", token_iterations=1
    )
    firsts_s = [row["time_to_first_token_ms"] / 1e3 for row in served(FILE)]
    ttft_s = run.result.metrics["ttft_send"].stats["mean"]
    assert ttft_s == pytest.approx(sum(firsts_s) / 16, rel=1e-5)
    assert "tpot" not in run.result.metrics
    assert held_back(run).startswith("16 of 16 replies of several tokens came all at once")


def test_a_reply_in_several_chunks_was_not_held_back() -> None:
    run = read_run(FILE)
    assert "held_back" not in {one.id for one in run.result.validity.failures}
    assert "tpot" in run.result.metrics


def test_as_fast_as_can_be_counts_from_the_send(tmp_path: Path) -> None:
    """It wants every request at the start of the run, which is no time when one was due."""

    def throughput(benchmark: dict[str, Any]) -> None:
        benchmark["config"]["strategy"] = {"type_": "throughput", "max_concurrency": 4}
        start_s = benchmark["scheduler_state"]["start_time"]
        for row in benchmark["requests"]["successful"]:
            row["info"]["timings"]["targeted_start"] = start_s

    metrics = edited(tmp_path / "throughput.json", throughput).result.metrics
    firsts_s = [row["time_to_first_token_ms"] / 1e3 for row in served(FILE)]
    assert metrics["ttft"].stats["mean"] == pytest.approx(sum(firsts_s) / 16, rel=1e-5)
    assert metrics["ttft"].stats == metrics["ttft_send"].stats


@pytest.mark.parametrize(
    ("strategy", "asked", "cap"),
    [
        ({"type_": "concurrent", "streams": 4, "max_concurrency": 4}, None, 4),
        ({"type_": "synchronous", "max_concurrency": 1}, None, 1),
        ({"type_": "throughput", "max_concurrency": 16}, 16, 16),
        ({"type_": "poisson", "rate": 2.0, "max_concurrency": 16}, 16, 16),
        ({"type_": "poisson", "rate": 2.0, "max_concurrency": 10240}, None, None),
    ],
    ids=["concurrent", "synchronous", "throughput", "poisson", "uncapped"],
)
def test_every_strategy_has_the_cap_that_was_asked_for(
    tmp_path: Path, strategy: dict[str, Any], asked: int | None, cap: int | None
) -> None:
    """Where none was asked for, guidellm writes its own of 10240."""

    def capped(benchmark: dict[str, Any]) -> None:
        profile = {"kind": strategy["type_"], "max_concurrency": asked}
        benchmark["config"] |= {"strategy": strategy, "profile": profile}

    run = edited(tmp_path / "capped.json", capped)
    assert run.result.config["max_concurrency"] == cap


def time_limited(benchmark: dict[str, Any]) -> None:
    """Its limit came when 14 of 16 had ended, another was under way and one not yet sent."""
    requests, state = benchmark["requests"], benchmark["scheduler_state"]
    metadata = {"max_duration": 0.2, "duration_exceeded": True}
    action = {"request_processing": "stop_local", "metadata": metadata}
    state["end_processing_constraints"] = {"max_duration": action}
    *ended, cut, unsent = requests["successful"]
    end_s = benchmark["scheduler_metrics"]["measure_end_time"] = cut["request_end_time"]
    none = dict.fromkeys(("request_end", "first_token_iteration", "last_token_iteration"))
    cut["info"]["timings"] |= none
    unsent["info"]["timings"] |= none | {"request_start": None}
    unsent |= {"request_start_time": None, "request_end_time": end_s + 0.001}
    requests |= {"successful": ended, "incomplete": [cut, unsent]}
    counts = benchmark["metrics"]["request_totals"]
    counts |= {"successful": 14, "incomplete": 1, "total": 15}


@pytest.mark.parametrize("sampled", [False, True], ids=["requests", "summary"])
def test_a_run_that_its_time_limit_cut_is_compared_and_says_so(
    tmp_path: Path, *, sampled: bool
) -> None:
    def cut(benchmark: dict[str, Any]) -> None:
        time_limited(benchmark)
        if sampled:
            benchmark["requests"]["successful"] = []

    run = edited(tmp_path / "limited.json", cut)
    counters = run.result.counters
    assert (counters.requests_ok, counters.requests_unfinished) == (14, 1)
    assert counters.requests_failed == 0
    assert len(run.requests) == (0 if sampled else 15)
    assert run.result.validity.valid
    (said,) = (one.detail for one in run.result.validity.failures if one.id == "complete")
    assert said == ("cut by its time limit: 1 of 15 requests did not end, and are in no latency")


def test_requests_that_something_else_cancelled_are_no_run(tmp_path: Path) -> None:
    def stopped(benchmark: dict[str, Any]) -> None:
        time_limited(benchmark)
        action = {"request_processing": "stop_all", "metadata": {"errors_exceeded": True}}
        benchmark["scheduler_state"]["end_processing_constraints"] = {"max_errors": action}

    assert not edited(tmp_path / "stopped.json", stopped).result.validity.valid


def test_warm_up_and_cooldown_are_left_out(tmp_path: Path) -> None:
    """guidellm counts what was under way between them; a report has every request."""
    starts_s = sorted(row["request_start_time"] for row in served(FILE))
    ends_s = sorted(row["request_end_time"] for row in served(FILE))
    start_s, end_s = ends_s[3] + 1e-6, starts_s[11] + 1e-6
    within = [
        row
        for row in served(FILE)
        if row["request_end_time"] >= start_s and row["request_start_time"] <= end_s
    ]
    assert 0 < len(within) < 16

    def between(benchmark: dict[str, Any]) -> None:
        times = {"measure_start_time": start_s, "measure_end_time": end_s}
        benchmark["scheduler_metrics"] |= times
        counts = benchmark["metrics"]["request_totals"]
        counts |= {"successful": len(within), "total": len(within)}

    run = edited(tmp_path / "warm.json", between)
    assert len(run.requests) == len(within)
    firsts_s = [row["time_to_first_token_ms"] / 1e3 for row in within]
    mean_s = sum(firsts_s) / len(within)
    assert run.result.metrics["ttft_send"].stats["mean"] == pytest.approx(mean_s, rel=1e-5)
