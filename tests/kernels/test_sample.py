"""Every implementation of `sample`, and the reference against transformers' warpers."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from llmbench.kernels.cpu.sample import _filter_nucleus
from llmbench.kernels.reference.sample import kept
from llmbench.kernels.registry import Implementation, implementations
from transformers.generation.logits_process import (
    MinPLogitsWarper,
    TemperatureLogitsWarper,
    TopKLogitsWarper,
    TopPLogitsWarper,
)

from .compiled import TARGETS, launches
from .sample_cases import CASES, CHECKS, check_case
from .triton_checks import failures

CPU = torch.device("cpu")
ON_CPU = [one for one in implementations("sample") if one.when(CPU, torch.bfloat16)]


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize(
    ("top_k", "top_p", "min_p", "warpers"),
    [
        (13, 1.0, 0.0, [TopKLogitsWarper(13)]),
        (0, 0.9, 0.0, [TopPLogitsWarper(0.9)]),
        (0, 1e-6, 0.0, [TopPLogitsWarper(1e-6)]),
        (0, 0.9999, 0.0, [TopPLogitsWarper(0.9999)]),
        (0, 1.0, 0.05, [MinPLogitsWarper(0.05)]),
        (60, 0.95, 0.02, [MinPLogitsWarper(0.02), TopKLogitsWarper(60), TopPLogitsWarper(0.95)]),
    ],
)
def test_what_may_come_is_what_transformers_leaves(
    top_k: int, top_p: float, min_p: float, warpers: list[Any], seed: int
) -> None:
    logits = 3 * torch.randn(1000, generator=torch.Generator().manual_seed(seed)).double()
    expected = TemperatureLogitsWarper(1.4)(torch.zeros(1, 1).long(), logits[None])  # type: ignore[arg-type]
    for warper in warpers:
        expected = warper(torch.zeros(1, 1).long(), expected)
    mask = kept((logits / 1.4).softmax(-1), top_k, top_p, min_p)
    assert torch.equal(mask, expected[0].isfinite())


@pytest.mark.parametrize("top_p", [1e-9, 0.1, 0.5, 0.9, 0.99, 0.99999, 1 - 1e-12])
@pytest.mark.parametrize("spread", [0.0, 0.1, 1.0, 4.0, 30.0])
def test_the_nucleus_is_that_of_a_full_sort(top_p: float, spread: float) -> None:
    """float32 without sorting against float64 with it: the border may lie one token apart."""
    for row in (spread * torch.randn(4, 5000)).softmax(-1):
        wanted = kept(row.double(), 0, top_p, 0.0)
        found = row.clone()
        _filter_nucleus(found, top_p)
        mask = found > 0
        assert torch.equal(found[mask], row[mask])
        assert abs(float(row.double()[mask].sum() - row.double()[wanted].sum())) <= max(
            2e-6, float(row[mask].min())
        )
        assert bool(mask.all()) or row[mask].min() >= row[~mask].max()


@pytest.mark.parametrize("implementation", ON_CPU, ids=lambda one: one.name)
def test_a_line_by_hand(implementation: Implementation) -> None:
    """Shares 1/8, 1/2, 1/8, 1/4; top-k 2 leaves 2/3 and 1/3 of tokens 1 and 3."""
    logits = torch.tensor([0.125, 0.5, 0.125, 0.25]).log().expand(7, 4)
    uniform = torch.tensor([0.0, 0.12, 0.13, 0.62, 0.63, 0.74, 0.76])
    ones = torch.ones(7)
    drawn = implementation.function(logits, ones, None, None, None, uniform)
    assert drawn.tolist() == [0, 0, 1, 1, 2, 2, 3]
    drawn = implementation.function(logits, ones, 2 * ones.int(), None, None, uniform)
    assert drawn.tolist() == [1, 1, 1, 1, 1, 3, 3]


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("implementation", ON_CPU, ids=lambda one: one.name)
def test_on_cpu(implementation: Implementation, case: str) -> None:
    for _ in range(5):
        check_case(implementation.function, CASES[case])


@pytest.mark.parametrize("check", CHECKS)
@pytest.mark.parametrize("implementation", ON_CPU, ids=lambda one: one.name)
def test_on_cpu_by_hand(implementation: Implementation, check: str) -> None:
    CHECKS[check](implementation.function)


@pytest.mark.parametrize("implementation", ON_CPU, ids=lambda one: one.name)
@pytest.mark.parametrize("vocab", [97, 40_000])
def test_a_row_depends_on_no_other(implementation: Implementation, vocab: int) -> None:
    logits, uniform = torch.randn(5, vocab).bfloat16(), torch.rand(5)
    temperature = torch.tensor([1.0, 0.0, 0.5, 2.0, 1.0])
    top_k = torch.tensor([0, 5, 300, 0, 0]).int()
    top_p, min_p = torch.tensor([0.9, 0.9, 1.0, 0.999, 1.0]), torch.tensor([0, 0, 0, 1e-4, 0])
    together = implementation.function(logits, temperature, top_k, top_p, min_p, uniform)
    for row in range(5):
        alone = (
            part[row : row + 1] for part in (logits, temperature, top_k, top_p, min_p, uniform)
        )
        assert implementation.function(*alone).tolist() == [int(together[row])]


@pytest.fixture(scope="module")
def errors() -> dict[str, str]:
    return failures("sample_cases")


@pytest.mark.parametrize("case", [*CASES, *CHECKS])
def test_triton(case: str, errors: dict[str, str]) -> None:
    assert errors[case] == ""


@pytest.mark.parametrize("target", TARGETS)
def test_it_compiles(target: str) -> None:
    from llmbench.kernels.triton.sample import sample

    one = torch.ones(1)
    with launches("sample_kernel.sample_kernel") as seen:
        sample(torch.zeros(1, 128256).bfloat16(), one, one.int(), one, one, one)
    assert seen[0].compile(target)
