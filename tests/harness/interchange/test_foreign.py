"""What a file does not say of its replies is not taken for a number."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from llmbench.harness.interchange import read_run
from llmbench.harness.storage.store import StoredRun

DATA = Path(__file__).parent / "data"
DETAILED, SUMMARY = DATA / "vllm-detailed.json", DATA / "vllm-summary.json"


def warnings_of(run: StoredRun) -> str:
    return " | ".join(check.detail for check in run.result.validity.failures)


def test_a_refusal_that_vllm_has_no_words_for_is_no_served_request(tmp_path: Path) -> None:
    """Its error is the reason phrase of the answer, which a server may leave out."""
    theirs = json.loads(DETAILED.read_text())
    nothing = {"ttfts": 0.0, "itls": [], "output_lens": 0, "errors": ""}
    columns = {name: [value, *theirs[name][1:]] for name, value in nothing.items()}
    path = tmp_path / "refused.json"
    path.write_text(json.dumps({**theirs, **columns, "completed": 15, "failed": 1}))
    run = read_run(path)
    assert (run.result.counters.requests_ok, run.result.counters.requests_failed) == (15, 1)
    assert not run.result.validity.valid
    assert "r0: the file has no token of its reply" in warnings_of(run)


@pytest.mark.parametrize("lacks", ["output_sequence_length", "time_to_first_token"])
def test_replies_whose_tokens_aiperf_does_not_tell_make_no_throughput_of_zero(
    tmp_path: Path, lacks: str
) -> None:
    shutil.copy(DATA / "aiperf-profile_export_aiperf.json", tmp_path / "profile_export_aiperf.json")
    lines = (DATA / "aiperf-profile_export.jsonl").read_text().splitlines()
    rows = [json.loads(line) for line in lines]
    for row in rows:
        for name in {lacks, "request_latency"}:
            del row["metrics"][name]
    (tmp_path / "profile_export.jsonl").write_text("\n".join(map(json.dumps, rows)))
    run = read_run(tmp_path)
    assert run.result.counters.requests_failed == 16
    assert not run.result.validity.valid


def test_zeros_of_a_summary_are_no_latency(tmp_path: Path) -> None:
    """vLLM and guidellm write them where no reply had a value: of one token, or in one chunk."""
    theirs = json.loads(SUMMARY.read_text())
    zeros = {name: 0.0 for name in theirs if name.endswith(("_tpot_ms", "_itl_ms"))}
    path = tmp_path / "short.json"
    path.write_text(json.dumps({**theirs, **zeros}))
    metrics = read_run(path).result.metrics
    assert {"ttft", "e2el"} & set(metrics)
    assert not {"tpot", "icl"} & set(metrics)


def test_a_summary_of_no_tokens_is_of_no_replies(tmp_path: Path) -> None:
    theirs = json.loads(SUMMARY.read_text())
    path = tmp_path / "empty.json"
    path.write_text(json.dumps({**theirs, "total_output_tokens": 0, "output_throughput": 0.0}))
    validity = read_run(path).result.validity
    assert not validity.valid
    said = [one.detail for one in validity.failures if one.id == "errors"]
    assert said == ["16 requests served, 0 failed, no token of a reply"]


def test_a_summary_that_counts_replies_held_back_as_without_a_pause_has_no_pace(
    tmp_path: Path,
) -> None:
    theirs = json.loads((DATA / "aiperf-profile_export_aiperf.json").read_text())
    path = tmp_path / "profile_export_aiperf.json"
    path.write_text(json.dumps(theirs))
    assert "tpot" in read_run(path).result.metrics
    theirs["inter_token_latency"] |= {"min": 0.0}
    path.write_text(json.dumps(theirs))
    run = read_run(path)
    assert "tpot" not in run.result.metrics
    assert "icl" in run.result.metrics
    assert "replies of several tokens came all at once" in warnings_of(run)


def test_a_summary_of_one_and_the_same_pace_has_it(tmp_path: Path) -> None:
    theirs = json.loads((DATA / "aiperf-profile_export_aiperf.json").read_text())
    theirs["inter_token_latency"] |= {"std": 0.0}
    path = tmp_path / "profile_export_aiperf.json"
    path.write_text(json.dumps(theirs))
    assert "tpot" in read_run(path).result.metrics
