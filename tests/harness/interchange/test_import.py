"""Files that vLLM, aiperf and guidellm wrote themselves, of runs against `llmbench serve`.

Their summaries are what our metrics, computed from their requests, are held against.
"""

from __future__ import annotations

import json
import shutil
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from llmbench.harness.cli import main
from llmbench.harness.comparison.compare import compare
from llmbench.harness.interchange import read_run
from llmbench.harness.interchange.aiperf_export import to_aiperf
from llmbench.harness.interchange.vllm_export import to_vllm
from llmbench.harness.rendering import comparison_reports
from llmbench.harness.result import Result
from llmbench.harness.storage.store import StoredRun, StoreError
from llmbench.reports.facts import NOT_SAID

from ..observed import serve_in_turn
from ..stored import SIMULATION, stored_run

DATA = Path(__file__).parent / "data"
VLLM, VLLM_SUMMARY = DATA / "vllm-detailed.json", DATA / "vllm-summary.json"
GUIDELLM = DATA / "guidellm.json"


@pytest.fixture
def aiperf(tmp_path: Path) -> Path:
    """A directory of artifacts, as aiperf lays them out."""
    for name in ("profile_export_aiperf.json", "profile_export.jsonl"):
        shutil.copy(DATA / f"aiperf-{name}", tmp_path / name)
    return tmp_path


def loaded(path: Path) -> dict[str, Any]:
    return json.loads(path.read_text())


def stat(result: Result, metric: str, name: str) -> float:
    return result.metrics[metric].stats[name]


def warnings_of(run: StoredRun) -> str:
    return " | ".join(check.detail for check in run.result.validity.failures)


def test_our_metrics_of_vllms_requests_are_vllms() -> None:
    run, theirs = read_run(VLLM), loaded(VLLM)
    ours = to_vllm(run)
    for metric in ("ttft", "tpot", "itl", "e2el"):
        for word in ("mean", "median", "std", "p50", "p90", "p99"):
            key = f"{word}_{metric}_ms"
            assert ours[key] == pytest.approx(theirs[key], rel=1e-6), key
    for key in ("completed", "failed", "total_input_tokens", "total_output_tokens", "num_prompts"):
        assert ours[key] == theirs[key], key
    for key in ("input_lens", "output_lens"):
        assert ours[key] == theirs[key], key
    assert np.concatenate(ours["itls"]) == pytest.approx(np.concatenate(theirs["itls"]), abs=1e-9)
    # Its clock runs on until the last connection has closed.
    assert theirs["duration"] * 0.9 < run.result.duration_s <= theirs["duration"]
    # As many chunks as tokens, so that the gaps are between tokens.
    assert stat(run.result, "itl", "mean") == pytest.approx(theirs["mean_itl_ms"] / 1e3, rel=1e-6)
    assert "count from the send" in warnings_of(run)


@pytest.mark.parametrize(
    "offered",
    [{"request_rate": 100.0}, {"request_rate": "inf", "ramp_up_strategy": "linear"}],
    ids=["rate", "ramp-up"],
)
def test_a_cap_in_front_of_a_rate_is_in_our_latency_and_not_in_vllms(
    tmp_path: Path, offered: dict[str, Any]
) -> None:
    theirs = loaded(VLLM)
    path = tmp_path / "capped.json"
    path.write_text(json.dumps({**theirs, **offered}))
    result = read_run(path).result
    waited_s = np.mean(theirs["queue_times"])
    assert stat(result, "ttft_send", "mean") == pytest.approx(theirs["mean_ttft_ms"] / 1e3)
    assert stat(result, "ttft", "mean") == pytest.approx(theirs["mean_ttft_ms"] / 1e3 + waited_s)


def test_a_rate_that_nobody_decided_is_none(tmp_path: Path) -> None:
    """As our own export of sessions has it."""
    path = tmp_path / "sessions.json"
    path.write_text(json.dumps({**loaded(VLLM), "request_rate": None}))
    assert read_run(path).result.config["request_rate"] is None


