"""Ctrl-C before anything is kept: each command says that nothing is, and leaves with 130."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from llmbench.harness.cells.simulated import SimulatedCells
from llmbench.harness.cli import main
from llmbench.harness.cli.exits import Exit

ABLATE = ("ablate", "--simulate", "--axes", "batching", "--num-requests", "3", "--model")


def interrupted(*_: Any, **__: Any) -> Any:
    raise KeyboardInterrupt


@pytest.mark.parametrize(
    ("words", "work", "said"),
    [
        (("claims", "kv-waste"), "claims.examine.examine_claims", "claim was examined: nothing is"),
        (("bench-engine",), "bench.bench_engine.bench_engine", "anything was timed: nothing is s"),
        (("simulate",), "simulation.simulate.simulate", "there was a result: nothing is saved"),
    ],
)
def test_nothing_is_kept_and_it_is_said(
    words: tuple[str, ...],
    work: str,
    said: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Known wrong here: "interrupted", and not whether anything was left."""
    monkeypatch.setattr(f"llmbench.harness.{work}", interrupted)
    with pytest.raises(SystemExit) as left:
        main([*words, "--out", str(tmp_path / "out")])
    assert left.value.code == Exit.INTERRUPTED
    error = capsys.readouterr().err
    assert said in error
    assert error.count("error: interrupted") == 1
    assert not (tmp_path / "out").exists()


def test_an_ablation_without_a_cell_claims_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Known wrong here: "cells that ended are in ..." of a directory that did not exist."""
    out = tmp_path / "ablation"
    measure, measured = SimulatedCells.measure, []

    def second_is_cut(cells: SimulatedCells, *asked: Any) -> Any:
        measured.append(asked)
        return interrupted() if len(measured) == 2 else measure(cells, *asked)

    def left_with(work: Any) -> str:
        monkeypatch.setattr(SimulatedCells, "measure", work)
        with pytest.raises(SystemExit) as left:
            main([*ABLATE, "llama-3-8b", "--out", str(out)])
        assert left.value.code == Exit.INTERRUPTED
        return capsys.readouterr().err

    assert "interrupted before a cell ended: the same command begins again" in left_with(
        interrupted
    )
    error = " ".join(left_with(second_is_cut).split())
    assert f"cells that ended are in {out}; the same command goes on from there" in error


def test_one_more_ctrl_c_after_the_verdict_is_no_traceback() -> None:
    """Known wrong here: torch's, which was tidying up, after `serve` had ended well."""
    late = "import atexit, os, signal; atexit.register(os.kill, os.getpid(), signal.SIGINT); "
    command = f"{late}from llmbench.harness.cli import main; main(['--version'])"
    done = subprocess.run(
        [sys.executable, "-c", command], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
