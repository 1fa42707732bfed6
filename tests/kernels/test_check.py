"""That the check finds what is wrong: a suite that passes everything proves nothing."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from typing import Any

import pytest
import torch
from llmbench.kernels.batch import AttentionBatch
from llmbench.kernels.check import Trial, Verdict, check, judged, trials
from llmbench.kernels.decoder import LayerCaches
from llmbench.kernels.dispatch import Implementation
from llmbench.kernels.reference.decoder import ReferenceDecoderStep
from llmbench.kernels.registry import KernelError, anywhere, implementations
from llmbench.kernels.specs.closeness import exactly, near, within
from llmbench.kernels.specs.table import spec_of
from torch import Tensor

CPU = torch.device("cpu")


def verdicts_of(op: str, function: Callable[..., Any], **more: Any) -> list[Verdict]:
    (trial,) = trials([op], CPU, [torch.float32], {op: "torch"})
    mine = Implementation(op, "mine", function, anywhere, 0, **more)
    own = type(trial)(mine, trial.spec, torch.float32, trial.cases)
    return list(check(own, CPU, seed=1, repeats=1))


def torch_(op: str) -> Callable[..., Any]:
    return next(one.function for one in implementations(op) if one.name == "torch")


def test_what_is_right_passes() -> None:
    found = verdicts_of("silu_mul", torch_("silu_mul"))
    assert judged(found) == []
    assert all(one.error < 1 for one in found)


def wrong_in_one_place(gate_up: Tensor) -> Tensor:
    y = torch_("silu_mul")(gate_up)
    if y.numel() > 50:
        y[-1, -2] += 1
    return y


def with_a_nan(gate_up: Tensor) -> Tensor:
    y = torch_("silu_mul")(gate_up)
    if y.numel():
        y[0, 0] = math.nan
    return y


def changes_its_input(gate_up: Tensor) -> Tensor:
    y = torch_("silu_mul")(gate_up)
    gate_up.zero_()
    return y


def raises(gate_up: Tensor) -> Tensor:  # noqa: ARG001
    raise ValueError("a\nb")


@pytest.mark.parametrize(
    ("function", "problem"),
    [
        (wrong_in_one_place, r"result: 1 off at \(6, 31\)|result: 1 off at"),
        (with_a_nan, r"result: NaN at \(0, 0\), 1 of \d+ elements"),
        (changes_its_input, "changed its input 'gate_up'"),
        (raises, "raised ValueError: a b"),
        (lambda _: None, r"returns \[\] where \['result'\] belong"),
        (lambda gate_up: torch_("silu_mul")(gate_up)[:, :-1], r"shape \(1, 1535\) where"),
        (lambda gate_up: torch_("silu_mul")(gate_up).double(), "torch.float64 where"),
        (lambda gate_up: torch_("silu_mul")(gate_up) * 1.0001, "off at"),
    ],
)
def test_what_is_wrong_is_found(function: Callable[..., Any], problem: str) -> None:
    bad = judged(verdicts_of("silu_mul", function))
    assert bad
    assert all("\n" not in one.sentence for one in bad)
    assert any(re.search(problem, one.problem or "") for one in bad)


def test_a_cache_written_beside_its_slots_is_found() -> None:
    def careless(
        k: Tensor, v: Tensor, k_cache: Tensor, v_cache: Tensor, slot_mapping: Tensor
    ) -> None:
        torch_("cache_write")(k, v, k_cache, v_cache, slot_mapping)
        v_cache.view(-1)[-1] = 0

    bad = judged(verdicts_of("cache_write", careless))
    assert any("v_cache: 1 elements differ" in (one.problem or "") for one in bad)


def test_an_out_that_is_ignored_is_found() -> None:
    def forgetful(q, k_cache, v_cache, batch, scale, window=None, out=None):  # noqa: ARG001
        return torch_("paged_attention")(q, k_cache, v_cache, batch, scale, window)

    bad = judged(verdicts_of("paged_attention", forgetful))
    assert {one.problem for one in bad} == {"does not return 'out', which it was given"}


def test_attention_past_a_sequence_is_found() -> None:
    """One key too many is the next sequence's, or poison."""

    def greedy(q, k_cache, v_cache, batch, scale, window=None, out=None):
        longer = type(batch)(
            batch.query_lengths, tuple(n + 1 for n in batch.kv_lengths), batch.starts
        )
        return torch_("contiguous_attention")(q, k_cache, v_cache, longer, scale, window, out)

    bad = judged(verdicts_of("contiguous_attention", greedy))
    assert len(bad) == len(verdicts_of("contiguous_attention", greedy))
    assert any("NaN" in (one.problem or "") for one in bad)


