"""Kernels that are wrong in one way each, as those are that people write: a case finds each, and of
Triton's few cases one does, too."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from llmbench.kernels.check import Trial, Verdict, check, judged
from llmbench.kernels.decoder import DecoderWeights
from llmbench.kernels.dispatch import Implementation
from llmbench.kernels.fp4 import Fp4Weight
from llmbench.kernels.reference.decoder import ReferenceDecoderStep
from llmbench.kernels.reference.fp4 import ReferenceFp4Linear
from llmbench.kernels.reference.w8a8 import ReferenceW8A8Linear
from llmbench.kernels.registry import anywhere, reference
from llmbench.kernels.specs.table import spec_of
from llmbench.kernels.w8a8 import W8A8Weight
from torch import Tensor

CPU = torch.device("cpu")
ATTENTION = [
    f"{quantized}{layout}_attention"
    for quantized in ("", "quantized_")
    for layout in ("paged", "contiguous")
]


def found_wrong(
    op: str, function: Callable[..., Any], *, tiny: bool = False, dtype: torch.dtype = torch.float32
) -> list[Verdict]:
    spec = spec_of(op)
    cases = {name: spec.cases[name] for name in spec.tiny} if tiny else spec.cases
    mine = Implementation(op, "mine", function, anywhere, 0)
    return judged(list(check(Trial(mine, spec, dtype, cases), CPU, seed=1)))


def kinds_of(wrong: list[Verdict]) -> set[str]:
    """What comes before the colon in a case's name."""
    return {one.case.partition(":")[0] for one in wrong}


@pytest.mark.parametrize("op", ATTENTION)
def test_attention_that_ignores_the_scale(op: str) -> None:
    """Of whatever kind the sequences are: a kernel may compute each by other code."""

    def attend(q: Tensor, *others: Any) -> Tensor:
        *cache_and_batch, _scale, window, out = others
        return reference(op).function(q, *cache_and_batch, q.shape[-1] ** -0.5, window, out)

    assert {"decode", "prefill", "chunk", "window"} <= kinds_of(found_wrong(op, attend))
    assert found_wrong(op, attend, tiny=True)


@pytest.mark.parametrize("fixed", [0.0, 1e-6, 1e-5])
@pytest.mark.parametrize(
    ("op", "place"), [("rms_norm", 2), ("add_rms_norm", 3), ("rope_cache_write", 3)]
)
@pytest.mark.parametrize("tiny", [False, True])
def test_a_norm_whose_eps_is_its_own(op: str, place: int, fixed: float, tiny: bool) -> None:
    def normed(*arguments: Any) -> Any:
        given = list(arguments)
        given[place] = fixed
        return reference(op).function(*given)

    assert any("small" in one.case for one in found_wrong(op, normed, tiny=tiny))


class StepOfItsOwnEps(ReferenceDecoderStep):
    """Norms by the eps that most models have."""

    def __init__(self, weights: DecoderWeights) -> None:
        super().__init__(replace(weights, rms_norm_eps=1e-5))


def test_a_step_whose_eps_is_its_own() -> None:
    wrong = found_wrong("decoder_step", StepOfItsOwnEps, tiny=True, dtype=torch.bfloat16)
    assert any("all of them" in one.case for one in wrong)


@pytest.mark.parametrize("op", ATTENTION)
def test_attention_that_takes_exponentials_of_scores_as_they_are(
    op: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    right = reference(op).function

    def without_largest(scores: Tensor, dim: int) -> Tensor:
        weights = scores.exp()
        return weights / weights.sum(dim, keepdim=True)

    def attend(*arguments: Any) -> Tensor:
        with monkeypatch.context() as patched:
            patched.setattr(Tensor, "softmax", without_largest)
            return right(*arguments)

    assert kinds_of(found_wrong(op, attend)) == {"large scores"}
    assert found_wrong(op, attend, tiny=True)


@pytest.mark.parametrize("tiny", [False, True])
def test_a_gate_of_two_exponentials(tiny: bool) -> None:
    def silu_mul(gate_up: Tensor) -> Tensor:
        gate, up = gate_up.float().chunk(2, dim=-1)
        return (gate * gate.exp() / (1 + gate.exp()) * up).to(gate_up.dtype)

    assert [one.case for one in found_wrong("silu_mul", silu_mul, tiny=tiny)] == ["gates: large"]


class OfOneFactor(ReferenceFp4Linear):
    """All rows by the first one's."""

    def __init__(self, weight: Fp4Weight, bias: Tensor | None, dtype: torch.dtype) -> None:
        first = weight.row_scales[:1].expand(weight.out_features)
        super().__init__(replace(weight, row_scales=first.contiguous()), bias, dtype)


@pytest.mark.parametrize("tiny", [False, True])
def test_nvfp4_by_the_factor_of_the_first_row(tiny: bool) -> None:
    wrong = found_wrong("fp4_linear", OfOneFactor, tiny=tiny)
    assert {one.case for one in wrong} == {
        name
        for name, case in spec_of("fp4_linear").cases.items()
        if case.form == "e4m3" and case.rows and (name in spec_of("fp4_linear").tiny or not tiny)
    }


class Symmetric(ReferenceW8A8Linear):
    """Codes by their size in seven bits and their sign."""

    def __init__(self, weight: W8A8Weight, bias: Tensor | None, dtype: torch.dtype) -> None:
        super().__init__(replace(weight, codes=weight.codes.clamp_min(-127)), bias, dtype)


@pytest.mark.parametrize("tiny", [False, True])
def test_int8_weights_without_the_least_code(tiny: bool) -> None:
    assert found_wrong("w8a8_linear", Symmetric, tiny=tiny)