def test_chunks_of_several_tokens_give_no_gaps_between_tokens(tmp_path: Path) -> None:
    theirs = loaded(VLLM)
    path = tmp_path / "chunks.json"
    path.write_text(json.dumps({**theirs, "output_lens": [24] * 16, "total_output_tokens": 384}))
    run = read_run(path)
    assert "itl" not in run.result.metrics
    assert stat(run.result, "icl", "mean") == pytest.approx(theirs["mean_itl_ms"] / 1e3, rel=1e-6)
    spans_s = [sum(gaps_s) for gaps_s in theirs["itls"]]
    assert stat(run.result, "tpot", "mean") == pytest.approx(np.mean(spans_s) / 23)
    assert run.result.counters.output_tokens == 384


def test_a_failed_request_of_vllm_makes_the_run_invalid(tmp_path: Path) -> None:
    theirs = loaded(VLLM)
    errors = ["", "Connection reset\nby peer", *theirs["errors"][2:]]
    path = tmp_path / "failed.json"
    path.write_text(json.dumps({**theirs, "errors": errors}))
    run = read_run(path)
    assert (run.result.counters.requests_ok, run.result.counters.requests_failed) == (15, 1)
    assert not run.result.validity.valid
    assert "Connection reset" in warnings_of(run)


def test_vllms_summary_alone() -> None:
    run, theirs = read_run(VLLM_SUMMARY), loaded(VLLM_SUMMARY)
    result = run.result
    assert len(run.requests) == 0
    assert stat(result, "ttft", "p99") == theirs["p99_ttft_ms"] / 1e3
    assert stat(result, "tpot", "p50") == theirs["median_tpot_ms"] / 1e3
    assert stat(result, "output_throughput", "window") == theirs["output_throughput"]
    # What vLLM calls ITL may be of chunks that hold several tokens.
    assert stat(result, "icl", "mean") == theirs["mean_itl_ms"] / 1e3
    assert "itl" not in result.metrics


def test_the_pace_of_some_replies_is_not_that_of_all(tmp_path: Path) -> None:
    """Every other reply of 12 tokens came in one chunk, the slow ones perhaps."""
    theirs = loaded(VLLM)
    gaps_s = [one if at % 2 else [] for at, one in enumerate(theirs["itls"])]
    path = tmp_path / "half.json"
    path.write_text(json.dumps({**theirs, "itls": gaps_s}))
    run = read_run(path)
    assert stat(run.result, "tpot", "count") == 8
    rows = {row.name: row for row in compare([read_run(VLLM), run]).rows}
    (_, ratio) = rows["tpot.mean"].ratios
    assert ratio is not None
    assert ratio.too_little.startswith("8 of 16 replies of several tokens came all at once")


def test_our_metrics_of_aiperfs_requests_are_aiperfs(aiperf: Path) -> None:
    run, theirs = read_run(aiperf), loaded(aiperf / "profile_export_aiperf.json")
    ours = to_aiperf(run)
    assert len(run.requests) == 16, "warm-up is left out"
    blocks = [
        *("request_latency", "time_to_first_token", "time_to_second_token", "inter_token_latency"),
        *("inter_chunk_latency", "output_token_throughput_per_user", "output_sequence_length"),
        *("input_sequence_length", "total_osl", "total_isl", "request_count"),
        *("output_token_count", "total_output_tokens"),
    ]
    for name in blocks:
        assert set(ours[name]) == set(theirs[name]), name
        assert ours[name].pop("unit") == theirs[name].pop("unit"), name
        assert ours[name] == pytest.approx(theirs[name], rel=1e-6, abs=1e-6), name
    ours_s, theirs_s = (one["benchmark_duration"]["avg"] for one in (ours, theirs))
    assert ours_s == pytest.approx(theirs_s, rel=1e-5)
    # aiperf's rates are over its phase, which is longer than what it calls the duration.
    times = [datetime.fromisoformat(theirs[name]) for name in ("start_time", "end_time")]
    longer = (times[1] - times[0]).total_seconds() / theirs_s
    assert 1 < longer < 1.1
    for name in ("request", "output_token", "input_token", "total_token"):
        rate = f"{name}_throughput"
        assert ours[rate]["unit"] == theirs[rate]["unit"]
        assert ours[rate]["avg"] == pytest.approx(theirs[rate]["avg"] * longer, rel=1e-4), rate
    # A request is due when its credit is issued.
    lag_s = theirs["credit_to_start_latency"]["avg"] / 1e3
    ttft_s = stat(run.result, "ttft", "mean") - stat(run.result, "ttft_send", "mean")
    assert ttft_s == pytest.approx(lag_s, rel=1e-3)


