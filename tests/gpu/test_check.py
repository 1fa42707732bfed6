"""The check's list and its clock, with commands that only say they ran."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from threading import Barrier

import pytest
from llmbench.kernels.specs.spec import LLAMA_3_8B
from llmbench.kernels.triton.attention_blocks import segments

from . import check
from .check import (
    FULL,
    SMOKE,
    TOTAL_S,
    Command,
    commands,
    main,
    run_all,
    run_command,
    write_workloads,
)
from .record import seen_in


class Watch:
    """A clock that commands move."""

    def __init__(self) -> None:
        self.now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


def todo(*budgets: float) -> list[Command]:
    return [Command(f"c{i}", ("doctor",), budget) for i, budget in enumerate(budgets)]


def test_budgets_fit_in_ten_minutes(tmp_path: Path) -> None:
    """Each in full, where what runs at once takes no longer than half again of an H200's 45 s; else
    what is last has less."""
    for scale in (FULL, SMOKE):
        todo = commands(scale, tmp_path)
        assert [one.budget_s for one in todo].count(None) == 1
        in_turn = sum(one.budget_s or 0 for one in todo if not one.together)
        assert 1.5 * 45 + in_turn <= TOTAL_S


def test_a_decode_has_time_for_its_second_batch(tmp_path: Path) -> None:
    """Of 24 s, some were left for an H200's batch of one only."""
    decodes = [one for one in commands(FULL, tmp_path) if one.name.startswith("decode-")]
    assert len(decodes) == 9
    assert all((one.budget_s or 0) - check.GRACE_S >= 35 for one in decodes)


def test_everything_the_issue_asks_for_is_on_the_list(tmp_path: Path) -> None:
    lines = [" ".join(one.words) for one in commands(FULL, tmp_path)]
    for engine, quants in (
        ("paged", ("none", "awq", "awq+a8", "int8", "w8a8", "fp8")),
        ("inflight", ("none", "awq", "fp8")),
    ):
        for quant in quants:
            assert any(f"--engine {engine} --quant {quant} " in line for line in lines)
    assert "kernels check --device cuda" in lines
    assert any(line.startswith("kernels bench") and "llama-3-8b" in line for line in lines)
    assert all("dummy" in line for line in lines if "--model" in line)


@pytest.mark.parametrize("kv_dtype", ["auto", "fp8"])
def test_a_decode_that_splits_its_keys_is_recorded(kv_dtype: str, tmp_path: Path) -> None:
    """After 128 tokens, as in all other profiles, none does."""
    todo = {one.name: one for one in commands(FULL, tmp_path)}
    words = " ".join(todo[f"context-{kv_dtype}"].words)
    assert f"--kv-dtype {kv_dtype} --batch 1 --batch 64 --context 1024 " in words
    assert "--profile" in words
    assert segments(1, LLAMA_3_8B.kv_heads, 1024) > 1
    # Kernels of the other are those of all that is compiled.
    assert todo["compile-context-fp8"].together
    (tmp_path / f"context-{kv_dtype}.json").write_text('{"results": []}')
    assert seen_in(f"context-{kv_dtype}", tmp_path) == {"results": []}


def test_a_dry_run_prints_and_writes_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "record"
    assert main(["--out", str(out), "--dry-run"]) == 0
    assert len(capsys.readouterr().out.splitlines()) == len(commands(FULL, out))
    assert not out.exists()


def test_what_fails_is_recorded_and_the_rest_goes_on(tmp_path: Path) -> None:
    watch = Watch()
    limits: list[float] = []

    def run(command: Command, limit_s: float) -> tuple[int | None, str]:
        limits.append(limit_s)
        watch.now_s += 40
        return {"c0": (0, "fine"), "c1": (2, "refused"), "c2": (None, "late")}[command.name]

    outcomes = run_all(todo(50, 50, 50), tmp_path, run, watch)
    assert [one.exit_code for one in outcomes] == [0, 2, None]
    assert limits == [50, 50, 50]
    record = json.loads((tmp_path / "record.json").read_text())
    assert [one["seconds"] for one in record["outcomes"]] == [40, 40, 40]
    text = (tmp_path / "record.md").read_text()
    for line in ("| c0 | ok | 40 |", "| c1 | exit 2 | 40 |", "| c2 | stopped | 40 |"):
        assert line in text


@pytest.mark.parametrize(("total_s", "lasting"), [(100, [60, 40]), (129, [60, 60])])
def test_time_that_is_over_is_not_overdrawn(
    total_s: float, lasting: list[float], tmp_path: Path
) -> None:
    """Nor is anything begun in the last seconds of it."""
    watch = Watch()
    limits: list[float] = []

    def run(_command: Command, limit_s: float) -> tuple[int | None, str]:
        limits.append(limit_s)
        watch.now_s += limit_s
        return 0, ""

    outcomes = run_all(todo(60, 60, 60), tmp_path, run, watch, total_s=total_s)
    assert limits == lasting
    assert outcomes[-1].exit_code is None
    assert outcomes[-1].tail == "no time was left"


