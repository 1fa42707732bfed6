"""Which latencies of a run are split, and what a result keeps of them."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from llmbench.engines.trace import StepTrace
from llmbench.harness.attribution import (
    Attributed,
    attribute,
    summarise_parts,
    timeline_of_traces,
)
from llmbench.harness.metrics.tpot import TimePerOutputToken
from llmbench.harness.metrics.ttft import TimeToFirstToken
from llmbench.harness.result import Attribution
from llmbench.harness.run.record import RequestRecord, RequestStatus
from llmbench.reports.latency_parts import measured_s

from .schedule import MS, attributed, random_run, request, step


def summarised(records: list[RequestRecord], steps: list[StepTrace]) -> Attribution:
    timeline = timeline_of_traces([one.request_id for one in records], steps)
    found = summarise_parts(attribute(records, timeline), timeline)
    assert found is not None
    return found


def in_turn(count: int, tokens: int) -> tuple[list[RequestRecord], list[StepTrace]]:
    """Each request prefills for 20 ms and decodes alone, 10 ms a token; all are due at 0."""
    records: list[RequestRecord] = []
    steps: list[StepTrace] = []
    now = 0
    for at in range(count):
        times: list[int] = []
        for token in range(tokens):
            phase, start, length = ("decode", 3 + token, 1) if token else ("prefill", 0, 4)
            linear = 9 if token else 19
            steps.append(step(now, (f"r{at}", phase, start, length), linear=linear))  # pyright: ignore[reportArgumentType]
            now += linear + 1
            times.append(now)
        records.append(request(f"r{at}", 0, *times))
    return records, steps


def test_bands_of_ttft() -> None:
    """Request i waits 60 i ms and prefills for 20; 11 requests: the mean waits 300, the middle is
    the sixth, the slowest the last."""
    found = summarised(*in_turn(11, 5))
    bands = {band.name: band for band in found.ttft}

    assert [band.count for band in found.ttft] == [11, 3, 1]
    assert bands["mean"].parts.queue_s == pytest.approx(0.300)
    assert bands["p50"].parts.queue_s == pytest.approx(0.300)
    assert bands["p99"].parts.queue_s == pytest.approx(0.600)
    assert all(band.parts.own_prefill_s == pytest.approx(0.020) for band in found.ttft)
    assert [one.request_id for one in found.slowest_requests] == [
        f"r{at}" for at in range(10, -1, -1)
    ]


def test_tpot_and_gaps_are_decode_alone() -> None:
    found = summarised(*in_turn(4, 5))

    assert found.tpot is not None
    assert found.tpot.decode_s == measured_s(found.tpot.model_dump()) == pytest.approx(0.010)
    assert [(band.name, band.count) for band in found.itl] == [("mean", 16), ("p99", 1)]
    assert found.slow_token_s == pytest.approx(0.020)
    assert found.slowest_tokens == ()
    assert (found.mixed_step_share, found.delayed_decode_step_share) == (0.0, 0.0)


def test_a_slow_token_is_beyond_twice_the_median_gap() -> None:
    """a decodes every 10 ms but once: b's prompt takes 25 between its tokens 4 and 5."""
    steps = [step(0, ("a", "prefill", 0, 4), linear=9)]
    steps += [step(10 * at, ("a", "decode", 3 + at, 1), linear=9) for at in range(1, 5)]
    steps.append(step(50, ("b", "prefill", 0, 9), linear=24))
    steps += [step(75 + 10 * at, ("a", "decode", 8 + at, 1), linear=9) for at in range(3)]
    times = [10, 20, 30, 40, 50, 85, 95, 105]
    found = summarised([request("a", 0, *times), request("b", 40, 75)], steps)

    (slow,) = found.slowest_tokens
    assert (slow.request_id, slow.token) == ("a", 5)
    assert slow.time_s == pytest.approx(0.085)
    assert slow.parts.others_prefill_s == pytest.approx(0.025)
    assert slow.parts.decode_s == pytest.approx(0.010)
    assert {band.name: band.count for band in found.itl} == {"mean": 7, "slow": 1, "p99": 1}
    # One of the seven decode steps came after a prompt that made it wait.
    assert found.delayed_decode_step_share == pytest.approx(1 / 7)


def test_mixed_steps_are_counted_by_how_they_were_told_apart() -> None:
    steps = [step(0, ("a", "prefill", 0, 4))]
    steps += [step(1 + at, ("a", "decode", 4 + at, 1)) for at in range(8)]
    steps.append(step(9, ("b", "prefill", 0, 4), ("a", "decode", 12, 1), linear=3))
    steps.append(
        step(13, ("c", "prefill", 0, 4), ("a", "decode", 13, 1), ("b", "decode", 4, 1), linear=3)
    )
    found = summarised([request("a", 0, *range(1, 10), 13, 17), request("b", 5, 13, 17)], steps)

    assert (found.mixed_steps_by_evidence, found.mixed_steps_by_tokens) == (1, 1)
    assert found.mixed_step_share == pytest.approx(2 / 11)
    assert found.delayed_decode_step_share == pytest.approx(2 / 10)


def test_only_requests_that_were_served_are_split() -> None:
    records, steps = in_turn(3, 2)
    records[1] = request("r1", 0, 50, status=RequestStatus.UNFINISHED)
    records.append(request("r3", 0, status=RequestStatus.REFUSED))
    found = attributed(records, steps)

    assert found.ttft.intervals.request.tolist() == [0, 2]
    assert summarised(records, steps).ttft[0].count == 2


def test_nothing_served_is_nothing_to_split() -> None:
    refused = [request("r0", 0, status=RequestStatus.REFUSED)]
    for records in ([], refused):
        timeline = timeline_of_traces([one.request_id for one in records], [])
        assert summarise_parts(attribute(records, timeline), timeline) is None


def test_one_token_replies_have_no_gaps() -> None:
    found = summarised(*in_turn(3, 1))

    assert found.tpot is None
    assert found.itl == ()
    assert found.slow_token_s is None


@given(st.integers(0, 2**32 - 1))
@settings(max_examples=60, deadline=None)
def test_parts_and_residual_sum_to_the_metrics(seed: int) -> None:
    records, steps = random_run(seed)
    timeline = timeline_of_traces([one.request_id for one in records], steps)
    found: Attributed = attribute(records, timeline)
    result = summarise_parts(found, timeline)
    served = [one for one in records if one.status is RequestStatus.OK]
    if not served:
        assert result is None
        return
    assert result is not None
    ttft = [TimeToFirstToken().of(one) for one in served]
    assert measured_s(result.ttft[0].parts.model_dump()) == pytest.approx(np.mean(ttft), abs=1e-9)  # pyright: ignore[reportArgumentType, reportCallIssue]
    tpot = [pace for one in served if (pace := TimePerOutputToken().of(one)) is not None]
    if tpot:
        assert result.tpot is not None
        assert measured_s(result.tpot.model_dump()) == pytest.approx(np.mean(tpot), abs=1e-9)
    for one in (*result.slowest_requests, *result.slowest_tokens):
        parts = one.parts.model_dump()
        residual_s = parts.pop("residual_s")
        assert min(parts.values()) >= 0
        assert residual_s >= -1e-9
    scheduled = {
        chunk.request_id: trace.start_s for trace in reversed(steps) for chunk in trace.chunks
    }
    for slow in result.slowest_requests:
        waited_s = scheduled[slow.request_id] - slow.t_due_s
        # Later waits for a turn, once it has started, are queue too.
        assert slow.parts.queue_s >= waited_s - MS * 1e-6
