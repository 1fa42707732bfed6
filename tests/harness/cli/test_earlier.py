"""A finished result is replaced by the same command, which says so, or where that is asked for."""

from __future__ import annotations

import json
import shlex
import shutil
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from llmbench.harness.claims import kv_waste
from llmbench.harness.cli import main
from llmbench.harness.run.experiment import Measured
from llmbench.harness.simulation import simulate, simulated_capacity
from llmbench.harness.storage.store import find_run

RUN = "simulate --workload quick --num-requests 20 --quiet"


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def llmbench(monkeypatch: pytest.MonkeyPatch, command: str) -> int:
    """A command as a shell hands it over."""
    monkeypatch.setattr(sys, "argv", ["llmbench", *shlex.split(command)])
    with pytest.raises(SystemExit) as left:
        main()
    return int(left.value.code or 0)


def engine_of(directory: str) -> str:
    return find_run(Path(directory)).result.config["engine"]


def test_the_run_of_another_command_is_kept(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert llmbench(monkeypatch, f"{RUN} --engine paged --out runs/a") == 0
    before = Path("runs/a/result.json").read_bytes()
    capsys.readouterr()

    assert llmbench(monkeypatch, f"{RUN} --engine inflight --out runs/a") == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: out: 'runs/a' holds a run of ")
    assert "llmbench simulate --workload quick --num-requests 20 --engine paged" in line
    assert line.endswith("expected a new directory; --overwrite replaces this one")
    assert Path("runs/a/result.json").read_bytes() == before

    assert llmbench(monkeypatch, f"{RUN} --engine inflight --out runs/a --overwrite") == 0
    assert engine_of("runs/a") == "inflight"
    # What was asked is the same, with and without.
    assert llmbench(monkeypatch, f"{RUN} --engine inflight --out=runs/a") == 0


def test_the_same_command_replaces_its_run_and_says_so(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert llmbench(monkeypatch, f"{RUN} --out 'runs/a b'") == 0
    assert "replaced" not in capsys.readouterr().err
    assert llmbench(monkeypatch, f"{RUN} --json --out={shlex.quote('runs/a b')}") == 0
    assert "a b holds a run of this very command: replaced by" in capsys.readouterr().err


@pytest.mark.parametrize("overwrite", ["", "--overwrite"])
@pytest.mark.parametrize(
    ("ending", "code", "said"),
    [("partial", 130, "which is whole"), ("complete", 3, "which is valid")],
)
def test_a_finished_run_is_kept_where_the_next_one_is_not_whole(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    ending: str,
    code: int,
    said: str,
    overwrite: str,
) -> None:
    """Ctrl-C in the middle of the same command replaced the run by a sixth of one."""
    assert llmbench(monkeypatch, f"{RUN} --out keep") == 0
    before = Path("keep/result.json").read_bytes()
    measure = simulate.simulate

    def is_cut_short(*args: Any) -> Measured:
        measured = measure(*args)
        validity = measured.result.validity.model_copy(update={"valid": False})
        changed = {"status": ending, "validity": validity}
        return replace(measured, result=measured.result.model_copy(update=changed))

    monkeypatch.setattr(simulate, "simulate", is_cut_short)
    capsys.readouterr()
    assert llmbench(monkeypatch, f"{RUN} --out keep {overwrite}") == code
    assert f"keep keeps its run, {said}: this one is keep-2" in capsys.readouterr().err
    assert Path("keep/result.json").read_bytes() == before
    assert find_run(Path("keep-2")).result.status == ending
    assert Path("keep-2/report.md").exists()


@pytest.mark.parametrize("overwrite", ["", "--overwrite"])
def test_a_run_that_came_meanwhile_stays_and_the_error_says_where_this_one_is(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], overwrite: str
) -> None:
    assert llmbench(monkeypatch, f"{RUN} --engine paged --out elsewhere") == 0
    measure = simulate.simulate

    def while_another_ends(*args: Any) -> Measured:
        shutil.copytree("elsewhere", "run")
        return measure(*args)

    monkeypatch.setattr(simulate, "simulate", while_another_ends)
    capsys.readouterr()
    assert llmbench(monkeypatch, f"{RUN} --engine inflight --out run {overwrite}") == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: out: ")
    assert line.endswith(f"this one is {Path('run-2').resolve()}")
    assert (engine_of("run"), engine_of("run-2")) == ("paged", "inflight")
    assert "inflight" in Path("run-2/report.md").read_text()


def test_of_capacities_one_whose_place_was_taken_costs_the_next_nothing(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert llmbench(monkeypatch, f"{RUN} --engine inflight --out elsewhere") == 0
    search = simulated_capacity.engine_capacity

    def while_another_ends(*args: Any) -> simulated_capacity.EngineCapacity:
        if not Path("c/paged").exists():
            shutil.copytree("elsewhere", "c/paged")
        return search(*args)

    monkeypatch.setattr(simulated_capacity, "engine_capacity", while_another_ends)
    command = "capacity --workload quick --num-requests 20 --slo e2el:2s --compare paged,trtllm -q"
    assert llmbench(monkeypatch, f"{command} --out c") == 2
    assert "c/paged' was taken" in capsys.readouterr().err
    found = [engine_of(f"c/{name}") for name in ("paged", "paged-2", "trtllm")]
    assert found == ["inflight", "paged", "trtllm"]


def test_a_run_that_was_cut_short_is_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    assert llmbench(monkeypatch, f"{RUN} --engine paged --out runs/a") == 0
    path = Path("runs/a/result.json")
    path.write_text(json.dumps({**json.loads(path.read_text()), "status": "partial"}))
    assert llmbench(monkeypatch, f"{RUN} --engine inflight --out runs/a") == 0
    assert engine_of("runs/a") == "inflight"


def test_a_run_that_cannot_be_read_is_kept(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("old").mkdir()
    Path("old/result.json").write_text('{"schema_version": 1}')
    assert llmbench(monkeypatch, f"{RUN} --out old") == 2
    said = capsys.readouterr().err
    assert "holds a run that cannot be read" in said
    assert "--overwrite" in said
    assert llmbench(monkeypatch, f"{RUN} --out old --overwrite") == 0


def test_a_run_of_the_model_and_one_at_capacity_are_kept_too(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Before a weight is read, and before a rate is tried."""
    assert llmbench(monkeypatch, f"{RUN} --out runs/paged") == 0
    capsys.readouterr()
    for command in (
        "run --out runs/paged",
        "run --target openai --base-url http://127.0.0.1:9 --out runs/paged",
        "capacity --slo ttft:1s --compare paged,trtllm --out runs",
    ):
        assert llmbench(monkeypatch, command) == 2
        (line,) = capsys.readouterr().err.splitlines()
        assert "runs/paged' holds a run of 'llmbench simulate" in line


def test_claims_are_kept(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(kv_waste, "SIMULATED", ())
    path = Path("claims/claims.json")
    assert llmbench(monkeypatch, "claims kv-waste --simulated --out claims") == 0
    before = path.read_bytes()
    assert llmbench(monkeypatch, "claims kv-waste --out claims") == 2
    assert "holds claims of 'llmbench claims kv-waste --simulated" in capsys.readouterr().err
    assert path.read_bytes() == before
    assert llmbench(monkeypatch, "claims kv-waste --simulated --out claims -q") == 0
    assert "claims of this very command: replaced" in capsys.readouterr().err
    # Figures are output, too, wherever they go.
    for figures in ("--figures drawn", "--figures=elsewhere"):
        words = f"claims kv-waste --simulated --out claims {figures}"
        assert llmbench(monkeypatch, words) == 0
    path.write_text("[]")
    assert llmbench(monkeypatch, "claims kv-waste --simulated --out claims") == 2
    assert llmbench(monkeypatch, "claims kv-waste --simulated --out claims --overwrite") == 0
    assert path.read_bytes()[:1] == b"{"


@pytest.mark.parametrize(
    ("command", "said"),
    [
        (f"{RUN} --overwrite", "expected --out beside it"),
        (f"{RUN} --overwrite --repeats 2 --out a", "what is stored is kept"),
        ("run --quant none,awq --overwrite --out a", "what is stored is kept"),
        ("claims --overwrite", "expected --out beside it"),
        ("capacity --slo ttft:1s --overwrite", "expected --out beside it"),
    ],
)
def test_where_there_is_nothing_to_replace_it_is_refused(
    command: str,
    said: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert llmbench(monkeypatch, command) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: overwrite: '--overwrite' is not allowed")
    assert said in line


def test_another_ablation_is_removed_only_where_that_is_asked_for(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    ablate = "ablate --simulate --workload quick --num-requests 3 --quiet --out a"
    assert llmbench(monkeypatch, f"{ablate} --axes kv") == 0
    before = Path("a/ablation.json").read_bytes()
    capsys.readouterr()
    assert llmbench(monkeypatch, f"{ablate} --axes batching") == 2
    assert "holds another ablation" in capsys.readouterr().err
    assert Path("a/ablation.json").read_bytes() == before
    assert llmbench(monkeypatch, f"{ablate} --axes batching --seed 3 --overwrite") == 0
    assert {cell.name for cell in Path("a/cells").iterdir()} == {
        "batching=separate",
        "batching=mixed",
    }


def test_an_ablation_of_fewer_repeats_loses_none_unasked(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Its report would be of one repeat, where three were run."""
    ablate = "ablate --simulate --workload quick --num-requests 3 --quiet --out a --axes kv"
    assert llmbench(monkeypatch, f"{ablate} --repeats 3") == 0
    before = Path("a/ablation.json").read_bytes()
    capsys.readouterr()
    assert llmbench(monkeypatch, ablate) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: out: 'a' holds kv=")
    assert line.endswith(",repeat=3; expected --repeats 3 or more; --overwrite removes this one's")
    assert Path("a/ablation.json").read_bytes() == before
    assert llmbench(monkeypatch, f"{ablate} --repeats 3") == 0
    assert llmbench(monkeypatch, f"{ablate} --repeats 2 --overwrite") == 0
    assert not list(Path("a/cells").glob("*.3"))
