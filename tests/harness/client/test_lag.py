"""How late the client may be, for each time that it measures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from llmbench.harness.client.lag import check_client, check_paces, check_send_lag
from llmbench.harness.result import Check, ClientLoad
from llmbench.harness.run.record import RequestRecord
from llmbench.harness.run.validity import Asked

from ..observed import make_request


def late_by(loop_lag_p99_s: float) -> ClientLoad:
    return ClientLoad(
        processes=1,
        connections=1,
        loop_lag_p50_s=0.0,
        loop_lag_p99_s=loop_lag_p99_s,
        loop_lag_max_s=loop_lag_p99_s,
        cpu_share=0.1,
        send_lag_p99_s=0.0,
    )


def reply(ttft_s: float, gap_s: float, chunks: int, *, late_s: float = 0.0) -> RequestRecord:
    """late_s: of the send."""
    times_s = tuple(late_s + ttft_s + gap_s * np.arange(chunks))
    return replace(make_request(times_s, send_s=late_s), chunk_times_s=times_s)


def paces(requests: Sequence[RequestRecord], lag_s: float) -> dict[str, Check]:
    return {one.id: one for one in check_paces(requests, late_by(lag_s))}


@pytest.mark.parametrize(
    ("lag_s", "chunks", "spans_ok", "gaps_ok"),
    [
        (0.9, 201, False, False),  # 4 s
        (0.19, 201, True, False),
        (0.9, 1001, True, False),  # 20 s
        (0.0009, 201, True, True),
    ],
)
def test_a_long_wait_excuses_no_gap(
    lag_s: float, chunks: int, spans_ok: bool, gaps_ok: bool
) -> None:
    """Passed before: a lag of 0.9 s, since 5 % of a TTFT of 20 s are a second."""
    requests = [reply(20.0, 0.02, chunks)]
    assert check_client(requests, late_by(lag_s)).ok
    found = paces(requests, lag_s)
    assert (found["late_spans"].ok, found["late_gaps"].ok) == (spans_ok, gaps_ok)
    assert not any(one.fatal for one in found.values())
    assert all(one.ok != ("not compared" in one.detail) for one in found.values())
    assert found["late_gaps"].limit == pytest.approx(0.001)
    assert found["late_spans"].limit == pytest.approx(0.05 * 0.02 * (chunks - 1))


def test_chunks_that_came_together_are_no_gaps() -> None:
    times_s = (1.0, 1.0, 1.0, 1.1, 1.1, 1.1, 1.2, 1.2, 1.2)
    together = replace(make_request(times_s), chunk_times_s=times_s)
    assert paces([together], 0.004)["late_gaps"].limit == pytest.approx(0.005)


def test_a_reply_of_one_chunk_has_no_pace_to_be_wrong() -> None:
    found = paces([reply(0.1, 0.0, 1)], 10.0)
    assert all(one.ok for one in found.values())
    assert all(one.ok for one in paces([], 10.0).values())


def test_what_is_late_at_sending_does_not_raise_its_own_limit() -> None:
    """20 ms late for a TTFT of 0.1 s from the send; from when they were due it was 0.6 s, of which
    5 % are 30 ms."""
    requests = [reply(0.1, 0.02, 10, late_s=late_s) for late_s in (0.5,) * 9 + (0.02,)]
    assert check_send_lag(requests, Asked({}, open_loop=True)).limit == pytest.approx(0.01)
    assert not check_client(requests, late_by(0.02)).ok


def test_a_lag_over_its_limit_is_not_told_as_at_most_that() -> None:
    """Known wrong here: "late by 20.0 ms at p99, at most 10.0 ms"."""
    late = [reply(0.1, 0.02, 10, late_s=0.02)]
    send = check_send_lag(late, Asked({}, open_loop=True))
    assert send.detail == "p99 of send \u2212 due is 20.0 ms, over the limit of 10.0 ms"
    gaps = paces(late, 0.0005)["late_gaps"]
    assert "was late by 0.5 ms at p99, within the limit of 1.0 ms: the median gap" in gaps.detail
    gaps = paces(late, 0.02)["late_gaps"]
    assert "was late by 20.0 ms at p99, over the limit of 1.0 ms: the median gap" in gaps.detail


@pytest.mark.parametrize(("cpu_share", "advised"), [(0.04, False), (0.7, True), (0.95, True)])
def test_more_processes_are_advised_to_a_client_that_is_busy_itself(
    cpu_share: float, advised: bool
) -> None:
    """Known wrong here: of one that took 4 % of a core while others had the machine."""
    client = late_by(0.02).model_copy(update={"cpu_share": cpu_share})
    found = check_client([reply(0.1, 0.02, 10)], client)
    assert not found.ok
    assert ("more --processes than 1" in found.detail) == advised
    assert ("it was kept waiting" in found.detail) != advised


@pytest.mark.parametrize(("count", "late", "value_s"), [(100, 2, 1.0), (101, 1, 0.0)])
def test_the_lag_is_that_of_the_latest_in_a_hundred(count: int, late: int, value_s: float) -> None:
    requests = [reply(0.1, 0.02, 10, late_s=float(at < late)) for at in range(count)]
    found = check_send_lag(requests, Asked({}, open_loop=True))
    assert found.value == pytest.approx(value_s)
    assert found.ok == (value_s == 0)


@pytest.mark.parametrize(("cpu_share", "ok"), [(0.90, True), (0.91, False)])
def test_a_client_that_takes_a_whole_core_is_none_however_little_its_loop_is_late(
    cpu_share: float, ok: bool
) -> None:
    client = late_by(0.0).model_copy(update={"cpu_share": cpu_share})
    assert check_client([reply(0.1, 0.02, 10)], client).ok == ok
