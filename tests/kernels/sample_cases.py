"""What to sample from; run as a module, it checks Triton's kernel on it.

A token that differs from the reference's is right if what separates the two is a rounding error:
the token's share of the line from 0 to 1 comes within TOLERANCE of `uniform`, and within it a token
at the border of what top-k, top-p or min-p keep may be in or out.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch
from llmbench.kernels.reference.sample import kept
from llmbench.kernels.reference.sample import sample as reference
from torch import Tensor

from .triton_checks import report

TOLERANCE = 2e-6
Sample = Callable[..., Tensor]


@dataclass(frozen=True)
class Case:
    """Rows alternate between what is given here and nothing, so that both share a batch."""

    vocab: int
    top_k: int | None = None
    top_p: float | None = None
    min_p: float | None = None
    temperature: float = 0.8
    spread: float = 3.0
    dtype: str = "float32"
    rows: int = 3


CASES = {
    "temperature": Case(97),
    "one token": Case(1, top_k=1, top_p=0.5, min_p=0.5),
    "two blocks": Case(5000),
    "ties": Case(300, top_k=7, dtype="bfloat16", spread=0.3),
    "top-k": Case(100, top_k=5),
    "top-k beyond the vocabulary": Case(20, top_k=99),
    "top-p": Case(130, top_p=0.7),
    "top-p, nearly all": Case(130, top_p=0.9999, spread=1.0),
    "top-p, hardly any": Case(130, top_p=1e-6),
    "min-p": Case(64, min_p=0.05),
    "all three": Case(1000, top_k=60, top_p=0.9, min_p=0.02, temperature=1.4),
    "greedy": Case(50, top_k=3, temperature=0.0),
    "float16": Case(40, top_k=8, top_p=0.8, dtype="float16"),
    "blocks of ties": Case(9000, top_p=0.5, dtype="bfloat16", spread=0.1),
    "blocks, all three": Case(9000, top_k=900, top_p=0.8, min_p=1e-3, dtype="float16", spread=1.0),
    "blocks of float32": Case(9000, top_k=8000, top_p=0.99999, spread=1.0),
}


def check_case(sample: Sample, case: Case) -> None:
    dtype = getattr(torch, case.dtype)
    logits = (case.spread * torch.randn(case.rows, 2 * case.vocab)).to(dtype)[:, : case.vocab]
    logits[0, case.vocab // 3] = -torch.inf if case.vocab > 1 else 0
    odd = torch.arange(case.rows) % 2 == 1
    temperature = torch.where(odd, 1.0, case.temperature)
    filters = (
        None if case.top_k is None else torch.where(odd, 0, case.top_k).int(),
        None if case.top_p is None else torch.where(odd, 1.0, case.top_p),
        None if case.min_p is None else torch.where(odd, 0.0, case.min_p),
    )
    uniform = torch.rand(case.rows)
    uniform[1], uniform[2] = 0, 1 - 2.0**-24
    tokens = sample(logits, temperature, *filters, uniform)
    assert tokens.dtype == torch.int64
    expected = reference(logits, temperature, *filters, uniform)
    for row in (tokens != expected).nonzero()[:, 0].tolist():
        assert temperature[row] > 0
        off = tuple(None if one is None else one[row].item() for one in filters)
        check_within_rounding(logits[row], temperature[row], off, uniform[row], tokens[row])


def check_within_rounding(
    logits: Tensor, temperature: Tensor, filters: tuple, uniform: Tensor, token: Tensor
) -> None:
    top_k, top_p, min_p = filters
    probabilities = (logits.double() / temperature.double()).softmax(-1)
    spans = []
    for shift in (-TOLERANCE, 0.0, TOLERANCE):
        p = 1.0 if top_p is None or top_p == 1 else min(1.0, max(top_p + shift, 1e-12))
        m = 0.0 if not min_p else min_p + shift
        weights = probabilities.masked_fill(~kept(probabilities, top_k or 0, p, m), 0)
        if weights[token] > 0:
            line = weights.cumsum(-1) / weights.sum()
            end = float(line[token])
            spans.append((end - float(weights[token] / weights.sum()), end))
    assert spans, f"token {int(token)} may not come"
    u = float(uniform)
    assert any(low - TOLERANCE <= u <= high + TOLERANCE for low, high in spans), (u, spans)


def check_rows_without_numbers(sample: Sample) -> None:
    inf, nan = torch.inf, torch.nan
    logits = torch.tensor(
        [[1.0, nan, 0.0], [1.0, inf, 0.0], [-inf] * 3, [0.0, -inf, -inf], [-inf, -inf, 5.0]]
    )
    for temperature in (0.0, 1.0):
        tokens = sample(
            logits, torch.full((5,), temperature), None, torch.full((5,), 0.5), None, torch.rand(5)
        )
        assert tokens.tolist() == [-1, -1, -1, 0, 2]


def check_ties(sample: Sample) -> None:
    """Of equals the first stay under top-p, and all of them under top-k."""
    logits = torch.zeros(8, 8)
    logits[:, 6] = 1.0
    # e of e + 7 is 0.28; 0.28 + 2/9.72 = 0.485 is less than 0.5, one more is not.
    half, uniform = torch.full((8,), 0.5), (torch.arange(8) + 0.5) / 8
    ones = torch.ones(8)
    chosen = sample(logits, ones, None, half, None, uniform)
    assert set(chosen.tolist()) == {0, 1, 2, 6}
    chosen = sample(logits[:3], ones[:3], 3 * ones[:3].int(), None, None, uniform[[0, 4, 7]])
    assert chosen.tolist()[::2] == [0, 7]
    assert sample(torch.zeros(1, 9), torch.zeros(1), None, None, None, half[:1]).tolist() == [0]


def check_zeros_of_both_signs(sample: Sample) -> None:
    logits = torch.tensor([[-0.0, 0.0, -0.0, -1.0]])
    ones = torch.ones(3)
    uniform = torch.tensor([0.2, 0.5, 0.9])
    chosen = sample(logits.expand(3, 4), ones, ones.int(), None, None, uniform)
    assert chosen.tolist() == [0, 1, 2]


def check_temperatures_at_the_ends(sample: Sample) -> None:
    """The coldest choose the likeliest, the hottest evenly, whatever the filters compute with."""
    logits = torch.tensor([[0.0, 3.0, 1.0, -torch.inf]]).expand(4, 4)
    # On both sides of a third and of two: a row takes Triton's interpreter a tenth of a second.
    uniform, top_p = torch.tensor([5, 7, 9, 11]) / 16, torch.full((4,), 0.999)
    for temperature, expected in (
        (1e-40, [1] * 4),
        (1e-6, [1] * 4),
        (1e30, [0, 1, 1, 2]),
    ):
        warm = torch.full((4,), temperature)
        for filters in (
            (None, None, None),
            (None, top_p, None),
            (3 * torch.ones(4).int(), None, None),
        ):
            assert sample(logits, warm, *filters, uniform).tolist() == expected


def check_the_least_numbers(sample: Sample) -> None:
    """Tokens masked with a dtype's least number are tokens: top-k keeps those that it reaches."""
    uniform = (torch.arange(4) + 0.5) / 4
    for dtype in (torch.float32, torch.bfloat16):
        least = torch.finfo(dtype).min
        logits = torch.tensor([[least, least, 2.0, least]]).to(dtype).expand(4, 4)
        hot = torch.full((4,), 1e38)
        for k in (0, 2, 3, 4):
            top_k = torch.full((4,), k).int()
            found = sample(logits, hot, top_k, None, None, uniform).tolist()
            expected = reference(logits, hot, top_k, None, None, uniform).tolist()
            assert found == expected, (dtype, k)
        one = sample(logits, hot, torch.ones(4).int(), None, None, uniform)
        assert one.tolist() == [2] * 4


# Where PyTorch's sampling in float32 runs out of range.
AT_THE_ENDS = {
    "temperatures at the ends": check_temperatures_at_the_ends,
    "a dtype's least numbers": check_the_least_numbers,
}
CHECKS = {
    "rows without numbers": check_rows_without_numbers,
    "ties by hand": check_ties,
    "zeros of both signs": check_zeros_of_both_signs,
}

if __name__ == "__main__":
    from llmbench.kernels.triton.sample import sample as triton_sample

    torch.manual_seed(torch.seed())
    checks: dict[str, Callable[[], None]] = {
        name: partial(check_case, triton_sample, case) for name, case in CASES.items()
    }
    checks |= {
        name: partial(check, triton_sample) for name, check in {**CHECKS, **AT_THE_ENDS}.items()
    }
    report(checks)
