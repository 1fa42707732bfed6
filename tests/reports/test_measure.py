"""What a number of a result is called."""

from __future__ import annotations

from llmbench.reports.measure import response_label


def test_labels() -> None:
    assert response_label("ttft", "p99") == "TTFT p99"
    assert response_label("output_throughput", "run") == "Output throughput"
    assert response_label("kv", "waste_share") == "KV waste"
    assert response_label("running", "peak") == "Requests running, peak"
