"""Cells in a random order, stored one by one, and never run twice."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from llmbench.engines.config import engine_config
from llmbench.engines.errors import ConfigError, OutOfMemory
from llmbench.harness.ablation.design import Design, parse_axes
from llmbench.harness.ablation.run import (
    FILES,
    check,
    check_directory,
    check_repeats,
    forget,
    has_runs,
    run_cells,
)
from llmbench.harness.cells.identity import Identity
from llmbench.harness.run.drive import Progress
from llmbench.harness.run.experiment import Measured
from llmbench.harness.storage.store import StoreError, load_run

from .virtual import VirtualCells


class Told:
    """A watch that remembers."""

    def __init__(self) -> None:
        self.stages: list[str] = []

    def stage(self, text: str) -> None:
        self.stages.append(text)

    def progress(self, progress: Progress) -> None: ...


@pytest.fixture
def design() -> Design:
    return parse_axes("batching,kv", engine_config("paged"))


def test_every_cell_becomes_a_run_directory(design: Design, tmp_path: Path) -> None:
    runner, told = VirtualCells(count=20), Told()

    runs = run_cells(check(design, runner, repeats=2, seed=5), runner, tmp_path, told).runs

    names = {cell.name for cell in design.cells}
    assert {path.name for path in (tmp_path / "cells").iterdir()} == names | {
        f"{name},repeat=2" for name in names
    }
    for cell in design.cells:
        first, second = runs[cell]
        stored = load_run(tmp_path / "cells" / cell.name).result
        assert stored == first.result
        assert stored.config["seed"] == 5, "the first repeat sends what `run --seed 5` would"
        assert stored.workload.fingerprint != second.result.workload.fingerprint
        assert (first.directory / "report.html").exists()
    assert told.stages[0].startswith("run 1 of 8: ")


def test_a_repeat_of_one_cell_is_not_stored_as_another_cell(tmp_path: Path) -> None:
    design = parse_axes("delay_factor=0:0.2", engine_config("paged"))
    runner = VirtualCells(count=5)
    checked = check(design, runner, repeats=2, seed=0)
    assert len({turn.directory for turn in checked.turns}) == 4

    runs = run_cells(checked, runner, tmp_path, Told()).runs
    assert {cell.name: len(runs[cell]) for cell in runs} == {
        "delay_factor=0": 2,
        "delay_factor=0.2": 2,
    }
    check_repeats(tmp_path, design, 2)
    with pytest.raises(StoreError, match=r"holds delay_factor=0.*,repeat=2; expected --repeats 2"):
        check_repeats(tmp_path, design, 1)


def test_levels_that_are_written_alike_are_refused() -> None:
    design = parse_axes("delay_factor=0.1234567:0.1234568", engine_config("paged"))
    with pytest.raises(ConfigError, match=r"delay_factor=0\.123457' is not allowed"):
        check(design, VirtualCells(count=5), repeats=1, seed=0)


def test_repeats_hold_every_cell_once_in_orders_of_their_own(design: Design) -> None:
    turns = check(design, VirtualCells(count=5), repeats=6, seed=1).turns
    orders = [[turn.cell for turn in turns if turn.repeat == repeat] for repeat in range(1, 7)]

    assert [turn.repeat for turn in turns] == sorted(turn.repeat for turn in turns)
    assert all(set(order) == set(design.cells) for order in orders)
    assert len({tuple(order) for order in orders}) > 1
    assert turns == check(design, VirtualCells(count=5), repeats=6, seed=1).turns
    # All cells of a repeat are sent the same requests.
    seeds = {turn.repeat: turn.seed for turn in turns}
    assert all(turn.seed == seeds[turn.repeat] for turn in turns)
    assert len(set(seeds.values())) == 6


def test_ctrl_c_keeps_what_ended_and_the_next_time_goes_on(design: Design, tmp_path: Path) -> None:
    runner = VirtualCells(count=20)
    checked = check(design, runner, repeats=1, seed=0)
    third = checked.turns[2].cell.name
    runner.raises[third] = KeyboardInterrupt()

    with pytest.raises(KeyboardInterrupt):
        run_cells(checked, runner, tmp_path, Told())
    assert len(list((tmp_path / "cells").iterdir())) == 2

    assert has_runs(tmp_path)

    again, told = VirtualCells(count=20), Told()
    runs = run_cells(checked, again, tmp_path, told).runs
    assert again.served == [turn.cell.name for turn in checked.turns[2:]]
    assert told.stages[0] == "2 of 4 runs are stored already"
    assert set(runs) == set(design.cells)

    nothing = VirtualCells(count=20)
    run_cells(checked, nothing, tmp_path, Told())
    assert nothing.served == []


class CutShort(VirtualCells):
    """The first run ends early, as one stopped with Ctrl-C while serving does."""

    def measure(self, overrides: Mapping[str, Any], seed: int) -> Measured:
        done = super().measure(overrides, seed)
        partial = done.result.model_copy(update={"status": "partial"})
        return Measured(partial, done.requests, done.steps)


def test_a_run_that_was_cut_short_is_not_a_cell(design: Design, tmp_path: Path) -> None:
    runner = CutShort(count=20)
    with pytest.raises(KeyboardInterrupt):
        run_cells(check(design, runner, repeats=1, seed=0), runner, tmp_path, Told())
    assert not (tmp_path / "cells").exists() or not list((tmp_path / "cells").iterdir())


NO_MEMORY = OutOfMemory("for the KV cache", "cuda", "--kv-memory")


class Small(VirtualCells):
    """Its device has no memory for one cell, in the run of one seed. serving: it is found out while
    requests are served, and what was measured till then is there."""

    def __init__(self, cell: str, seed: int, *, serving: bool) -> None:
        super().__init__(count=20)
        self.cell, self.seed, self.serving = cell, seed, serving

    def measure(self, overrides: Mapping[str, Any], seed: int) -> Measured:
        done = super().measure(overrides, seed)
        if (self.served[-1], seed) != (self.cell, self.seed):
            return done
        if not self.serving:
            raise NO_MEMORY
        partial = done.result.model_copy(update={"status": "partial"})
        return Measured(partial, done.requests, done.steps, str(NO_MEMORY))


@pytest.mark.parametrize("serving", [True, False])
def test_a_cell_without_memory_leaves_the_others(
    design: Design, tmp_path: Path, serving: bool
) -> None:
    checked = check(design, VirtualCells(count=20), repeats=3, seed=0)
    broken = next(turn for turn in checked.turns if turn.repeat == 2)
    runner = Small(broken.cell.name, broken.seed, serving=serving)
    ran = run_cells(checked, runner, tmp_path, Told())
    assert [(one.cell, one.reason) for one in ran.failed] == [(broken.cell, str(NO_MEMORY))]
    assert {cell: len(runs) for cell, runs in ran.runs.items()} == {
        cell: 3 for cell in design.cells if cell != broken.cell
    }
    assert runner.served.count(broken.cell.name) == 2, "it was tried again with other requests"
    kept = {path.name for path in (tmp_path / "cells").iterdir()}
    assert broken.cell.name in kept
    assert broken.directory not in kept
    # On a larger device the same command ends it.
    again = VirtualCells(count=20)
    whole = run_cells(checked, again, tmp_path, Told())
    assert again.served == [broken.cell.name] * 2
    assert (set(whole.runs), whole.failed) == (set(design.cells), ())


@pytest.mark.parametrize("changed", [{"settings": {"dtype": "float32"}}, {"count": 21}])
def test_another_experiments_cells_are_not_overwritten(
    design: Design, tmp_path: Path, changed: dict[str, Any]
) -> None:
    runner = VirtualCells(count=20)
    run_cells(check(design, runner, repeats=1, seed=0), runner, tmp_path, Told())

    other = VirtualCells(**{"count": 20, **changed})
    with pytest.raises(StoreError, match="holds a run of other settings or requests"):
        run_cells(check(design, other, repeats=1, seed=0), other, tmp_path, Told())
    assert other.served == []


def test_a_directory_that_holds_something_else_is_refused(tmp_path: Path) -> None:
    check_directory(tmp_path, None)
    check_directory(tmp_path / "new", None)
    (tmp_path / "cells").mkdir()
    (tmp_path / "ablation.html").touch()
    check_directory(tmp_path, None)
    (tmp_path / "thesis.tex").touch()
    with pytest.raises(StoreError, match=r"holds other files \(thesis.tex\)"):
        check_directory(tmp_path, None)
    with pytest.raises(StoreError, match="is a file"):
        check_directory(tmp_path / "thesis.tex", None)


def test_a_report_is_not_replaced_by_one_of_other_cells(design: Design, tmp_path: Path) -> None:
    told = {"cells": [{"name": cell.name} for cell in design.cells]}
    (tmp_path / "ablation.json").write_text(json.dumps(told))
    check_directory(tmp_path, design)
    check_directory(tmp_path, parse_axes("batching=separate:mixed:static,kv", engine_config()))
    fewer = parse_axes("batching", engine_config())
    with pytest.raises(StoreError, match="another ablation, with the cell batching=separate,kv=p"):
        check_directory(tmp_path, fewer)
    check_directory(tmp_path, None)
    (tmp_path / "ablation.json").write_text("{")
    with pytest.raises(StoreError, match=r"ablation.json' cannot be read; expected a new"):
        check_directory(tmp_path, design)


def test_a_forgotten_ablation_leaves_nothing(design: Design, tmp_path: Path) -> None:
    runner = VirtualCells(count=20)
    run_cells(check(design, runner, repeats=1, seed=0), runner, tmp_path, Told())
    for name in FILES:
        (tmp_path / name).touch()
    forget(tmp_path)
    assert list(tmp_path.iterdir()) == []
    forget(tmp_path / "none")


def test_a_cell_that_contradicts_itself_is_left_out_with_its_reason() -> None:
    design = parse_axes("batching=separate:static,admission=reserve:optimistic", engine_config())
    checked = check(design, VirtualCells(count=5), repeats=1, seed=0)
    assert [(one.cell.name, one.reason) for one in checked.not_run] == [
        (
            "batching=static,admission=optimistic",
            "admission: 'optimistic' is not allowed; expected reserve under static batching",
        )
    ]
    assert len(checked.turns) == 3


class Clipping(VirtualCells):
    """One level changes what is sent."""

    def identify(self, overrides: Mapping[str, Any], seed: int) -> Identity:
        found = super().identify(overrides, seed)
        return Identity(found.settings, str(overrides["max_model_len"]))


def test_cells_that_are_not_sent_the_same_requests_are_refused_before_any_runs() -> None:
    design = parse_axes("max_model_len=64:128", engine_config())
    with pytest.raises(ConfigError, match="sent the same requests"):
        check(design, Clipping(count=5), repeats=1, seed=0)
    with pytest.raises(ConfigError, match="repeats: 0"):
        check(design, VirtualCells(count=5), repeats=0, seed=0)
