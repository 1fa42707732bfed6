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
from llmbench.kernels.reference.linear import ReferenceLinear
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
    op: str,
    function: Callable[..., Any],
    *,
    tiny: bool = False,
    dtype: torch.dtype = torch.float32,
    repeats: int | None = 1,
) -> list[Verdict]:
    spec = spec_of(op)
    cases = {name: spec.cases[name] for name in spec.tiny} if tiny else spec.cases
    mine = Implementation(op, "mine", function, anywhere, 0)
    return judged(list(check(Trial(mine, spec, dtype, cases), CPU, seed=1, repeats=repeats)))


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


@pytest.mark.parametrize("tiny", [False, True])
@pytest.mark.parametrize("op", ["silu_mul", "rms_norm", "add_rms_norm", "rope_cache_write"])
def test_rows_beyond_64_that_are_the_first_one(op: str, tiny: bool) -> None:
    """Every prompt was wrong, and no case was long enough to show it."""

    def by_tiles(x: Tensor, *others: Any) -> Any:
        rows = x.clone()
        rows[65:] = x[:1]
        return reference(op).function(rows, *others)

    names = {one.case.partition(": ")[2] for one in found_wrong(op, by_tiles, tiny=tiny)}
    assert names >= ({"70"} if tiny else {"70", "of a prompt"})


@pytest.mark.parametrize("op", ["linear", "w8a8_linear", "w4a16_linear", "w8a16_linear"])
def test_rows_beyond_512_that_are_the_first_one(op: str) -> None:
    class ByTiles(reference(op).function):  # pyright: ignore[reportGeneralTypeIssues]
        def __call__(self, x: Tensor) -> Tensor:
            x = x.clone()
            x[512:] = x[:1]
            return super().__call__(x)

    (one,) = found_wrong(op, ByTiles)
    assert "of a prompt" in one.case


@pytest.mark.parametrize("tiny", [False, True])
@pytest.mark.parametrize("lanes", [8, 16, 32])
@pytest.mark.parametrize("op", ["silu_mul", "rms_norm"])
def test_the_last_of_a_tail_of_three_or_more_that_is_left_out(
    op: str, lanes: int, tiny: bool
) -> None:
    def by_vectors(*arguments: Any) -> Tensor:
        y = reference(op).function(*arguments)
        if y.numel() and y.shape[-1] % lanes > 2:
            y[..., -1] = 0
        return y

    assert "size: a long tail" in {one.case for one in found_wrong(op, by_vectors, tiny=tiny)}


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("op", ["silu_mul", "rms_norm", "add_rms_norm"])
def test_results_that_are_cut_off_and_not_rounded(op: str, dtype: torch.dtype) -> None:
    """Each is near enough, and all of them are too small."""

    def cut(number: Tensor) -> Tensor:
        near = number.to(dtype)
        beyond = near.float().abs() > number.abs()
        return torch.where(beyond, near.view(torch.int16) - 1, near.view(torch.int16)).view(dtype)

    def compute(*arguments: Any) -> Any:
        wide = [one.float() if isinstance(one, Tensor) else one for one in arguments]
        found = reference(op).function(*wide)
        if isinstance(found, Tensor):
            return cut(found)
        return cut(found[0]), reference(op).function(*arguments)[1]

    wrong = found_wrong(op, compute, dtype=dtype)
    assert {"rows: many", "rows: of a prompt"} <= {one.case for one in wrong}
    assert all("too small on average" in (one.problem or "") for one in wrong)


@pytest.mark.parametrize("case", ["rows: many", "rows: of a prompt"])
def test_a_small_element_that_is_lost_among_large_ones(case: str) -> None:
    """By the norm it may be as far off as it is small."""

    def silu_mul(gate_up: Tensor) -> Tensor:
        y = reference("silu_mul").function(gate_up)
        if y.numel():
            y.view(-1)[y.abs().argmin()] = 0
        return y

    assert case in {one.case for one in found_wrong("silu_mul", silu_mul, dtype=torch.bfloat16)}


@pytest.mark.parametrize("op", ["silu_mul", "rms_norm", "linear"])
def test_an_element_that_is_never_written(op: str) -> None:
    """New memory was that of an earlier result, and held the right number."""
    recycled: dict[torch.Size, Tensor] = {}

    def but_the_last(right: Tensor) -> Tensor:
        y = right.new_empty(right.shape)
        if not y.isnan().all():  # memory is as it was, and what was there last is the same result
            y.copy_(recycled.setdefault(right.shape, right))
        y.view(-1)[:-1] = right.view(-1)[:-1]
        return y

    def compute(*arguments: Any) -> Tensor:
        return but_the_last(reference(op).function(*arguments))

    class Linear(ReferenceLinear):
        def __call__(self, x: Tensor) -> Tensor:
            return but_the_last(super().__call__(x))

    wrong = found_wrong(op, Linear if op == "linear" else compute)
    assert not torch.are_deterministic_algorithms_enabled()
    assert len(wrong) == sum("none" not in name for name in spec_of(op).cases)


def test_threads_that_are_wrong_in_one_call_of_eight() -> None:
    """A kernel of one's own is called often enough to see it."""
    calls = 0

    def silu_mul(gate_up: Tensor) -> Tensor:
        nonlocal calls
        calls += 1
        y = reference("silu_mul").function(gate_up)
        if calls % 8 == 0:
            y[:1] = 0
        return y

    wrong = found_wrong("silu_mul", silu_mul, repeats=None)
    assert len(wrong) == len(spec_of("silu_mul").cases) - 1  # one has no rows
    assert all("(in call 8 of 20 with the same inputs)" in one.sentence for one in wrong[:1])


@pytest.mark.parametrize("op", ["add_rms_norm", "rope_cache_write", "paged_attention"])
def test_calls_that_change_what_they_may_are_repeated_as_the_first_was(op: str) -> None:
    right = reference(op).function

    def compute(*arguments: Any) -> Any:
        found = right(*arguments)
        if op != "paged_attention":
            arguments[0].fill_(9)  # which may be overwritten
        return found

    assert found_wrong(op, compute, repeats=3) == []
