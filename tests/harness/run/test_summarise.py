"""From records and steps to a result's numbers."""

from __future__ import annotations

import pytest
from llmbench.harness.metrics.kv import KVPool
from llmbench.harness.run.record import RequestRecord, RequestStatus
from llmbench.harness.run.summarise import Summary, summarise
from llmbench.harness.run.validity import Asked

from ..observed import make_request, serve_in_turn

POOL = KVPool("paged", 1024, 4096, 4)


def _summarise(requests: list[RequestRecord], **slo: float) -> Summary:
    return summarise(
        requests,
        [],
        pool=POOL,
        max_num_batched_tokens=64,
        asked=Asked({one.request_id: one.output_tokens for one in requests}, open_loop=False),
        slo=slo,
    )


def test_a_closed_loop_of_one() -> None:
    """120 requests of 8 steps of 10 ms: every number follows from that."""
    requests, steps = serve_in_turn(120)
    found = summarise(
        requests,
        steps,
        pool=POOL,
        max_num_batched_tokens=8,
        asked=Asked({r.request_id: 8 for r in requests}, open_loop=False, max_concurrency=1),
        slo={"ttft": 0.015},
    )

    assert found.validity.valid
    assert found.duration_s == pytest.approx(9.6)
    stats = {name: metric.stats for name, metric in found.metrics.items()}
    assert stats["ttft"]["p99"] == pytest.approx(0.01)
    assert stats["tpot"]["mean"] == pytest.approx(0.01)
    assert stats["itl"]["count"] == 120 * 7
    assert stats["e2el"]["max"] == pytest.approx(0.08)
    assert stats["ntpot"]["p50"] == pytest.approx(0.01)
    assert stats["queue"]["mean"] == pytest.approx(0.0)
    assert stats["output_throughput"]["run"] == pytest.approx(100.0)
    assert stats["total_throughput"]["run"] == pytest.approx(120 * 12 / 9.6)
    assert stats["request_throughput"]["run"] == pytest.approx(12.5)
    assert stats["goodput"]["run"] == pytest.approx(12.5)
    assert stats["goodput_share"] == {"run": 1.0}
    assert stats["batch_tokens"]["mean"] == pytest.approx((4 + 7) / 8)
    assert stats["budget_utilisation"]["max"] == pytest.approx(0.5)
    assert found.counters.steps == 960
    assert found.kv is not None
    assert found.kv.useful_tokens.peak == 11
    assert found.window.steady


def test_a_metric_without_samples_is_left_out() -> None:
    found = _summarise([make_request((1.0,))])

    assert "tpot" not in found.metrics
    assert "itl" not in found.metrics
    assert "goodput" not in found.metrics
    assert found.metrics["ttft"].stats["count"] == 1


def test_goodput_is_left_out_where_nothing_can_be_judged() -> None:
    """0 requests/s would say that none was good."""
    found = _summarise([make_request((1.0,))], tpot=0.05)

    assert "request_throughput" in found.metrics
    assert not {"goodput", "goodput_share"} & set(found.metrics)


def test_only_requests_that_ended_well_enter_the_latencies() -> None:
    found = _summarise(
        [
            make_request((1.0, 2.0), index=0),
            make_request((9.0, 20.0), index=1, status=RequestStatus.UNFINISHED),
            make_request((), index=2, status=RequestStatus.REFUSED),
        ]
    )

    assert found.metrics["ttft"].stats["count"] == 1
    assert found.metrics["e2el"].stats["max"] == 2.0


def test_a_run_of_nothing_is_summarised_and_invalid() -> None:
    found = _summarise([])

    assert not found.validity.valid
    assert found.duration_s == 0.0
    assert found.metrics["output_throughput"].stats == {"window": 0.0, "run": 0.0}
