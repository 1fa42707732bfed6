"""Every native kernel is offered for every instruction set, the best of them first."""

from __future__ import annotations

import pytest
import torch
from llmbench.kernels.native import build
from llmbench.kernels.native.build import TARGETS
from llmbench.kernels.native.register import digests
from llmbench.kernels.registry import OPS, Selection, implementations, prepares

OF_TARGETS = {f"native-{target.name}": target.priority for target in TARGETS}
NATIVE_OPS = [
    op for op, modules in OPS.items() if any(one.startswith("native.") for one in modules)
]
# Of the rest activations may be float32, too.
BFLOAT16_ONLY = sorted(
    set(NATIVE_OPS)
    - {"paged_attention", "contiguous_attention", "sample"}
    - {"quantized_paged_attention", "quantized_contiguous_attention"}
)


@pytest.mark.parametrize("op", NATIVE_OPS)
def test_each_instruction_set_has_one_at_its_own_priority(op: str) -> None:
    found = [one for one in implementations(op) if one.name.startswith("native-")]
    assert {one.name: one.priority for one in found} == OF_TARGETS


@pytest.mark.parametrize("op", NATIVE_OPS)
def test_none_runs_on_a_gpu(op: str) -> None:
    for one in implementations(op):
        if one.name in OF_TARGETS:
            assert not one.when(torch.device("cuda"), torch.bfloat16)


@pytest.mark.parametrize("op", NATIVE_OPS)
def test_float32_runs_where_it_is_written_for(op: str) -> None:
    """Of what runs here at all."""
    cpu = torch.device("cpu")
    for one in implementations(op):
        if one.name in OF_TARGETS and one.when(cpu, torch.bfloat16):
            assert one.when(cpu, torch.float32) is (op not in BFLOAT16_ONLY)


@pytest.mark.parametrize("op", NATIVE_OPS)
def test_a_call_reaches_one_instruction_set_of_each_order_of_weights(op: str) -> None:
    """The others take what it takes; `--verify-kernels` need not try them."""
    reached = {one.name for one in Selection(op, implementations(op), prepares(op)).reachable}
    orders = [one.multiplies_bfloat16 for one in TARGETS if f"native-{one.name}" in reached]
    assert len(orders) == len(set(orders)) > 0


def test_what_native_implementations_were_made_from_is_told_by_name(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Without a compiler's run: each instruction set's flags make another digest."""
    monkeypatch.setattr(build, "_run", lambda _: b"c++ 1")
    monkeypatch.setenv("CXX", "c++")
    found = digests(["native-avx2", "pytorch", "native-generic", "native-avx2"])
    assert set(found) == {"native-avx2", "native-generic"}
    assert len(set(found.values())) == 2
    monkeypatch.setattr(build, "_run", lambda _: b"c++ 2")
    assert not set(found.values()) & set(digests(found).values())


def test_where_none_is_native_no_compiler_is_looked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CXX", "no-such-compiler")
    assert digests(["pytorch", "reference"]) == {}