@pytest.mark.parametrize("ends", [True, False], ids=["when asked", "by force"])
def test_a_command_over_its_time_keeps_what_it_printed(ends: bool, tmp_path: Path) -> None:
    program = (
        "import sys, time\n"
        "print('begun', flush=True)\n"
        "while True:\n"
        "    try:\n"
        "        time.sleep(60)\n"
        "    except KeyboardInterrupt:\n"
        "        print('written', flush=True)\n"
        + ("        sys.exit(130)\n" if ends else "        pass\n")
    )
    run = partial(run_command, program=program)
    (outcome,) = run_all([Command("busy", (), 4)], tmp_path, run)
    assert outcome.exit_code == (130 if ends else None)
    assert outcome.seconds < 60
    log = (tmp_path / "busy.log").read_text()
    assert log.split("\n") == ["begun", "written", "", "stopped after 4 s"]
    verdict = "cut short" if ends else "stopped"
    assert f"| busy | {verdict} |" in (tmp_path / "record.md").read_text()


@pytest.mark.parametrize(("code", "verdict"), [(130, "cut short"), (3, "not valid")])
def test_figures_of_a_run_that_was_cut_short_are_kept(
    code: int, verdict: str, tmp_path: Path
) -> None:
    metrics = {"ttft": {"stats": {"p50": 0.25}}}
    text = json.dumps({"metrics": metrics, "kernels": {}, "environment": {}})

    def run(command: Command, _limit_s: float) -> tuple[int | None, str]:
        if command.name == "ttft":
            (tmp_path / "ttft").mkdir()
            (tmp_path / "ttft" / "result.json").write_text(text)
        return code, ""

    asked = [Command(name, (), 1) for name in ("ttft", "throughput", "busy")]
    first, *others = run_all(asked, tmp_path, run)
    assert (first.seen["ttft_p50_s"], first.seen["output_tokens_per_s"]) == (0.25, None)
    assert [one.seen for one in others] == [{}, {}]
    assert f"| ttft | {verdict} |" in (tmp_path / "record.md").read_text()


def test_a_checkout_that_is_not_installed_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(check, "find_spec", lambda _name: None)
    monkeypatch.setattr(check, "ROOT", tmp_path)
    monkeypatch.setenv("PYTHONPATH", "elsewhere")
    for _ in range(2):
        places = check.environment()["PYTHONPATH"].split(":")
        assert places[1:] == ["elsewhere"]
        assert (Path(places[0]) / "llmbench").resolve() == tmp_path


def test_what_is_not_timed_runs_first_and_at_once(tmp_path: Path) -> None:
    both, order = Barrier(2), []

    def run(command: Command, _limit_s: float) -> tuple[int | None, str]:
        order.append(command.name)
        if command.together:
            both.wait(timeout=60)
        return 0, ""

    asked = [Command("timed", (), 9), *(Command(name, (), 9, True) for name in ("a", "b"))]
    found = run_all(asked, tmp_path, run)
    assert sorted(order[:2]) == ["a", "b"]
    assert order[2] == "timed"
    assert [one.name for one in found] == ["a", "b", "timed"]


def test_a_small_model_has_two_layers_of_the_large_one(tmp_path: Path) -> None:
    check.write_small_model(FULL, tmp_path)
    small = json.loads((tmp_path / check.SMALL / "config.json").read_text())
    assert (small["num_hidden_layers"], small["hidden_size"]) == (2, 4096)


def test_what_an_earlier_check_left_is_forgotten(tmp_path: Path) -> None:
    (tmp_path / "c0").mkdir()
    (tmp_path / "c0" / "result.json").write_text("{}")
    (tmp_path / "c1.json").write_text("{}")
    check.forget(todo(1, 1), tmp_path)
    assert not list(tmp_path.iterdir())


def test_a_machine_that_is_lent_for_less_is_kept_no_longer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    limits: list[float] = []

    def run(_command: Command, limit_s: float) -> tuple[int | None, str]:
        limits.append(limit_s)
        return 0, ""

    monkeypatch.setattr(check, "run_command", run)
    assert main(["--out", str(tmp_path), "--smoke", "--seconds", "25"]) == 0
    assert len(limits) == len(commands(SMOKE, tmp_path))
    assert max(limits) <= 25


def test_workload_files_are_read_as_they_are_meant(tmp_path: Path) -> None:
    from llmbench.workloads.builtin import resolve_workload

    write_workloads(FULL, tmp_path)
    for name, tokens in (("1000-8", (1000, 8)), ("1000-1000", (1000, 1000))):
        spec = resolve_workload(str(tmp_path / f"{name}.yaml"))
        lengths = spec.model_dump()["lengths"]
        assert (lengths["input"]["tokens"], lengths["output"]["tokens"]) == tokens
