"""What a sweep's reports say of what its cells ran, and of what was not measured."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from llmbench.harness.cli.sweep_tables import print_sweep
from llmbench.harness.rendering import sweep_reports
from llmbench.harness.result import Metric, Simulation
from llmbench.harness.storage.store import find_run, write_run
from llmbench.harness.sweep.cells import Done
from llmbench.harness.sweep.grid import Cell
from llmbench.harness.sweep.table import frame, sweep_table
from llmbench.reports.sweep_model import SweepTable
from llmbench.reports.sweep_report import cells_table

from ..observed import serve_in_turn
from ..stored import SIMULATION, stored_run


def test_a_column_has_no_space_in_its_name(tmp_path: Path) -> None:
    cost = Metric(unit="per Mtoken", better="lower", stats={"output": 2.0})
    stored = stored_run(*serve_in_turn(40))
    metrics = {**stored.result.metrics, "cost_per_million_tokens": cost}
    priced = stored.result.model_copy(update={"metrics": metrics})
    write_run(tmp_path / "a", priced, stored.requests, stored.steps, {})
    columns = list(frame(sweep_table("simulate", [Done(Cell(()), find_run(tmp_path / "a"))])))
    assert "cost_per_million_tokens.output_per_Mtoken" in columns
    assert not any(" " in str(name) for name in columns)


def swept(out: Path, *simulations: Simulation | None) -> SweepTable:
    """A cell each, of options that name neither model nor hardware."""
    done = []
    for at, simulation in enumerate(simulations):
        config = {"model": "llama-3-8b", "dtype": "bfloat16", "device": "cpu"}
        stored = stored_run(*serve_in_turn(40), config=config, simulation=simulation)
        write_run(out / str(at), stored.result, stored.requests, stored.steps, {})
        done.append(Done(Cell((("request-rate", str(at)),)), find_run(out / str(at))))
    return sweep_table("simulate --num-requests 40", done)


def test_a_sweep_of_simulations_says_so_of_what_and_how_wrong_it_may_be(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    far = SIMULATION.model_copy(update={"error": "beyond what was fitted", "extrapolated_steps": 9})
    told = swept(tmp_path, SIMULATION, far, SIMULATION)
    reports = sweep_reports(told)
    print_sweep(told)
    terminal = " ".join(capsys.readouterr().out.split())
    for text in (*reports.values(), terminal):
        said = text.replace("\u00a0", " ").replace("&nbsp;", " ").replace("\\", "")
        assert "Simulated, not measured: llama-3-8b, bfloat16 on a simulated 4 × h100." in said
        # Of the cell that is farthest from what is known, once.
        assert said.count("How wrong it may be: beyond what was fitted.") == 1
        assert "within 25 %" not in said


@pytest.mark.parametrize("columns", [40, 80, 132])
def test_a_narrow_terminal_gets_whole_numbers_in_several_tables(
    columns: int, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: Any
) -> None:
    told = swept(tmp_path, SIMULATION, SIMULATION)
    monkeypatch.setenv("COLUMNS", str(columns))
    print_sweep(told)
    said = capsys.readouterr().out
    tables = said.partition("Simulated")[0]
    assert max(map(len, tables.splitlines())) <= columns
    assert "…" not in said
    words = tables.replace("\n", " ").split(" ")
    for row in cells_table(told).rows:
        for cell in row[1:]:
            assert all(part in words for part in cell.text.split(" ")), cell.text
    heads = " ".join(words)
    assert all(word in heads for word in ("throughput", "TTFT", "waste", "Preemptions"))
    # Each table says which cell a row is of.
    assert tables.count("request-rate") == len([one for one in tables.split("\n\n") if one.strip()])


def test_a_measured_sweep_names_model_and_hardware_and_is_not_called_simulated(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    told = swept(tmp_path, None, None)
    print_sweep(told)
    for text in (*sweep_reports(told).values(), capsys.readouterr().out):
        assert "llama-3-8b, bfloat16 on Some CPU" in text.replace("\\", "")
        assert "Simulated" not in text
