"""`llmbench run --quant a,b`: every method on the same requests; no time is asserted."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from llmbench.engines.cost.floor import Roof
from llmbench.harness.cli import main
from llmbench.harness.frontier import batch_steps
from llmbench.harness.frontier import scores as scores_tool

RATES = Roof(10e9, 100e9, "a test")
SMALL = ("--num-requests", "6", "--max-output-len", "8", "--threads", "1", "--device", "cpu")
METHODS = "int8,none"


def llmbench(*arguments: str) -> int:
    with pytest.raises(SystemExit) as left:
        main(list(arguments))
    return int(left.value.code or 0)


@pytest.fixture(autouse=True)
def fast(monkeypatch: pytest.MonkeyPatch) -> None:
    """Short steps, and no timing of the machine."""
    monkeypatch.setattr("llmbench.harness.machine.rates.find_rates", lambda *_: RATES)
    monkeypatch.setattr(batch_steps, "LARGEST_BATCH", 2)
    monkeypatch.setattr(batch_steps, "PROMPT_TOKENS", 16)


def test_a_frontier_is_runs_and_reports_and_goes_on(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "frontier"
    options = ("--dtype", "bfloat16", "--quality-tokens", "200", "--out", str(out))
    command = ("run", "--quant", METHODS, *SMALL, *options)
    assert llmbench(*command) == 0
    printed = capsys.readouterr()
    assert "quality, speed and memory" in printed.out
    assert "frontier.html" in printed.err
    names = {"int8", "none", "frontier.html", "frontier.json", "frontier.md", "batch-steps.json"}
    assert {path.name for path in out.iterdir()} == names
    results = {
        name: json.loads((out / name / "result.json").read_text()) for name in ("int8", "none")
    }
    prints = {one["workload"]["fingerprint"] for one in results.values()}
    assert len(prints) == 1, "the very same requests"
    found = json.loads((out / "frontier.json").read_text())
    assert found["baseline"] == "none"
    int8, plain = found["methods"]
    assert [int8["name"], plain["name"]] == ["int8", "none"]
    # What a report says of a method is what its run found.
    quality = results["int8"]["quality"]
    assert int8["text_kl_mean"] == quality["text_kl_mean"] > 0
    assert int8["perplexity"] == quality["perplexity"]
    assert plain["perplexity"] == quality["reference_perplexity"]
    assert (plain["text_kl_mean"], plain["text_top1_agreement"]) == (0.0, 1.0)
    assert int8["weight_bytes"] == results["int8"]["memory"]["weight_bytes"]
    ratio = int8["output_tokens_per_s"] / plain["output_tokens_per_s"]
    assert int8["ratios"]["output_tokens_per_s"] == pytest.approx(ratio)
    assert 0.4 < int8["ratios"]["weight_bytes"] < 0.7
    assert found["steps"]["batches"] == [1, 2]
    assert [line["method"] for line in found["steps"]["lines"]] == ["int8", "none"]
    markdown = (out / "frontier.md").read_text()
    assert "windows of 2" in markdown
    assert "### Steps by batch size" in markdown

    times = {path: path.stat().st_mtime_ns for path in out.rglob("*") if path.suffix == ".parquet"}
    assert llmbench(*command, "--json") == 0
    printed = capsys.readouterr()
    assert json.loads(printed.out) == found, "nothing was measured again"
    assert {path: path.stat().st_mtime_ns for path in times} == times

    # Another method joins; those there are not run again.
    assert llmbench(*command[:2], "none,int8,fp8", *command[3:], "--no-batch-steps") == 0
    assert {path: path.stat().st_mtime_ns for path in times} == times
    assert (out / "fp8" / "result.json").exists()

    assert llmbench(*command, "--seed", "1") == 2
    assert "holds a run of other settings or requests" in capsys.readouterr().err


def test_the_frontier_is_there_before_steps_are_measured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """They take many times as long as the runs, and were cut off with nothing to show."""

    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(batch_steps, "measure_steps", interrupted)
    out = tmp_path / "frontier"
    options = ("--dtype", "bfloat16", "--quality-tokens", "200", "--out", str(out))
    assert llmbench("run", "--quant", METHODS, *SMALL, *options) == 130
    assert "--no-batch-steps" in capsys.readouterr().err
    found = json.loads((out / "frontier.json").read_text())
    assert [one["name"] for one in found["methods"]] == ["int8", "none"]
    assert found["steps"] is None
    assert (out / "frontier.html").exists()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--quant", "none,awqq"), "did you mean 'awq'?"),
        (("--quant", "none,nvfp3,"), "quant: 'nvfp3' is not allowed"),
        (("--quant", "none,none"), "each method once"),
        (("--quant", "none", "--no-batch-steps"), "only with several methods"),
        (("--quant", "none", "--tasks", "continuation"), "only with several methods"),
        (("--quant", "awq,none", "--group-size", "12"), "group_size: 12"),
    ],
)
def test_what_is_wrong_is_one_line_before_anything_runs(
    arguments: tuple[str, ...],
    words: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    assert llmbench("run", *arguments, *SMALL) == 2
    errors = capsys.readouterr().err
    assert words in errors
    assert len(errors.splitlines()) == 1
    assert list(tmp_path.iterdir()) == []


def test_a_directory_with_other_files_is_left_alone(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "thesis.tex").write_text("mine")
    assert llmbench("run", "--quant", METHODS, *SMALL, "--out", str(tmp_path)) == 2
    assert "holds other files (thesis.tex)" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]


@pytest.mark.lm_eval
def test_task_scores_join_the_frontier_and_are_kept(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "frontier"
    short = ("--quality-tokens", "0", "--no-batch-steps", "--out", str(out), "--json")
    command = ("run", "--quant", METHODS, *SMALL, *short, "--tasks", "continuation")
    assert llmbench(*command, "--task-limit", "8") == 0
    found = json.loads(capsys.readouterr().out)
    for method in found["methods"]:
        scores = {metric: (value, error) for _, metric, value, error in method["task_scores"]}
        assert set(scores) == {"acc", "acc_norm"}
        assert scores["acc"][0] * 8 == round(scores["acc"][0] * 8)
        assert method["text_kl_mean"] is None
    assert any("no quality was measured" in note for note in found["notes"])
    assert "### Task scores" in (out / "frontier.md").read_text()

    measure = scores_tool.evaluate
    monkeypatch.setattr(scores_tool, "evaluate", None)
    assert llmbench(*command, "--task-limit", "8") == 0
    assert json.loads(capsys.readouterr().out)["methods"] == found["methods"]
    monkeypatch.setattr(scores_tool, "evaluate", measure)
    assert llmbench(*command, "--task-limit", "4") == 0
    again = json.loads(capsys.readouterr().out)["methods"]
    assert {score[2] * 4 % 1 for method in again for score in method["task_scores"]} == {0.0}
    (out / "tasks.json").write_text("{")
    assert llmbench(*command) == 2
    assert "tasks.json' cannot be read" in capsys.readouterr().err
