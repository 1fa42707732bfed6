"""The twin from the command line: the issue's own command, the same bytes twice, a capacity."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from llmbench.harness.storage.store import load_run

from .conftest import Run

FILES = {"report.html", "report.md", "requests.parquet", "result.json", "steps.parquet"}


def test_the_twin_serves_a_70b_model_on_four_h100_without_weights(
    llmbench_here: Run, tmp_path: Path
) -> None:
    done = llmbench_here(
        *("simulate", "--model", "llama-3-70b", "--hardware", "h100", "--tensor-parallel", "4"),
        *("--engine", "trtllm", "--trace", "azure-conv"),
    )
    assert done.returncode == 0, done.stderr
    assert "simulated not measured: step times of 4 x h100, roofline" in done.stdout
    assert "process n/a" in done.stdout
    (directory,) = (tmp_path / "runs").iterdir()
    result = load_run(directory).result
    assert result.validity.valid
    assert result.counters.requests_ok == result.workload.num_requests == 256
    # bfloat16: 70.6 billion parameters, less the embedding, which a step does not read whole.
    assert result.memory is not None
    assert result.memory.weight_bytes == pytest.approx(2 * (70.55e9 - 128256 * 8192), rel=0.001)
    assert result.simulation is not None
    assert result.simulation.error in (directory / "report.md").read_text().replace("\\", "")


def test_two_simulations_are_the_same_bytes_wherever_they_are_written(
    llmbench: Run, tmp_path: Path
) -> None:
    asked = ("simulate", "--num-requests", "40", "--slo", "ttft:1s", "--engine", "vllm-v1")
    first = llmbench(*asked, "--out", "one", "--quiet")
    second = llmbench(*asked, "--json", "--out=deep/er/two")
    assert (first.returncode, second.returncode) == (0, 0), first.stderr + second.stderr
    one, two = tmp_path / "one", tmp_path / "deep" / "er" / "two"
    assert {path.name for path in one.iterdir()} == FILES
    for name in FILES:
        assert (one / name).read_bytes() == (two / name).read_bytes(), name
    result = json.loads((one / "result.json").read_text())
    assert json.loads(second.stdout) == result
    assert result["config"]["command"] == "llmbench " + " ".join(asked)
    # Written again from what is stored, the reports are the same, too.
    before = {name: (one / name).read_bytes() for name in ("report.md", "report.html")}
    assert llmbench("report", "one").returncode == 0
    assert {name: (one / name).read_bytes() for name in before} == before


def test_capacity_compares_engines_and_keeps_the_run_at_capacity(
    llmbench_here: Run, tmp_path: Path
) -> None:
    done = llmbench_here(
        *("capacity", "--compare", "paged,trtllm", "--num-requests", "24", "--json"),
        *("--slo", "ttft:300ms,tpot:20ms", "--rate-tolerance", "20%", "--out", "found"),
        *("--max-output-len", "40"),
    )
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert told["slo_s"] == {"ttft": 0.3, "tpot": 0.02}
    assert [one["engine"] for one in told["engines"]] == ["paged", "trtllm"]
    for one in told["engines"]:
        assert one["outcome"] == "found"
        assert one["holds"]["attained"] >= 0.99 > one["fails"]["attained"]
        assert one["fails"]["rate_per_s"] <= 1.2 * one["holds"]["rate_per_s"] * (1 + 1e-9)
        assert set(one["binds"]) <= {"ttft", "tpot"}
        assert one["binds"]
        stored = load_run(tmp_path / "found" / one["engine"]).result
        assert stored.model_dump(mode="json") == one["at_capacity"]
        assert stored.config["request_rate"] == pytest.approx(one["capacity_per_s"])
        assert stored.metrics["goodput_share"].stats["run"] == one["holds"]["attained"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("simulate", "--hardware", "h10"), ("hardware: 'h10'", "did you mean 'h100'?")),
        (("capacity",), ("Missing option '--slo'. (see --help)",)),
        (("capacity", "--slo", ""), ("slo: '' is not allowed", "ttft:500ms,tpot:50ms")),
        (("capacity", "--slo", "ttft:1s", "--attainment", "2"), ("attainment: 2.0",)),
        (("capacity", "--slo", "ttft:1s", "--compare", "paged,paged"), ("compare:", "each once")),
    ],
)
def test_what_is_wrong_is_one_line(llmbench_here: Run, arguments, words, tmp_path: Path) -> None:
    done = llmbench_here(*arguments)
    assert done.returncode == 2, done.stderr
    assert done.stdout == ""
    (line,) = done.stderr.splitlines()
    assert line.startswith("error: ")
    for word in words:
        assert word in line
    assert list(tmp_path.iterdir()) == []