def test_aiperfs_summary_alone(aiperf: Path) -> None:
    (aiperf / "profile_export.jsonl").unlink()
    path = aiperf / "profile_export_aiperf.json"
    run, theirs = read_run(path), loaded(path)
    assert stat(run.result, "tpot", "p99") == theirs["inter_token_latency"]["p99"] / 1e3
    assert stat(run.result, "icl", "mean") == theirs["inter_chunk_latency"]["avg"] / 1e3
    assert stat(run.result, "e2el", "max") == theirs["request_latency"]["max"] / 1e3
    assert run.result.config["max_concurrency"] == 4
    assert "count from the send" in warnings_of(run)


def test_our_metrics_of_guidellms_requests_are_guidellms() -> None:
    run = read_run(GUIDELLM)
    theirs = loaded(GUIDELLM)["benchmarks"][0]["metrics"]
    result = run.result
    ttft_ms = theirs["time_to_first_token_ms"]["successful"]
    assert stat(result, "ttft_send", "mean") == pytest.approx(ttft_ms["mean"] / 1e3, rel=1e-6)
    assert stat(result, "ttft_send", "max") == pytest.approx(ttft_ms["max"] / 1e3, rel=1e-6)
    # All replies have 12 tokens here, so that weighing by tokens weighs them alike.
    itl_ms = theirs["inter_token_latency_ms"]["successful"]
    assert stat(result, "tpot", "mean") == pytest.approx(itl_ms["mean"] / 1e3, rel=1e-4)
    assert "itl" not in result.metrics
    assert "icl" not in result.metrics
    # From when a stream was free, which is before the send.
    waited_s = stat(result, "ttft", "mean") - stat(result, "ttft_send", "mean")
    delays = [row["turn_scheduling_delay"] for row in _guidellm_rows()]
    assert waited_s == pytest.approx(np.mean(delays), rel=1e-3)


def _guidellm_rows() -> list[dict[str, Any]]:
    return loaded(GUIDELLM)["benchmarks"][0]["requests"]["successful"]


def test_a_guidellm_report_without_its_requests_and_one_with_several(tmp_path: Path) -> None:
    theirs = loaded(GUIDELLM)
    (benchmark,) = theirs["benchmarks"]
    sampled = {**benchmark, "requests": {**benchmark["requests"], "successful": []}}
    path = tmp_path / "sweep.json"
    path.write_text(json.dumps({**theirs, "benchmarks": [benchmark, sampled]}))
    with pytest.raises(StoreError, match=r"it holds 2 benchmarks; choose one as sweep\.json#0"):
        read_run(path)
    with pytest.raises(StoreError, match="no benchmark 7"):
        read_run(path.with_name("sweep.json#7"))
    run = read_run(path.with_name("sweep.json#1"))
    assert len(run.requests) == 0
    assert "weigh a long reply more" in warnings_of(run)
    ntpot_ms = benchmark["metrics"]["time_per_output_token_ms"]["successful"]["mean"]
    assert stat(run.result, "ntpot", "mean") == pytest.approx(ntpot_ms / 1e3)
    assert len(read_run(path.with_name("sweep.json#0")).requests) == 16


