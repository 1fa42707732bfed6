"""Checks spread over processes say what one process would, whatever a kernel does to its own."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from llmbench.harness.bench.kernel_checks import check_in_processes, portions
from llmbench.kernels import choices, registry
from llmbench.kernels.check import check, judged, trials

CPU = torch.device("cpu")
# Right but where a row has one element: there it ends whatever computes it.
ENDS = """
import os

import torch.nn.functional as F
from llmbench.kernels.plugin import implements

@implements("silu_mul", backend="mine")
def gate(gate_up):
    if gate_up.shape[1] == 2:
        os._exit(1)
    gate, up = gate_up.chunk(2, dim=-1)
    return F.silu(gate) * up
"""


@pytest.fixture
def _nothing_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    registry.implementations("silu_mul")
    kept = dict(registry._registered["silu_mul"])
    monkeypatch.setitem(registry._registered, "silu_mul", kept)
    choices._imported.cache_clear()


@pytest.mark.usefixtures("_nothing_stays")
def test_a_kernel_that_ends_its_process_is_named_and_the_others_are_checked(
    tmp_path: Path,
) -> None:
    (tmp_path / "gates.py").write_text(ENDS)
    asked = [f"silu_mul={tmp_path / 'gates.py'}"]
    only = choices.resolve_choices(asked)
    found = trials(["silu_mul"], CPU, [torch.float32], only)
    ((trial, verdicts),) = check_in_processes(found, CPU, 5, asked, jobs=2)
    assert [one.case for one in verdicts] == list(trial.cases)
    assert {one.seed for one in verdicts} == {5}
    (bad,) = judged(verdicts)
    assert "one" in bad.case
    assert bad.problem == "ended the process that computed it"


def test_portions_hold_every_case_once_in_order() -> None:
    for trial in trials(["rope", "silu_mul"], CPU):
        parts = portions(trial, CPU, 3)
        assert [case for part in parts for case in part.cases] == list(trial.cases)
        assert {(part.op, part.seed) for part in parts} == {(trial.spec.op, 3)}


def test_the_same_is_found_in_one_process_and_in_others() -> None:
    found = trials(["rms_norm"], CPU, [torch.bfloat16], {"rms_norm": "torch"})
    alone = [list(check(trial, CPU, 11)) for trial in found]
    apart = [verdicts for _, verdicts in check_in_processes(found, CPU, 11, (), jobs=1)]
    assert apart == alone
