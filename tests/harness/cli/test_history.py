"""`llmbench history` on stored runs, in this process."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import pytest
from llmbench.harness.cli import main
from llmbench.harness.cli.history import sparkline
from llmbench.harness.storage.store import write_run

from ..observed import serve_in_turn
from ..stored import SIMULATION, stored_run


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    """Three simulated nights; in the last, each step takes twice as long. Hostile names."""
    for night, step_s in enumerate((0.01, 0.01, 0.02)):
        requests, steps = serve_in_turn(60, step_s=step_s)
        stored = stored_run(
            requests, steps, simulation=SIMULATION, label="[red]paged[/] <b>", config={"seed": 0}
        )
        name = tmp_path / "nights" / f"n{night} <script>[bold]"
        write_run(name, stored.result, stored.requests, stored.steps, {})
    return tmp_path / "nights"


def history(*words: str) -> int:
    with pytest.raises(SystemExit) as left:
        main(["history", *words])
    assert isinstance(left.value.code, int)
    return left.value.code


def test_a_slower_night_is_named_on_the_terminal_and_in_the_reports(
    runs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert history(str(runs), "--metric", "tpot.mean", "--out", str(tmp_path / "out")) == 0
    printed = capsys.readouterr().out
    assert "[red]paged[/] <b>" in printed  # as it is called, and no colour
    assert "▁▁█" in printed
    assert "2.00× at n2" in printed
    page = (tmp_path / "out" / "history.html").read_text(encoding="utf-8")
    assert "&lt;script&gt;[bold]" in page
    assert "<script>[bold]" not in page


def test_runs_that_are_alone_are_one_line(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    requests, steps = serve_in_turn(12)
    for at in range(3):
        alone = stored_run(requests, steps, simulation=SIMULATION, config={"seed": 7 + at})
        name = runs / f"alone-{at}"
        write_run(name, alone.result, alone.requests, alone.steps, {})
    assert history(str(runs), "--metric", "tpot.mean") == 0
    told = capsys.readouterr()
    (line,) = [line for line in (told.out + told.err).splitlines() if "alone" in line]
    assert line.startswith("3 runs are alone: no other run has their settings")
    assert "left out" not in told.err


def test_numbers_are_printed_as_json(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert history(str(runs), "--metric", "tpot.mean", "--json") == 0
    told = json.loads(capsys.readouterr().out)
    (trend,) = told["series"][0]["trends"]
    assert [step["index"] for step in trend["steps"]] == [2]


def test_what_ctrl_c_ends_is_said_to_be_interrupted(
    runs: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Known wrong here, and of every command: the exit code, and not a word."""

    def cut(paths: Sequence[Path]) -> None:
        raise KeyboardInterrupt(paths)

    monkeypatch.setattr("llmbench.harness.history.series.find_runs", cut)
    assert history(str(runs)) == 130
    assert capsys.readouterr().err == "error: interrupted\n"


def test_a_quantity_that_is_named_twice_is_judged_once(
    runs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Known wrong here: the correction for many quantities counted it as two."""
    named = ("--metric", "preemptions", "--metric", "counters.preemptions")
    assert history(str(runs), *named, "--json") == 0
    trends = json.loads(capsys.readouterr().out)["series"][0]["trends"]
    assert [(one["id"], one["stat"]) for one in trends] == [("counters", "preemptions")]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--metric", "ttft.p98"), "metric: 'ttft.p98'"),
        (("--significance", "1.5"), "significance: 1.5"),
        (("--significance", "1e-9"), "significance: 1e-09 is not allowed; expected 0.001 to less"),
    ],
)
def test_a_wrong_option_is_one_line(
    runs: Path, words: tuple[str, ...], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert history(str(runs), *words) == 2
    error = capsys.readouterr().err
    assert said in error
    assert len(error.strip().splitlines()) == 1


def test_a_file_where_reports_belong_is_said_to_be_one(
    runs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Known wrong here: "cannot be written: File exists"."""
    (tmp_path / "out").write_text("kept")
    assert history(str(runs), "--metric", "tpot.mean", "--out", str(tmp_path / "out")) == 2
    assert "out' is a file; expected a directory" in capsys.readouterr().err
    assert (tmp_path / "out").read_text() == "kept"


@pytest.mark.parametrize(
    ("values", "shown"),
    [
        ((1.0, 2.0, 8.0), "▁▂█"),
        ((3.0, 3.0), "▁▁"),
        ((1.0, None, 2.0), "▁ █"),
        ((None, None), ""),
    ],
)
def test_a_sparkline_has_a_bar_a_value(values: tuple[float | None, ...], shown: str) -> None:
    assert sparkline(values) == shown
