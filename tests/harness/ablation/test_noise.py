"""The machine's own share, seen where two cells computed the same steps."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path

import pytest
from llmbench.engines.config import engine_config
from llmbench.harness.ablation.analyse import analyse
from llmbench.harness.ablation.design import Cell, parse_axes
from llmbench.harness.ablation.factorial import Factorial
from llmbench.harness.ablation.mechanism import Accounted
from llmbench.harness.ablation.noise import machine_noise
from llmbench.harness.comparison.observed import Observed
from llmbench.harness.storage.store import StoredRun
from llmbench.harness.tables.requests import REQUEST_COLUMNS

from .virtual import VirtualCells

TIMES = [
    "start_s", "end_s", "schedule_s", "prepare_s", "attention_s", "linear_s", "sample_s", "host_s",
]  # fmt: skip


def _stretched(run: StoredRun, factor: float) -> StoredRun:
    """The same schedule on a machine that was so much slower meanwhile."""
    steps, requests = run.steps.copy(), run.requests.copy()
    steps[TIMES] *= factor
    for name in REQUEST_COLUMNS:
        if name.endswith("_s") and name != "token_times_s":
            requests[name] *= factor
    requests["token_times_s"] = [[factor * s for s in times] for times in requests["token_times_s"]]
    duration_s = run.result.duration_s * factor
    return StoredRun(
        run.directory, run.result.model_copy(update={"duration_s": duration_s}), requests, steps
    )


def _runs(slower: float) -> Mapping[Cell, list[StoredRun]]:
    """With memory for all, both admissions run the same schedule; one cell's machine is slower."""
    design = parse_axes("admission,kv", engine_config("paged"))
    runner = VirtualCells(count=320, pool_tokens=64 * 256)
    runs = {}
    for cell in design.cells:
        done = runner.measure(cell.overrides, 0)
        stored = StoredRun(Path(cell.name), done.result, done.requests, done.steps)
        late = cell.name == "admission=reserve,kv=paged"
        runs[cell] = [_stretched(stored, slower) if late else stored]
    return runs


def _accounted(runs: Mapping[Cell, list[StoredRun]]) -> list[dict[Cell, Accounted]]:
    return [{cell: Accounted.of(Observed(one[0])) for cell, one in runs.items()}]


def test_equal_work_in_unequal_time_is_noise_of_that_size() -> None:
    found = machine_noise(_accounted(_runs(1.3)))
    assert found is not None
    assert found.size == pytest.approx(math.log(1.3))
    assert "admission=optimistic,kv=paged and admission=reserve,kv=paged" in found.text
    assert "one took 30 % longer" in found.text


def test_a_machine_that_repeats_has_none_and_repeats_need_none() -> None:
    quiet = _accounted(_runs(1.0))
    assert machine_noise(quiet) is None
    assert machine_noise(_accounted(_runs(1.3)) * 2) is None


def test_no_effect_as_small_as_the_noise_is_called_one() -> None:
    design = parse_axes("admission,kv", engine_config("paged"))
    found = analyse(Factorial(design, _runs(1.3)))

    admission = [one for one in found.effects if one.changes[0].axis == "admission"]
    assert any(one.p is not None and one.p < 0.05 for one in admission), "it looks like one"
    assert not any(one.significant for one in admission)
    assert any("that is the machine" in note for note in found.notes)
