"""`llmbench calibrate-client`, as typed; and a mock server that cannot be."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from llmbench.harness.cli import main
from llmbench.harness.cli.exits import Exit
from llmbench.harness.client import calibrate
from llmbench.harness.client.calibrate import Point, measure_point
from llmbench.harness.client.calibration import read_calibration
from llmbench.harness.client.processes import Job, SentByAll, send_job
from llmbench.harness.errors import InvalidRun
from llmbench.harness.mock.rule import Fault, Rule
from llmbench.harness.mock.server import MockServer
from llmbench.harness.run.drive import Progress

from ..mock.in_thread import in_thread


def test_a_calibration_is_written_and_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(calibrate, "GRID", (Point.of(4, 100, 0.1),))
    before = os.sched_getaffinity(0)
    path = tmp_path / "there" / "calibration.json"
    with pytest.raises(SystemExit) as left:
        main(["calibrate-client", "--seconds", "0.3", "--out", str(path)])
    assert left.value.code == Exit.OK
    assert os.sched_getaffinity(0) == before
    (point,) = read_calibration(path).points
    assert point.load.chunks_per_s > 0
    said = capsys.readouterr()
    assert "limits" in said.out
    assert "ttft" in said.err


def test_ctrl_c_is_no_failed_request(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Known wrong here: "a request failed at Point(...): :", and the exit code of an invalid run;
    for the client answers Ctrl-C by handing back what there is."""
    monkeypatch.setattr(calibrate, "GRID", (Point.of(4, 100, 0.1),))

    def cut_short(job: Job, report: Callable[[Progress], None]) -> SentByAll:
        found = send_job(job, report)
        return replace(found, sent=replace(found.sent, interrupted=True))

    monkeypatch.setattr(calibrate, "send_job", cut_short)
    with pytest.raises(SystemExit) as left:
        main(["calibrate-client", "--seconds", "0.3", "--out", str(tmp_path / "c.json")])
    assert left.value.code == Exit.INTERRUPTED
    error = "error: interrupted before every load was measured: nothing is saved\n"
    assert capsys.readouterr().err == error
    assert not (tmp_path / "c.json").exists()


def test_a_request_that_failed_is_said_in_words() -> None:
    point = Point.of(4, 100, 0.1)
    said = r"^a request failed at 40 requests/s: http_500: \S"
    rule = Rule(0.01, 0.01, faults={Fault.HTTP_500: 1.0})
    with in_thread(MockServer(rule.script)) as url, pytest.raises(InvalidRun, match=said):
        measure_point(url, point, seconds=0.3, processes=1, seed=0)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["calibrate-client", "--seconds", "0"], "seconds"),
        (["mock-server", "--fault", "http_42=0.1"], "fault"),
        (["mock-server", "--fault", "stall=often"], "fault"),
        (["mock-server", "--ttft", "soon"], "ttft"),
        (["mock-server", "--counting", "guess"], "counting"),
        (["mock-server", "--jitter", "3"], "jitter"),
    ],
)
def test_a_mistake_is_one_line(
    arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as left:
        main(arguments)
    assert left.value.code == Exit.USAGE
    error = capsys.readouterr().err.strip()
    assert said in error
    assert "\n" not in error
