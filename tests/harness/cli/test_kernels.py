"""`llmbench kernels list | check | bench`, and runs with a kernel of one's own."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from llmbench.harness.bench import kernel_bench
from llmbench.harness.cli import main
from llmbench.harness.machine.state import Processors
from llmbench.harness.storage.store import load_run
from llmbench.kernels import choices, registry

GOOD = """
import torch.nn.functional as F
from llmbench.kernels.plugin import implements

@implements("silu_mul", backend="mine")
def gate(gate_up):
    gate, up = gate_up.chunk(2, dim=-1)
    return F.silu(gate) * up
"""
NAN = GOOD.replace("* up", '* up * float("nan")')
WRONG = GOOD.replace("* up", "* gate")
SHORT = ("--num-requests", "2", "--max-output-len", "4", "--quality-tokens", "0", "--threads", "1")


@pytest.fixture(autouse=True)
def _nothing_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    # This process compiles Triton's kernels, if any.
    monkeypatch.setenv("TRITON_INTERPRET", "0")
    for op in registry.OPS:
        registry.implementations(op)
        monkeypatch.setitem(registry._registered, op, dict(registry._registered[op]))
    choices._imported.cache_clear()


@pytest.fixture
def plugin(tmp_path: Path) -> Any:
    def write(text: str) -> str:
        path = tmp_path / "gates.py"
        path.write_text(text)
        return f"silu_mul={path}"

    return write


def left_with(*arguments: str) -> int:
    with pytest.raises(SystemExit) as left:
        main(list(arguments))
    return int(left.value.code or 0)


def test_list_says_what_runs_and_why_another_does_not(capsys: pytest.CaptureFixture[str]) -> None:
    assert left_with("kernels", "list", "--device", "cpu", "--json") == 0
    rows = json.loads(capsys.readouterr().out)
    assert {row["op"] for row in rows} == set(registry.OPS)
    for op in registry.OPS:
        of_op = [row for row in rows if row["op"] == op]
        (first,) = [row for row in of_op if row["asked"] == 0]
        assert first["runs_here"]
        assert all(row["runs_here"] == (row["why_not"] is None) for row in of_op)
    (triton,) = [
        row for row in rows if (row["op"], row["implementation"]) == ("w4a16_linear", "triton")
    ]
    assert triton["devices"] == ["cuda"]


def test_list_is_a_table_with_ones_own_kernel_in_it(
    plugin: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    assert left_with("kernels", "list", "--device", "cpu", "--kernel", plugin(GOOD)) == 0
    lines = capsys.readouterr().out.splitlines()
    (line,) = [line for line in lines if " mine " in line]
    assert "chosen" in line
    assert "cpu cuda" in line


def test_check_passes_what_is_right(plugin: Any, capsys: pytest.CaptureFixture[str]) -> None:
    assert left_with("kernels", "check", "--kernel", plugin(GOOD), "--device", "cpu") == 0
    said = capsys.readouterr()
    assert [line.split()[:4] for line in said.out.splitlines()] == [
        ["ok", "silu_mul", "mine", dtype] for dtype in ("float32", "float16", "bfloat16")
    ]
    assert "30 cases with seed" in said.err


@pytest.mark.parametrize(("text", "problem"), [(NAN, "NaN at (0, 0)"), (WRONG, " off at (")])
def test_check_finds_what_is_wrong(
    text: str, problem: str, plugin: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = ("--device", "cpu", "--dtype", "float32", "--seed", "11")
    assert left_with("kernels", "check", "--kernel", plugin(text), *asked) == 1
    out = capsys.readouterr().out
    assert "WRONG silu_mul" in out
    assert "silu_mul: 'mine' in float32 on cpu, case 'rows: one', seed 11: result: " in out
    assert problem in out


def test_check_in_json_can_be_repeated(capsys: pytest.CaptureFixture[str]) -> None:
    asked = ("kernels", "check", "--op", "rope", "--device", "cpu", "--json", "--seed", "5")
    found = []
    for _ in range(2):
        assert left_with(*asked) == 0
        found.append(json.loads(capsys.readouterr().out))
    assert found[0] == found[1]
    assert found[0]["seed"] == 5
    assert all(one["problem"] is None for one in found[0]["verdicts"])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("kernels", "check", "--op", "silu_mull"), "did you mean 'silu_mul'"),
        (
            ("kernels", "check", "--kernel", "silu_mul=no/file.py"),
            "kernel: 'no/file.py' is not allowed; expected a Python file",
        ),
        (("kernels", "check", "--implementation", "no-such"), "nothing to check on cpu: no-such"),
        (("kernels", "check", "--seed", "9" * 400), "expected 0 or more, less than 2^63"),
        (("kernels", "check", "--op", "rms_norm", "--jobs", "99999"), "jobs: 99999 is not allowed"),
        (("kernels", "bench", "--batch", "9" * 400), "expected 1 or more, at most 1,000,000"),
        (("kernels", "bench", "--context", "0"), "context: 0 is not allowed; expected 1 or more"),
        (("kernels", "check", "--dtype", "fp32"), "dtype: 'fp32' is not allowed"),
        (("kernels", "bench", "--batch", "many"), "batch: 'many' is not allowed"),
        (("kernels", "bench", "--shape-set", "llama"), "did you mean 'llama-3-8b'"),
        (("kernels", "bench", "--batch", "0", "--prompt", "0"), "a step"),
        (("run", "--kernel", "silu_mul"), "not of the form op=implementation"),
        (("run", "--kernel", "silu_mul=torhc"), "did you mean 'torch'"),
        (("run", "--kernel", "w4a16_linear=triton", "--device", "cpu"), "needs a CUDA device"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(
    arguments: tuple[str, ...], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert left_with(*arguments) == 2
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert message in line


def test_a_plugin_that_does_not_import_stops_a_run_before_anything_is_written(
    plugin: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    place = plugin("import no_such_thing\n")
    assert left_with("run", "--kernel", place, *SHORT, "--out", str(tmp_path / "run")) == 2
    assert "does not import: ModuleNotFoundError" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_a_run_records_which_kernels_computed_and_how_often(plugin: Any, tmp_path: Path) -> None:
    asked = ("--kernel", plugin(GOOD), "--verify-kernels", "--device", "cpu")
    left_with("run", *asked, *SHORT, "--out", str(tmp_path / "run"))
    result = load_run(tmp_path / "run").result
    assert result.kernels["silu_mul"] == "mine"
    assert result.config["force_kernels"] == ["silu_mul=mine"]
    assert result.label == "paged (silu_mul=gates.py)"
    (own,) = (check for check in result.validity.checks if check.id == "own_kernels")
    assert own.ok
    calls = result.kernel_calls
    assert set(calls["silu_mul"]) == {"mine"}
    # Once a layer and step; the bundled model has six layers.
    assert calls["silu_mul"]["mine"] % 6 == 0
    assert set(result.kernels) - {"sample"} <= set(calls)  # every token was the likeliest
    assert "calls" in (tmp_path / "run" / "report.md").read_text()


@pytest.mark.parametrize(("text", "problem"), [(NAN, "NaN at"), (WRONG, "off at")])
def test_a_wrong_kernel_is_refused_when_asked_to_verify(
    text: str, problem: str, plugin: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = ("--kernel", plugin(text), "--verify-kernels", "--device", "cpu")
    assert left_with("run", *asked, *SHORT, "--out", str(tmp_path / "run")) == 2
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert error.startswith("error: --verify-kernels: silu_mul: 'mine' in ")
    assert problem in error
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("quality_tokens", ["16", "0"])
def test_a_kernel_that_gives_nan_makes_a_stored_run_invalid(
    quality_tokens: str, plugin: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = ("--kernel", plugin(NAN), "--device", "cpu", *SHORT, "-q")
    out = str(tmp_path / "run")
    assert left_with("run", *asked, "--quality-tokens", quality_tokens, "--out", out) == 3
    errors = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error:")]
    assert any("logits give no probability distribution: NaN" in line for line in errors)
    result = load_run(tmp_path / "run").result
    failed = {check.id for check in result.validity.failures}
    assert not result.validity.valid
    assert {"errors", "own_kernels"} <= failed
    assert result.counters.requests_failed == 2
    assert (result.quality is None) == (quality_tokens == "0")
    if result.quality is not None:
        assert "quality" in failed
        assert result.quality.perplexity is None
        assert any("perplexity is NaN: the model computes NaN" in line for line in errors)
        assert "perplexity is NaN" in (tmp_path / "run" / "report.md").read_text()


def test_bench_times_ones_own_against_the_others(plugin: Any, tmp_path: Path) -> None:
    out = tmp_path / "there" / "bench.json"
    asked = ("--batch", "2", "--prompt", "0", "--turns", "1", "--dtype", "float32")
    where = ("--device", "cpu", "--out", str(out))
    assert left_with("kernels", "bench", "--kernel", plugin(GOOD), *asked, *where) == 0
    found = json.loads(out.read_text())
    assert found["schema_version"] == 1
    assert {one["implementation"] for one in found["timings"]} >= {"mine", "torch"}
    for one in found["timings"]:
        assert (one["op"], one["step"]) == ("silu_mul", "decode 2 x 512")
        assert 0 < one["min_s"] <= one["median_s"]
        assert one["of_floor"] == pytest.approx(one["floor_s"] / one["min_s"])
        assert not one["cold"]
        assert one["bytes_moved"] == 3 * 2 * 1536 * 4
    assert found["rates"]["float32"]["memory_bytes_per_s"] > 0
    assert found["environment"]["torch"] is not None


def test_bench_prints_a_row_an_implementation(capsys: pytest.CaptureFixture[str]) -> None:
    asked = ("--op", "w8a8_linear", "--batch", "1", "--prompt", "0", "--turns", "1")
    assert left_with("kernels", "bench", *asked, "--device", "cpu") == 0
    out = capsys.readouterr().out
    for case in ("qkv", "o", "gate_up", "down"):
        (line,) = [line for line in out.splitlines() if f" {case} " in line]
        assert "cold" in line
    assert "int8 products" in out


@pytest.mark.parametrize("others_s", [0.0, 11.0], ids=["alone", "busy"])
def test_bench_says_that_others_had_the_processors(
    others_s: float,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """A kernel took 27 times as long as five minutes before, and nothing hinted at why."""
    read = iter((Processors(0.0, 2, 0.0, 0.0, 0.0), Processors(10.0, 2, 5 + others_s, 0.0, 5.0)))
    monkeypatch.setattr(kernel_bench, "read_processors", lambda: next(read))
    monkeypatch.setattr(kernel_bench, "_bench_step", lambda *_: None)
    out = tmp_path / "bench.json"
    assert left_with("kernels", "bench", "--device", "cpu", "--out", str(out)) == 0
    told = "other processes used 55.0 % of the processor time: times may be off by more than that"
    assert (told in capsys.readouterr().err) is bool(others_s)
    assert json.loads(out.read_text())["alone"]["ok"] is not bool(others_s)


def test_bench_says_where_a_cache_was_not_found_faster() -> None:
    from llmbench.harness.cli.kernels_bench import _of_cache
    from llmbench.kernels.rates import Rates

    assert _of_cache(Rates(1e10, 4e10, 1e12, 2**25)) == "40 GB/s"
    assert _of_cache(Rates(1e10, 1e10, 1e12, 2**25)) == "10 GB/s (not found faster than memory)"
