"""The main job on the bundled model: run, report, compare, gate, Ctrl-C."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import jsonschema
import pandas as pd
import pytest
from llmbench.harness.cli import main

from .conftest import Run

SMALL = ("--num-requests", "6", "--quality-tokens", "256", "--max-output-len", "12")


def result_of(directory: Path) -> dict:
    return json.loads((directory / "result.json").read_text())


@pytest.mark.parametrize(
    "arguments",
    [
        ("--engine", "paged", "--quant", "awq"),
        ("--engine", "inflight"),
        ("--engine", "inflight", "--quant", "w8a8"),
        ("--engine", "static"),
    ],
)
def test_a_run_leaves_a_result_tables_and_reports(
    llmbench_here: Run, tmp_path: Path, arguments: tuple[str, ...]
) -> None:
    done = llmbench_here("run", *arguments, *SMALL, "--out", "run")
    assert done.returncode == 0, done.stderr
    assert "run/report.html" in done.stderr
    result = result_of(tmp_path / "run")

    from llmbench.harness.result import json_schema

    jsonschema.validate(result, json_schema())
    assert {
        "schema_version",
        "run_id",
        "config",
        "environment",
        "validity",
        "metrics",
        "kv",
        "counters",
        "quality",
    } <= set(result)
    assert result["validity"]["valid"]
    assert result["counters"]["requests_ok"] == 6
    assert result["config"]["engine"] == arguments[1]
    requests = pd.read_parquet(tmp_path / "run" / "requests.parquet")
    steps = pd.read_parquet(tmp_path / "run" / "steps.parquet")
    assert len(requests) == 6
    assert requests["output_tokens"].sum() == result["counters"]["output_tokens"]
    assert steps["decode_tokens"].sum() == result["counters"]["decode_tokens"]
    # Every output token but a request's first is one decode; prompts are computed once.
    assert result["counters"]["prefill_tokens"] == requests["input_tokens"].sum()
    # Where the time went adds up to what was measured, and none of it is unexplained.
    parts = result["attribution"]["ttft"][0]["parts"]
    assert sum(parts.values()) == pytest.approx(result["metrics"]["ttft"]["stats"]["mean"])
    assert abs(parts["residual_s"]) < 1e-6
    html = (tmp_path / "run" / "report.html").read_text()
    assert "<html" in html
    assert f"served {len(requests)} of {len(requests)} requests" in html
    assert (tmp_path / "run" / "report.md").read_text().startswith("## run\n")


def test_json_prints_only_json(llmbench: Run) -> None:
    done = llmbench("run", *SMALL, "--json", "--out", "run")
    assert json.loads(done.stdout)["status"] == "complete"
    assert done.stderr == ""


def test_runs_with_one_seed_are_sent_the_same_requests(llmbench_here: Run, tmp_path: Path) -> None:
    llmbench_here("run", *SMALL, "--out", "a")
    llmbench_here("run", *SMALL, "--out", "b", "--engine", "inflight")
    llmbench_here("run", *SMALL, "--out", "c", "--seed", "1")
    prints = [result_of(tmp_path / name)["workload"]["fingerprint"] for name in "abc"]
    assert prints[0] == prints[1] != prints[2]


def test_report_compare_and_gate_read_what_run_wrote(
    llmbench: Run, llmbench_here: Run, tmp_path: Path
) -> None:
    llmbench_here("run", *SMALL, "--out", "a")
    llmbench_here("run", *SMALL, "--out", "b", "--engine", "inflight")
    (tmp_path / "a" / "report.html").unlink()
    assert llmbench_here("report", "a").returncode == 0
    assert (tmp_path / "a" / "report.html").exists()

    compared = llmbench_here("compare", "a", "b", "--out", "comparison")
    assert compared.returncode == 0, compared.stderr
    assert "ttft" in compared.stdout.lower()
    assert {path.name for path in (tmp_path / "comparison").iterdir()} == {
        "comparison.html",
        "comparison.md",
    }

    def gate(current: str, rule: str, command: Run = llmbench_here):
        return command("gate", "--baseline", "a", "--current", current, "--max-regression", rule)

    assert gate("a", "preemptions=exact").returncode == 0
    assert gate("b", "kv_peak_held_tokens=10%", llmbench).returncode == 1, "it reserves more"
    assert gate("b", "ttft.p99=10%").returncode == 4, "six requests decide nothing"
    misspelt = gate("b", "tftt.p99=10%")
    assert misspelt.returncode == 2
    assert "did you mean" in misspelt.stderr


def interrupt(directory: Path, stage: str, after_s: float, *arguments: str) -> None:
    """Ctrl-C so long after a stage was announced; checks how the command leaves."""
    command = [sys.executable, "-c", "from llmbench.harness.cli import main; main()", "run"]
    process = subprocess.Popen(
        [*command, *arguments, "--out", "run"],
        cwd=directory,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        stderr=subprocess.PIPE,
        text=True,
        # A shell that runs the tests in the background has them, and so this, ignore Ctrl-C.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    assert process.stderr is not None
    for line in process.stderr:
        if line.startswith(stage):
            break
    time.sleep(after_s)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130, errors
    assert "Traceback" not in errors
    assert "interrupted" in errors


def test_ctrl_c_while_measuring_keeps_what_was_measured(tmp_path: Path) -> None:
    # Short answers, so that some end soon even on a busy machine, and far too many to end them all.
    load = ("--num-requests", "3000", "--max-output-len", "8", "--quality-tokens", "0")
    interrupt(tmp_path, "measuring 3", 3.0, *load)
    result = result_of(tmp_path / "run")
    assert result["status"] == "partial"
    assert not result["validity"]["valid"]
    counters = result["counters"]
    assert counters["requests_ok"] > 0
    assert counters["requests_ok"] + counters["requests_unfinished"] == 3000


def test_ctrl_c_while_judging_quality_keeps_the_whole_measurement(tmp_path: Path) -> None:
    arguments = ("--num-requests", "4", "--quality-tokens", "40000")
    interrupt(tmp_path, "measuring quality", 0.5, *arguments)
    result = result_of(tmp_path / "run")
    assert result["status"] == "partial"
    assert result["quality"] is None
    assert result["counters"]["requests_ok"] == 4


def test_ctrl_c_while_warming_up_leaves_nothing(tmp_path: Path) -> None:
    interrupt(tmp_path, "warming up", 0.5, "--num-requests", "400", "--warmup-requests", "400")
    assert list(tmp_path.iterdir()) == []


def test_a_shorter_model_length_holds_for_quality_too(llmbench_here: Run, tmp_path: Path) -> None:
    arguments = ("--max-model-len", "96", "--num-requests", "4", "--quality-tokens", "300")
    done = llmbench_here("run", "--quant", "awq", *arguments, "--out", "run")
    assert done.returncode == 0, done.stderr
    quality = result_of(tmp_path / "run")["quality"]
    assert quality["perplexity_window_tokens"] == 96
    assert quality["kl_mean"] > 0


def test_a_run_that_refused_everything_is_stored_and_not_valid(
    llmbench_here: Run, tmp_path: Path
) -> None:
    # Where nobody makes room for others, a step may be smaller than a request.
    limits = ("--max-num-seqs", "4", "--max-num-batched-tokens", "4", "--admission", "reserve")
    done = llmbench_here("run", *SMALL, *limits, "--out", "run")
    assert done.returncode == 3
    assert "0 of 6 requests served, 6 refused; the first, r0: " in done.stderr
    assert (tmp_path / "run" / "report.html").exists()
    compared = llmbench_here("compare", "run", "run")
    assert compared.returncode == 3
    assert "not valid" in compared.stderr


@pytest.fixture(scope="module")
def whole_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("whole") / "run"
    with pytest.raises(SystemExit) as left:
        main(["run", *SMALL, "--quiet", "--out", str(out)])
    assert not left.value.code
    return out


@pytest.mark.parametrize("damage", ["truncated table", "another version", "no settings"])
def test_a_damaged_run_is_one_line(
    llmbench_here: Run, whole_run: Path, tmp_path: Path, damage: str
) -> None:
    shutil.copytree(whole_run, tmp_path / "run")
    path = tmp_path / "run" / "result.json"
    result = result_of(tmp_path / "run")
    if damage == "truncated table":
        table = tmp_path / "run" / "steps.parquet"
        table.write_bytes(table.read_bytes()[:-100])
    else:
        changed = {"schema_version": 99} if damage == "another version" else {"config": {}}
        path.write_text(json.dumps(result | changed))
    done = llmbench_here("report", "run")
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 1
    assert done.stderr.startswith("error: run: ")


def test_help_is_quick_to_import_and_has_examples(llmbench: Run) -> None:
    done = llmbench("run", "--help")
    assert done.returncode == 0
    assert "llmbench run --engine paged --quant awq" in done.stdout
    imported = subprocess.run(
        [
            sys.executable,
            "-c",
            "import sys, llmbench.harness.cli; "
            "print(sorted({'torch', 'pandas', 'transformers', 'pyarrow', 'matplotlib', 'plotly'}"
            " & set(sys.modules)))",
        ],
        capture_output=True,
        text=True,
        check=True,
    )
    assert imported.stdout.strip() == "[]"


@pytest.mark.parametrize("command", ["engines", "models"])
def test_listings(llmbench_here: Run, command: str) -> None:
    assert llmbench_here(command).returncode == 0
    listed = json.loads(llmbench_here(command, "--json").stdout)
    assert {"paged", "bundled"} & {entry["name"] for entry in listed}


def test_doctor_finds_this_machine_fit(llmbench: Run) -> None:
    done = llmbench("doctor", "--json")
    assert done.returncode == 0, done.stdout
    levels = {finding["what"]: finding["level"] for finding in json.loads(done.stdout)}
    assert levels["torch"] == "ok"
