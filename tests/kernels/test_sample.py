"""Every implementation of `sample`, and the reference against transformers' warpers."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest
import torch
from llmbench.kernels.pytorch.sample import _filter_nucleus
from llmbench.kernels.reference.sample import kept
from llmbench.kernels.registry import Implementation, implementations
from transformers.generation.logits_process import (
    MinPLogitsWarper,
    TemperatureLogitsWarper,
    TopKLogitsWarper,
    TopPLogitsWarper,
)

from .sample_cases import AT_THE_ENDS, CASES, CHECKS, Case, check_case
from .triton_checks import failures
from .triton_launches import TARGETS, launches

CPU = torch.device("cpu")
ON_CPU = [one for one in implementations("sample") if one.when(CPU, torch.bfloat16)]
NATIVE = [one for one in ON_CPU if one.name.startswith("native")]


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
    if not implementation.when(CPU, getattr(torch, CASES[case].dtype)):
        pytest.skip(f"{implementation.name} does not serve {CASES[case].dtype}")
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


# Where a vocabulary of many blocks is cut: flat and peaked, few tokens and nearly all.
MANY = {
    f"{name}, {spread}": replace(case, vocab=20_011, spread=spread, rows=4)
    for spread in (0.1, 1.0, 5.0)
    for name, case in {
        "nothing": Case(1),
        "top-k": Case(1, top_k=40),
        "top-k beyond the blocks": Case(1, top_k=2000, dtype="bfloat16"),
        "top-p": Case(1, top_p=0.9),
        "top-p, nearly all": Case(1, top_p=0.99999),
        "top-p of ties": Case(1, top_p=0.5, dtype="bfloat16"),
        "min-p": Case(1, min_p=0.1),
        "all three": Case(1, top_k=500, top_p=0.8, min_p=0.01),
    }.items()
}


@pytest.mark.parametrize("case", MANY)
@pytest.mark.parametrize("implementation", NATIVE, ids=lambda one: one.name)
def test_many_blocks(implementation: Implementation, case: str) -> None:
    check_case(implementation.function, MANY[case])


@pytest.mark.parametrize("implementation", NATIVE, ids=lambda one: one.name)
def test_tokens_come_as_often_as_they_are_likely(implementation: Implementation) -> None:
    """A grid of 4000 numbers between 0 and 1 meets each token 4000 times its share, give or take
    the two that its ends cut."""
    logits = torch.randn(1000)
    uniform = (torch.arange(4000) + 0.5) / 4000
    ones = torch.ones(4000)
    tokens = implementation.function(logits.expand(4000, 1000), ones, None, None, None, uniform)
    share = 4000 * logits.double().softmax(-1)
    assert bool(((tokens.bincount(minlength=1000) - share).abs() <= 1.01).all())


@pytest.mark.parametrize("implementation", NATIVE, ids=lambda one: one.name)
@pytest.mark.parametrize("temperature", [1e-40, 1e-6, 1e30])
def test_temperatures_at_the_ends(implementation: Implementation, temperature: float) -> None:
    """The coldest choose the likeliest, the hottest choose evenly."""
    logits = torch.tensor([[0.0, 3.0, 1.0, -math.inf]]).expand(8, 4)
    warm, uniform = torch.full((8,), temperature), (torch.arange(8) + 0.5) / 8
    tokens = implementation.function(logits, warm, None, None, None, uniform).tolist()
    assert tokens == ([1] * 8 if temperature < 1 else [0, 0, 0, 1, 1, 2, 2, 2])


@pytest.mark.parametrize("implementation", NATIVE, ids=lambda one: one.name)
def test_rows_and_numbers_may_lie_apart(implementation: Implementation) -> None:
    """Logits by columns, and numbers of the rows from a wider table."""
    logits, table = torch.randn(6, 300), torch.rand(6, 3)
    temperature, top_p, uniform = (column * 0.9 + 0.05 for column in table.unbind(1))
    expected = implementation.function(logits, temperature, None, top_p, None, uniform)
    apart = [torch.stack((one, one + 1), 1)[:, 0] for one in (temperature, top_p, uniform)]
    tokens = implementation.function(
        logits.T.contiguous().T, apart[0], None, apart[1], None, apart[2]
    )
    assert torch.equal(tokens, expected)


@pytest.mark.parametrize("implementation", NATIVE, ids=lambda one: one.name)
def test_the_threads_change_nothing(implementation: Implementation) -> None:
    logits, uniform = torch.randn(9, 5000), torch.rand(9)
    before, results = torch.get_num_threads(), []
    for count in (1, 2, 3):
        torch.set_num_threads(count)
        results.append(
            implementation.function(
                logits, torch.ones(9), None, torch.full((9,), 0.9), None, uniform
            )
        )
    torch.set_num_threads(before)
    assert torch.equal(results[0], results[1])
    assert torch.equal(results[0], results[2])


@pytest.fixture(scope="module")
def errors() -> dict[str, str]:
    return failures("sample_cases")


@pytest.mark.parametrize("case", [*CASES, *CHECKS, *AT_THE_ENDS])
def test_triton(case: str, errors: dict[str, str]) -> None:
    assert errors[case] == ""


@pytest.mark.parametrize(
    ("target", "dtype"),
    [*((target, "bfloat16") for target in TARGETS), ("sm_90", "float32"), ("sm_90", "float16")],
)
def test_it_compiles(target: str, dtype: str) -> None:
    """Without filters it is in `test_llama_launches.py`."""
    from llmbench.kernels.triton.sample import sample

    one = torch.ones(1)
    with launches("sample_kernel.sample_kernel") as seen:
        sample(torch.zeros(1, 128256).to(getattr(torch, dtype)), one, one.int(), one, one, one)
    assert seen[0].compile(target)


def test_another_number_of_requests_compiles_nothing() -> None:
    """Numbers of a step's rows lie behind each other: where, depends on how many there are."""
    from llmbench.kernels.triton.sample import sample

    with launches("sample_kernel.sample_kernel") as seen:
        for rows in range(1, 9):
            one, top_p, min_p, uniform = torch.ones(4, rows)
            sample(torch.zeros(rows, 64), one, torch.ones(rows).int(), top_p, min_p, uniform)
    assert len({launch.variant for launch in seen}) == 1
