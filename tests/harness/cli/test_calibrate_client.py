"""`llmbench calibrate-client`, as typed; and a mock server that cannot be."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from llmbench.harness.cli import main
from llmbench.harness.cli.exits import Exit
from llmbench.harness.client import calibrate
from llmbench.harness.client.calibrate import Point
from llmbench.harness.client.calibration import read_calibration


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
