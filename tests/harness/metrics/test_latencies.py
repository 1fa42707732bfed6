"""Each latency metric on requests whose numbers were worked by hand."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest
from llmbench.harness.metrics import LATENCIES, SLO_METRICS, RequestMetric, meets
from llmbench.harness.metrics.icl import InterChunkLatency
from llmbench.harness.metrics.itl import InterTokenLatency
from llmbench.harness.metrics.tpot import TimePerOutputToken
from llmbench.harness.run.record import RequestRecord

from ..observed import make_request

# Due at 10.0, sent late at 10.5, scheduled at 11.0, tokens at 12, 12.5, 14 and 15.
EXPECTED_S = {
    "ttft": 2.0,
    "ttft_send": 1.5,
    "tpot": 1.0,  # (15 - 12) / 3
    "ntpot": 1.25,  # (15 - 10) / 4
    "e2el": 5.0,
    "queue": 1.0,
}


@pytest.mark.parametrize("name", EXPECTED_S)
def test_four_tokens(name: str) -> None:
    request = make_request((12.0, 12.5, 14.0, 15.0), due_s=10.0, send_s=10.5, scheduled_s=11.0)

    assert SLO_METRICS[name].of(request) == pytest.approx(EXPECTED_S[name])


def test_itl_has_a_sample_for_each_gap() -> None:
    request = make_request((12.0, 12.5, 14.0, 15.0), due_s=10.0)

    assert InterTokenLatency().of(request) == pytest.approx((0.5, 1.5, 1.0))


def test_a_single_token_has_no_pace() -> None:
    """Known wrong elsewhere: a one-token reply given TPOT 0."""
    request = make_request((12.0,), due_s=10.0)

    assert SLO_METRICS["tpot"].of(request) is None
    assert InterTokenLatency().of(request) == ()
    assert SLO_METRICS["ntpot"].of(request) == pytest.approx(2.0)


def test_thoughts_that_were_not_sent_have_no_pace() -> None:
    """Four tokens came with the first chunk's time, of which three were never sent."""
    request = make_request((12.0, 12.0, 12.0, 12.0, 13.0, 14.0), due_s=10.0)
    request = replace(request, hidden_tokens=3, chunk_times_s=(12.0, 13.0, 14.0), counted="total")

    assert SLO_METRICS["tpot"].of(request) == pytest.approx(1.0)
    assert SLO_METRICS["ntpot"].of(request) == pytest.approx(4.0 / 6)
    one = replace(request, token_times_s=(12.0,) * 4, chunk_times_s=(12.0,))
    assert SLO_METRICS["tpot"].of(one) is None
    assert meets(one, {"ttft": 3.0, "tpot": 0.1})


def test_a_client_that_falls_behind_does_not_hide_it() -> None:
    """Known wrong elsewhere: 506 ms shown, 1932 ms from the schedule (coordinated omission)."""
    request = make_request((1.932,), due_s=0.0, send_s=1.426)

    assert SLO_METRICS["e2el"].of(request) == pytest.approx(1.932)
    assert SLO_METRICS["ttft"].of(request) == pytest.approx(1.932)
    assert SLO_METRICS["ttft_send"].of(request) == pytest.approx(0.506)


def test_what_never_happened_is_absent_not_zero() -> None:
    request = make_request(())

    assert {name: metric.of(request) for name, metric in SLO_METRICS.items()} == dict.fromkeys(
        SLO_METRICS
    )


def test_ids_are_unique_and_each_docstring_has_other_tools_words() -> None:
    assert len({metric.id for metric in LATENCIES}) == len(LATENCIES)
    for metric in LATENCIES:
        assert "Elsewhere:" in (metric.__doc__ or "")
        assert (metric.unit, metric.better) == ("s", "lower")


def test_an_slo_can_judge_every_metric_with_one_value_a_request() -> None:
    assert set(SLO_METRICS) == {m.id for m in LATENCIES if isinstance(m, RequestMetric)}


def chunked(
    chunk_times_s: Sequence[float], chunk_tokens: Sequence[int], counted: str = "usage"
) -> RequestRecord:
    times_s = [t for t, n in zip(chunk_times_s, chunk_tokens, strict=True) for _ in range(n)]
    return replace(
        make_request(times_s),
        chunk_times_s=tuple(chunk_times_s),
        chunk_tokens=tuple(chunk_tokens),
        counted=counted,
    )


def test_icl_is_the_gap_between_chunks_and_itl_between_tokens() -> None:
    request = chunked([1.0, 1.5, 2.5], [1, 3, 2])
    assert InterChunkLatency().of(request) == (0.5, 1.0)
    assert InterTokenLatency().of(request) == (0.5, 0.0, 0.0, 1.0, 0.0)
    assert InterChunkLatency().of(make_request([1.0, 2.0])) == ()


def test_a_reply_of_which_only_the_total_is_known_has_no_itl() -> None:
    request = chunked([1.0, 1.5, 2.5], [2, 2, 2], "total")
    assert InterTokenLatency().of(request) == ()
    assert TimePerOutputToken().of(request) == pytest.approx(1.5 / 5)


def test_a_reply_in_one_chunk_has_no_pace() -> None:
    """Six tokens at once would have a TPOT of 0, and meet every SLO; nobody saw their pace, so they
    meet none. One token at once is judged on the other limits."""
    request = chunked([1.0], [6])
    assert TimePerOutputToken().of(request) is None
    assert InterTokenLatency().of(request) == ()
    assert meets(request, {"tpot": 1.0}) is False
    assert meets(request, {"tpot": 1.0, "ttft": 2.0}) is False
    assert meets(request, {"ttft": 2.0}) is True
    assert meets(chunked([1.0], [1]), {"tpot": 1e-9}) is None
    assert meets(chunked([1.0], [1]), {"tpot": 1e-9, "ttft": 2.0}) is True
