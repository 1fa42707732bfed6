"""The requests that lie beside an aiperf summary: its own, or another run's."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from llmbench.harness.interchange import read_run
from llmbench.harness.storage.store import StoreError

DATA = Path(__file__).parent / "data"
SUMMARY, REQUESTS = DATA / "aiperf-profile_export_aiperf.json", DATA / "aiperf-profile_export.jsonl"


def test_the_requests_of_a_prefix_are_those_of_its_summary(tmp_path: Path) -> None:
    """`--profile-export-prefix mine` writes both, beside what another run left."""
    shutil.copy(SUMMARY, tmp_path / "mine.json")
    shutil.copy(REQUESTS, tmp_path / "mine.jsonl")
    (tmp_path / "profile_export.jsonl").write_text(REQUESTS.read_text().splitlines()[-1])
    assert len(read_run(tmp_path / "mine.json").requests) == 16


def test_a_summary_of_another_name_takes_no_requests_of_a_run_without_a_prefix(
    tmp_path: Path,
) -> None:
    shutil.copy(SUMMARY, tmp_path / "mine.json")
    shutil.copy(REQUESTS, tmp_path / "profile_export.jsonl")
    assert len(read_run(tmp_path / "mine.json").requests) == 0


def test_requests_that_are_not_the_summarys_are_refused(tmp_path: Path) -> None:
    """As where only one of both was copied over an earlier run's."""
    shutil.copy(SUMMARY, tmp_path / "profile_export_aiperf.json")
    lines = REQUESTS.read_text().splitlines()
    failed = json.loads(lines[-1]) | {"error": {"message": "no answer"}}
    (tmp_path / "profile_export.jsonl").write_text("\n".join([*lines[:-2], json.dumps(failed)]))
    with pytest.raises(StoreError) as refused:
        read_run(tmp_path)
    assert str(refused.value).endswith(
        "profile_export.jsonl beside it has 14 requests served and 1 failed, and it counts 16 and "
        "0: move what is of another run"
    )


def test_requests_nested_too_deeply_are_one_line(tmp_path: Path) -> None:
    shutil.copy(SUMMARY, tmp_path / "profile_export_aiperf.json")
    (tmp_path / "profile_export.jsonl").write_text("[" * 100_000)
    with pytest.raises(StoreError, match="cannot be used: maximum recursion depth exceeded"):
        read_run(tmp_path)


def test_requests_that_failed_are_held_against_the_summarys(tmp_path: Path) -> None:
    counts = {"request_count": {"avg": 15.0}, "error_request_count": {"avg": 1.0}}
    summary = json.loads(SUMMARY.read_text()) | counts
    (tmp_path / "profile_export_aiperf.json").write_text(json.dumps(summary))
    *lines, last = REQUESTS.read_text().splitlines()
    failed = json.loads(last) | {"error": {"message": "no answer"}}
    (tmp_path / "profile_export.jsonl").write_text("\n".join([*lines, json.dumps(failed)]))
    counters = read_run(tmp_path).result.counters
    assert (counters.requests_ok, counters.requests_failed) == (15, 1)


@pytest.mark.parametrize("beside", [True, False], ids=["requests", "summary"])
def test_a_wait_for_a_cap_under_a_rate_is_said_to_be_left_out(
    tmp_path: Path, *, beside: bool
) -> None:
    """A credit, which says when a request was due, is issued after it."""
    summary = json.loads(SUMMARY.read_text())
    if beside:
        shutil.copy(REQUESTS, tmp_path / "profile_export.jsonl")
    notes = []
    for rate in (None, 5.0):
        summary["input_config"]["phases"][1]["rate"] = rate
        (tmp_path / "profile_export_aiperf.json").write_text(json.dumps(summary))
        said = read_run(tmp_path).result.validity.failures
        notes.append(any("cap on requests in flight" in check.detail for check in said))
    assert notes == [False, True]
