"""Stored runs as a trend: order, kinds, steps, and what is left out."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from llmbench.engines.errors import ConfigError
from llmbench.harness.cli.app import main
from llmbench.harness.history.text import sparkline
from llmbench.harness.history.trends import history_of
from llmbench.harness.store import write_run

from ..observed import serve_in_turn
from ..stored import stored_run


@pytest.fixture(scope="module")
def nightly(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """24 nights; from night 14 on steps take 1.2 times as long. Names are not in order of time."""
    folder = tmp_path_factory.mktemp("nightly")
    rng = np.random.default_rng()
    for night in range(24):
        slower = 1.2 if night >= 14 else 1.0
        step_s = 0.01 * slower * float(rng.lognormal(0, 0.01))
        run = stored_run(
            *serve_in_turn(4, step_s=lambda step_s=step_s: step_s),
            label="<b>$paged</b>",
            environment={"git": {"commit": f"{night:040x}"}},
        )
        result = run.result.model_copy(update={"created_at": f"2026-01-{night + 1:02}T00:00:00Z"})
        write_run(folder / f"run-{(7 * night) % 24}", result, run.requests, run.steps, {})
    bad = stored_run(*serve_in_turn(4), interrupted=True)
    write_run(folder / "cut-short", bad.result, bad.requests, bad.steps, {})
    (folder / "torn").mkdir()
    (folder / "torn" / "result.json").write_text("{")
    return folder


def test_a_step_is_found_at_its_run(nightly: Path) -> None:
    history = history_of([nightly], ["tpot.mean", "output_throughput.run"])
    tpot, throughput = history.trends

    assert [point.created_at for point in tpot.points] == sorted(
        point.created_at for point in tpot.points
    )
    assert [step.at for step in tpot.steps] == [14]
    assert tpot.points[14].run == f"run-{(7 * 14) % 24}"
    assert tpot.points[14].commit == f"{14:040x}"[:12]
    assert tpot.worsened(tpot.steps[0])
    assert throughput.worsened(throughput.steps[0])
    assert tpot.steps[0].after / tpot.steps[0].before == pytest.approx(1.2, rel=0.02)


def test_what_is_not_comparable_is_left_out_and_said(nightly: Path) -> None:
    history = history_of([nightly], ["tpot.mean"])
    assert len(history.left_out) == 2
    assert sum("interrupted" in line for line in history.left_out) == 1
    assert sum("is not JSON" in line for line in history.left_out) == 1


def test_runs_of_other_requests_are_a_trend_of_their_own(nightly: Path, tmp_path: Path) -> None:
    other = stored_run(*serve_in_turn(4), fingerprint="0" * 64, label="<b>$paged</b>")
    write_run(tmp_path / "other", other.result, other.requests, other.steps, {})
    sizes = [len(one.points) for one in history_of([nightly, tmp_path], ["tpot.mean"]).trends]
    assert sorted(sizes) == [1, 24]


def test_a_directory_without_runs_is_a_mistake(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="a run, or a directory with runs below it"):
        history_of([tmp_path])


def test_sparkline() -> None:
    assert sparkline([1.0, 2.0, 3.0]) == "▁▅█"
    assert sparkline([2.0, 2.0]) == "▄▄"
    assert len(sparkline([float(i) for i in range(500)])) == 60


@pytest.mark.parametrize("suffix", ["html", "png", "svg"])
def test_the_command(
    nightly: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], suffix: str
) -> None:
    plot = tmp_path / f"history.{suffix}"
    with pytest.raises(SystemExit) as caught:
        main(["history", str(nightly), "--metric", "tpot.mean", "--plot", str(plot)])
    assert not caught.value.code
    said = capsys.readouterr()
    assert "24 runs" in said.out
    assert "worse: " in said.out
    assert "left out: " in said.err
    drawn = plot.read_bytes()
    if suffix == "html":
        assert b"<b>$paged" not in drawn
        assert b"&lt;b&gt;$paged" in drawn
        assert drawn.count(b"<tr>") == 25
        assert b'src="http' not in drawn
        assert len(drawn) < 8_000_000
    else:
        assert drawn.startswith(b"\x89PNG" if suffix == "png" else b"<?xml")
