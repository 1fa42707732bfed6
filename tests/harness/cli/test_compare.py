"""`llmbench compare` on stored runs, in this process, and what its terminal shows."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path

import pytest
from llmbench.harness.cli import main
from llmbench.harness.cli.compare_tables import print_comparison
from llmbench.harness.comparison.compare import compare
from llmbench.harness.storage.store import write_run
from llmbench.reports.comparison_report import comparison_report
from llmbench.reports.model import ConfigDifference, Ratio

from ...reports.comparisons import compared_runs, comparison_of
from ..observed import serve_in_turn
from ..stored import stored_run

LONG = "20261126-162900-paged-awq+int8-head"


@pytest.fixture
def directories(tmp_path: Path) -> list[str]:
    """Two runs of twenty requests, the second's steps a tenth longer."""
    paths = []
    for name, step_s in (("before", 0.01), ("after", 0.011)):
        run = stored_run(*serve_in_turn(20, step_s=step_s), label=name)
        paths.append(write_run(tmp_path / name, run.result, run.requests, run.steps, {}))
    return [str(path) for path in paths]


def call(*words: str) -> int:
    with pytest.raises(SystemExit) as left:
        main(["compare", *words])
    assert isinstance(left.value.code, int)
    return left.value.code


def test_terminal_reports_and_json_say_one_headline(
    directories: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call(*directories, "--out", str(tmp_path / "out")) == 0
    printed = " ".join(capsys.readouterr().out.split())
    assert call(*directories, "--json") == 0
    statement = json.loads(capsys.readouterr().out)["statement"]
    assert statement.startswith("after against before: ")
    assert " ".join(statement.split()) in printed
    assert statement in (tmp_path / "out" / "comparison.md").read_text(encoding="utf-8")


def test_quiet_is_the_answer_alone(
    directories: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert call(*directories, "-q") == 0
    said = capsys.readouterr()
    assert said.out.startswith("after against before: ")
    assert "Output throughput" not in said.out
    assert "note" not in said.out
    assert said.err == ""


def test_a_run_beside_itself_is_said_to_be_itself(
    directories: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    again = [directories[0], directories[0]]
    assert call(*again, "--out", str(tmp_path / "out")) == 0
    said = "before (2) is the same run as before: there is nothing to compare."
    assert said in capsys.readouterr().out
    for name in ("comparison.md", "comparison.html"):
        assert "the same run as before" in (tmp_path / "out" / name).read_text(encoding="utf-8")


def narrow(monkeypatch: pytest.MonkeyPatch, width: int) -> None:
    from llmbench.harness.cli.console import TerminalConsole

    monkeypatch.delenv("COLUMNS", raising=False)
    target = "llmbench.harness.cli.compare_tables.TerminalConsole"
    monkeypatch.setattr(target, lambda: TerminalConsole(width=width))


def test_eighty_columns_break_no_name_and_no_verdict(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Known wrong here: names were broken every ten characters, above columns of numbers."""
    narrow(monkeypatch, 80)
    runs = [stored_run(*serve_in_turn(20, step_s=0.01), label=name) for name in ("a", LONG, "c")]
    comparison = compare(runs)
    print_comparison(comparison)
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= 80
    # A row a line for each of the other runs, with its verdict.
    for row in comparison.rows:
        shown = [line.rstrip() for line in lines if line.startswith(f"{row.label} ")]
        assert len(shown) == 2, row
        if row.ratios[1] is not None and row.ratios[1].verdict is not None:
            assert all(line.endswith((" ?", " =", " +", " -")) for line in shown), row
    assert "+ better   - worse   = same   ? inconclusive" in [line.rstrip() for line in lines]
    assert lines[:3] == ["A  a (baseline)", f"B  {LONG}", "C  c"]
    assert "C against A" in lines
    assert not any("…" in line for line in lines)


def test_sixty_columns_break_no_word(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Known wrong here: "throu…" of three metrics."""
    narrow(monkeypatch, 60)
    runs = [stored_run(*serve_in_turn(20, step_s=0.01), label=name) for name in "ab"]
    print_comparison(compare(runs))
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= 60
    assert not any("…" in line for line in lines)
    assert any(line.startswith("throughput ") for line in lines)


def test_where_there_is_room_runs_stand_beside_each_other_and_verdicts_are_words(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    narrow(monkeypatch, 200)
    print_comparison(comparison_of(compared_runs(3)))
    printed = capsys.readouterr().out
    (row,) = (line for line in printed.splitlines() if line.startswith("TTFT p99 "))
    assert row.count("- worse") == 2
    assert not any(line.startswith("A  ") for line in printed.splitlines())
    assert "+ better   - worse" not in printed


def test_settings_are_written_with_their_units(capsys: pytest.CaptureFixture[str]) -> None:
    differing = (ConfigDifference("swap_memory_bytes", (1 << 30, None)),)
    print_comparison(replace(comparison_of(compared_runs()), differing_config=differing))
    (row,) = (one for one in capsys.readouterr().out.splitlines() if one.startswith("swap_memory"))
    assert row.split() == ["swap_memory_bytes", "1", "GiB", "n/a"]


def test_an_interval_is_said_how_sure_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    comparison = comparison_of(compared_runs())
    unbound = Ratio(1.02, 0.0, math.inf, "inconclusive", alone=True)
    rows = (replace(comparison.rows[0], ratios=(None, unbound)), *comparison.rows[1:])
    print_comparison(replace(comparison, rows=rows))
    printed = capsys.readouterr().out
    assert "1.02×  <0.01 to >100 alone" in printed
    assert "intervals at 95 % for all together but those marked alone" in printed


def test_a_terminal_names_metrics_as_a_report_does(capsys: pytest.CaptureFixture[str]) -> None:
    comparison = comparison_of(compared_runs())
    print_comparison(comparison)
    printed = capsys.readouterr().out
    for figure in comparison_report(compared_runs(), comparison).figures:
        assert f"\n{figure.label} " in printed


def test_rows_of_one_metric_are_told_apart_by_their_statistic(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Rates of the whole run stand beside those of the window where not all runs have one."""
    comparison = comparison_of(compared_runs())
    window = comparison.rows[0]
    rows = (replace(window, stat="run"), *comparison.rows)
    print_comparison(replace(comparison, rows=rows))
    lines = [" ".join(line.split()) for line in capsys.readouterr().out.splitlines()]
    named = [line.partition(" tokens/s")[0] for line in lines if line.startswith("Output")]
    assert named == [
        "Output throughput, whole run",
        "Output throughput, steady window, else whole run",
    ]
    print_comparison(comparison)
    assert "Output throughput," not in capsys.readouterr().out