def test_runs_of_different_tools_side_by_side(aiperf: Path) -> None:
    comparison = compare([read_run(VLLM), read_run(aiperf), read_run(VLLM_SUMMARY)])
    rows = {row.name: row for row in comparison.rows}
    ttft = rows["ttft.mean"]
    assert all(value is not None for value in ttft.values)
    with_requests, summary = ttft.ratios[1], ttft.ratios[2]
    assert with_requests is not None
    assert with_requests.low is not None
    assert summary is not None
    # A summary has a ratio, and nothing to say how sure it is.
    assert (summary.low, summary.verdict) == (None, "inconclusive")
    assert summary.value == pytest.approx(1, rel=1e-6)
    assert not any(name.startswith(("kv.", "memory.", "counters.steps")) for name in rows)
    said = " | ".join(comparison.warnings)
    assert "from vllm bench serve: TTFT and latency count from the send" in said
    assert "nor which requests they were sent" in said
    assert "environments differ" not in said


def test_the_command_reads_files_and_shows_what_they_say_as_text(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    hostile = "[bold]evil[/bold]<script>alert(1)</script>"
    path, out = tmp_path / "theirs.json", tmp_path / "out"
    path.write_text(json.dumps({**loaded(VLLM), "model_id": hostile}))
    with pytest.raises(SystemExit) as ended:
        main(["compare", str(VLLM), str(path), "--out", str(out)])
    assert ended.value.code == 0
    printed = capsys.readouterr().out
    assert "TTFT mean" in printed
    assert "the runs served different models" in printed
    assert "<script>alert" not in (out / "comparison.html").read_text()


def test_the_command_refuses_a_file_of_a_run_that_failed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "failed.json"
    path.write_text(json.dumps({**loaded(VLLM_SUMMARY), "failed": 3}))
    with pytest.raises(SystemExit) as ended:
        main(["compare", str(VLLM), str(path)])
    assert ended.value.code == 3
    assert "16 requests served, 3 failed" in " ".join(capsys.readouterr().err.split())


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "is not JSON"),
        (VLLM.read_text()[:900], "is not JSON"),
        ("[]", "is no result of llmbench, vLLM, aiperf or guidellm"),
        ('{"a": 1}', "is no result of llmbench, vLLM, aiperf or guidellm"),
        (
            json.dumps({k: v for k, v in loaded(VLLM).items() if k != "output_lens"}),
            "lacks 'output_lens'",
        ),
        (json.dumps({**loaded(VLLM), "output_lens": [1]}), "cannot be used"),
        (json.dumps({**loaded(VLLM), "ttfts": "x" * 16}), "cannot be used"),
        (json.dumps({**loaded(VLLM), "output_lens": [1e12] * 16}), "no number of tokens"),
        (json.dumps({**loaded(VLLM), "output_lens": [float("inf")] * 16}), "no number of tokens"),
        (json.dumps({**loaded(VLLM), "input_lens": [float("inf")] * 16}), "cannot be used"),
        (json.dumps({**loaded(VLLM), "ttfts": [float("nan")] * 16}), "no finite number"),
        (json.dumps({**loaded(VLLM), "ttfts": [1e308] * 16}), "no finite number of up to 1e+15"),
        (json.dumps({**loaded(VLLM_SUMMARY), "std_ttft_ms": 1e308}), "no finite number of up to"),
        (json.dumps({**loaded(VLLM_SUMMARY), "p99_ttft_ms": float("nan")}), "no finite number"),
        ("[" * 100_000, "is not JSON"),
    ],
    ids=[
        *("empty", "truncated", "list", "other", "missing", "short", "wrong"),
        *("huge", "infinite", "infinite prompt", "nan", "absurd", "absurd in summary"),
        *("nan in summary", "deep"),
    ],
)
def test_what_cannot_be_read_is_one_line(tmp_path: Path, text: str, says: str) -> None:
    path = tmp_path / "file.json"
    path.write_text(text)
    with pytest.raises(StoreError) as refused:
        read_run(path)
    assert says in str(refused.value)
    assert "\n" not in str(refused.value)


