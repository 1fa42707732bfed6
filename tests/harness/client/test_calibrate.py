"""The client's error, worked by hand; and one small load, measured."""

from __future__ import annotations

from array import array
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from llmbench.engines.errors import ConfigError
from llmbench.harness.client.calibrate import Point, errors_of, measure_point, plan_of
from llmbench.harness.client.calibration import (
    CalibratedLoad,
    ClientCalibration,
    Load,
    error_at,
    load_of,
    read_calibration,
    widened,
)
from llmbench.harness.errors import InvalidRun
from llmbench.harness.mock.log import Sent
from llmbench.harness.mock.rule import Rule
from llmbench.harness.mock.server import MockServer
from llmbench.harness.run.record import RequestRecord

from ..mock.in_thread import in_thread
from ..observed import make_request


def seen(chunk_times_s: tuple[float, ...], *, due_s: float = 0.0, index: int = 0) -> RequestRecord:
    times = make_request(chunk_times_s, due_s=due_s, index=index)
    return replace(times, chunk_times_s=chunk_times_s, chunk_tokens=(1,) * len(chunk_times_s))


def test_errors_worked_by_hand() -> None:
    """Due at 1; received at 101.25 of the server's clock, chunks sent at 101.5, 101.75, 102.5 and
    seen at 1.6, 1.8, 2.7: TTFT 0.6, truly 0.25."""
    truth = Sent("r0", 101.25, 4, array("d", [101.5, 101.75, 102.5]), array("i", [1, 1, 1]))
    found = errors_of([seen((1.6, 1.8, 2.7), due_s=1.0)], {"r0": truth})
    np.testing.assert_allclose(found["ttft"], [0.35])
    np.testing.assert_allclose(found["itl"], [-0.05, 0.15])
    np.testing.assert_allclose(found["e2el"], [0.45])


def test_other_tokens_than_were_sent_have_no_error_bar() -> None:
    truth = Sent("r0", 0.0, 4, array("d", [0.5, 1.0]), array("i", [1, 2]))
    with pytest.raises(InvalidRun, match="r0"):
        errors_of([seen((0.5, 1.0))], {"r0": truth})


def test_load_is_of_the_middle() -> None:
    """Four streams of a chunk a second each, from 0 to 8 s, and one that fills and drains alone."""
    times = tuple(float(at) for at in range(9))
    requests = [seen(times, index=index) for index in range(4)]
    load = load_of(requests)
    assert load is not None
    assert (load.streams, load.chunks_per_s) == (4.0, 4.0)


def test_an_error_is_no_smaller_than_the_lag_of_the_runs_own_loop() -> None:
    """Known wrong here: "p99 lag 8.80 ms of its loop" above "ttft ± 954 us"."""
    wide = {"p50_s": 1e-4, "p99_s": 20e-3, "bias_s": 0.0}
    narrow = {"p50_s": 1e-4, "p99_s": 954e-6, "bias_s": 0.0}
    point = CalibratedLoad(Load(1.0, 1.0, 1.0), narrow, wide, narrow, 1e-3, 0.1, valid=True)
    found = error_at(ClientCalibration("a", "2026-01-01", 1, (point,)), point.load, 1)

    assert widened(found, 5e-4) == found
    busy = widened(found, 8.8e-3)
    assert [one.p99_s for one in (busy.ttft, busy.itl, busy.e2el)] == [8.8e-3, 20e-3, 8.8e-3]
    assert (busy.ttft.p50_s, busy.widened, found.widened) == (1e-4, True, False)


def test_the_smallest_load_that_is_as_large_is_looked_up() -> None:
    def point(size: float) -> CalibratedLoad:
        error = {"p50_s": size, "p99_s": size, "bias_s": 0.0}
        return CalibratedLoad(Load(size, size, size), error, error, error, 0.0, 0.0, valid=True)

    found = ClientCalibration("cpu", "", 1, (point(100), point(10), point(1000)))
    for load, expected, beyond in ((5, 10, False), (11, 10, False), (12, 100, False)):
        error = error_at(found, Load(load, load, load), 1)
        assert (error.ttft.p99_s, error.beyond) == (expected, beyond)
    assert error_at(found, Load(1, 1, 5000), 1).beyond
    # Two processes have half of it each.
    assert error_at(found, Load(20, 20, 20), 2).ttft.p99_s == 10


@pytest.mark.parametrize("text", ["{", "[]", "[" * 100_000])
def test_a_file_that_is_no_calibration_is_one_line(tmp_path: Path, text: str) -> None:
    path = tmp_path / "c.json"
    path.write_text(text)
    with pytest.raises(ConfigError, match="a file that llmbench calibrate-client wrote"):
        read_calibration(path)


def test_a_load_is_measured() -> None:
    """Against a server in a thread of this very process, so the figures are only sane: an error
    has a size, and counts agreed."""
    point = Point.of(4, 200, 0.2)
    with in_thread(MockServer(Rule(0.05, point.gap_s).script)) as url:
        found = measure_point(url, point, seconds=0.5, processes=1, seed=1)
    assert found.load.chunks_per_s > 0
    assert 0 <= found.ttft["p50_s"] <= found.ttft["p99_s"]
    assert abs(found.itl["bias_s"]) <= found.itl["p99_s"]
    assert len(plan_of(point, 0.5, 1).requests) == 10