def test_what_is_not_taken_is_no_verdict_unless_nothing_is() -> None:
    right = torch_("silu_mul")
    some = verdicts_of("silu_mul", right, takes=lambda gate_up: len(gate_up) == 1)
    assert judged(some) == []
    assert sum(one.refused is None for one in some) == 1
    (bad,) = judged(verdicts_of("silu_mul", right, takes=lambda _: False))
    assert bad.problem == f"takes none of {len(some)} cases (takes= says no)"

    def refuses(gate_up: Tensor) -> Tensor:  # noqa: ARG001
        raise KernelError("no such size")

    assert "no such size" in (judged(verdicts_of("silu_mul", refuses))[0].problem or "")


def test_one_that_cannot_run_is_not_checked_silently() -> None:
    with pytest.raises(KernelError, match="'triton' cannot be checked on cpu"):
        trials(["w4a16_linear"], CPU, [torch.float64], {"w4a16_linear": "triton"})


NAN = math.nan


@pytest.mark.parametrize(
    ("actual", "expected", "problem"),
    [
        ([1.0, NAN], [1.0, 2.0], r"NaN at \(1,\), 1 of 2"),
        ([1.0, 2.0], [1.0, NAN], r"a number at \(1,\), where nothing may be written"),
        ([1.0, math.inf], [1.0, 2.0], "infinity at"),
        ([1.0, 2.1], [1.0, 2.0], r"0.1 off at \(1,\): 2.1 where 2 belongs"),
        ([1.0, NAN], [1.0, NAN], None),
        ([1.0, 2.0], [1.0, 2.0], None),
        ([], [], None),
        ([0.0], [0.0], None),
        ([1e-9], [0.0], "off at"),
    ],
)
def test_near(actual: list[float], expected: list[float], problem: str | None) -> None:
    found = near(torch.tensor(actual), torch.tensor(expected)).problem
    if problem is None:
        assert found is None
    else:
        assert found is not None
        assert re.search(problem, found)


def test_exactly_knows_the_bits() -> None:
    assert exactly(torch.tensor([NAN, 1.0]), torch.tensor([NAN, 1.0])).problem is None
    assert exactly(torch.tensor([-0.0]), torch.tensor([0.0])).problem is not None
    e4m3 = torch.tensor([1.0, 2.0]).to(torch.float8_e4m3fn)
    assert exactly(e4m3, e4m3.clone()).problem is None


def test_within_counts_in_bounds() -> None:
    exact, bound = torch.tensor([1.0, 2.0]).double(), torch.tensor([0.5, 0.1]).double()
    assert within(torch.tensor([1.25, 2.0]), exact, bound).share == 0.5
    assert "2.2 where 2 belongs, 0.1 allowed" in str(
        within(torch.tensor([1.0, 2.2]), exact, bound).problem
    )


class TakesNothing(ReferenceDecoderStep):
    """A step that must not be called."""

    def takes(self, cache: LayerCaches, batch: AttentionBatch, rows: int) -> bool:
        return len(cache.keys) > 99 and rows == len(batch.query_lengths)

    def __call__(self, *_: Any) -> Tensor:
        raise AssertionError("called all the same")


def test_a_step_that_is_not_taken_is_not_made() -> None:
    spec, bfloat16 = spec_of("decoder_step"), torch.bfloat16
    mine = Implementation("decoder_step", "mine", TakesNothing, anywhere, 0)
    cases = {name: spec.cases[name] for name in spec.tiny}
    found = list(check(Trial(mine, spec, bfloat16, cases), CPU, seed=1))
    assert [one.refused for one in found] == ["its `takes` says no"] * len(cases)
    assert [one.problem for one in found] == [None] * len(cases)