def test_a_file_is_told_by_what_is_in_it_and_not_by_its_name(tmp_path: Path) -> None:
    """Ours is called `result.json`; so may others be, by `--result-filename`."""
    path = tmp_path / "result.json"
    shutil.copy(VLLM, path)
    assert read_run(path).result.config["engine"] == "vllm bench serve"
    path.write_text('{"schema_version": 999}')
    with pytest.raises(StoreError, match="has schema_version 999"):
        read_run(path)


@pytest.mark.parametrize("name", ["vllm.json", "result.json", "."])
def test_a_number_is_refused_where_nothing_is_numbered(tmp_path: Path, name: str) -> None:
    for here in ("vllm.json", "result.json"):
        shutil.copy(VLLM, tmp_path / here)
    path = tmp_path if name == "." else tmp_path / name
    with pytest.raises(StoreError, match=r"so none has the number 7; expected it without #7"):
        read_run(path.with_name(f"{path.name}#7"))


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="does not exist"):
        read_run(tmp_path / "nothing.json")


def test_what_a_file_does_not_say_is_no_difference(tmp_path: Path) -> None:
    """A run beside itself as vLLM would have written it: nothing is known to differ."""
    count = 120
    ours = stored_run(*serve_in_turn(count, step_s=0.01), config={"num_requests": count})
    path = tmp_path / "paged.vllm.json"
    path.write_text(json.dumps(to_vllm(ours)))
    theirs = read_run(path)
    for runs in ((theirs, ours), (ours, theirs)):
        comparison = compare(runs)
        said = " | ".join(comparison.warnings)
        assert "different KV memory" not in said
        assert "at once" not in said
        assert "were not sent the same" not in said
        silent = f"{path.name} does not say its batching, admission, KV cache, KV memory or weights"
        assert said.count(f"{silent}, nor which requests it was sent: ") == 1
        assert comparison.same_requests is None
        # What it calls itself is the one thing that both say.
        assert [one.field for one in comparison.differing_config] == ["engine"]
        report = comparison_reports(runs, comparison)["comparison.md"]
        assert "Whether the runs were sent the same requests, paged.vllm.json does not" in report
        assert "Of the settings that runs say, one differs: engine." in report
        assert "All other settings are the same, or not said by all runs." in report
        assert "has that cause" not in report
    simulated = stored_run(*serve_in_turn(120, step_s=0.01), label="b", simulation=SIMULATION)
    said = " | ".join(compare([theirs, simulated]).warnings)
    assert "b simulated: how wrong the simulation is stands in every difference" in said


def test_two_silent_files_beside_one_of_ours_are_said_together() -> None:
    ours = stored_run(*serve_in_turn(20, step_s=0.01), config={"quant": "awq"})
    other = stored_run(*serve_in_turn(20, step_s=0.02), label="b", config={"kv_memory_bytes": 8})
    comparison = compare([ours, other, read_run(VLLM), read_run(GUIDELLM)])
    said = " | ".join(comparison.warnings)
    assert "vllm-detailed.json and guidellm.json do not say their batching" in said
    # What two that say it have otherwise still differs, and the others stand beside it unmarked.
    assert "different KV memory" in said
    values = {one.field: one.values for one in comparison.differing_config}
    assert values["kv_memory_bytes"][2:] == (NOT_SAID, NOT_SAID)


def test_requests_in_flight_of_a_closed_loop_are_no_queue() -> None:
    (check,) = (one for one in read_run(VLLM).result.validity.failures if one.id == "steady")
    assert check.detail.endswith(
        "only 12 ended: 4 in flight at the last arrival, in service or waiting"
    )
    assert "queue" not in check.detail
