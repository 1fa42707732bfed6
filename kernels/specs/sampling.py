"""Trying `argmax` and `sample`: a token is right or wrong, so nothing here lies on a border."""

from __future__ import annotations

from dataclasses import dataclass
from math import exp, inf, nan

import torch
from torch import Tensor

from ..reference.sample import LEAST_TOP_P, kept
from .closeness import Difference, exactly
from .spec import Call, Draw, ModelShape, OpSpec, StepShape, Work, nbytes

# Logits are multiples of it: equal, or too far apart for a rounding to swap them.
STEP = 1 / 64
# Shares of the distribution that rounding in float32 does not cross.
MARGIN = 2e-5


@dataclass(frozen=True)
class ArgmaxCase:
    """special: rows with NaN, infinities and zeros of both signs. strided: vocabulary last but
    not contiguous."""

    rows: int
    vocab: int
    special: bool = False
    strided: bool = False


@dataclass(frozen=True)
class SampleCase:
    """Of every two rows one has the filters, the other has none. top_p and min_p are moved to the
    nearest place between two tokens, but for a top_p below MARGIN: the likeliest has more. broken:
    three rows have no distribution."""

    rows: int
    vocab: int
    temperature: float = 0.8
    top_k: int | None = None
    top_p: float | None = None
    min_p: float | None = None
    spread: float = 3.0
    broken: bool = False


def _make_argmax(case: ArgmaxCase, draw: Draw) -> Call:
    # Few different numbers, so that the largest comes more than once.
    logits = draw.integers(-9, 10, case.rows, case.vocab).to(draw.dtype)
    if case.special:
        logits[0, [2, -1]] = nan
        logits[0, 1] = inf
        logits[1, [3, -2]] = inf
        logits[2] = -inf
        logits[3] = -0.0
        logits[3, 4:] = 0.0
    logits = draw.beside_poison(logits)
    if case.strided:
        logits = logits.T.contiguous().T
    return Call((logits,), kept={"logits": logits})


def _make_sample(case: SampleCase, draw: Draw) -> Call:
    scores = case.spread * draw.normal(case.rows, case.vocab, dtype=torch.float32)
    # Rows apart, as in logits that were padded.
    room = draw.poison(case.rows, case.vocab + 3)
    room[:, : case.vocab] = (scores / STEP).round() * STEP
    logits = room[:, : case.vocab]
    if case.vocab > 1:
        logits[:, case.vocab // 3] = -inf
    if case.broken:
        logits[0, 1], logits[1, 2], logits[2] = nan, inf, -inf
    filtered = torch.arange(case.rows, device=draw.device) % 2 == 0
    temperature = torch.where(filtered, case.temperature, 1.0)
    top_k = None if case.top_k is None else torch.where(filtered, case.top_k, 0).int()
    min_p = None
    if case.min_p is not None:
        min_p = torch.where(filtered, _between_steps(case.min_p, case.temperature), 0.0)
    top_p = None if case.top_p is None else torch.ones(case.rows, device=draw.device)
    uniform = draw.uniform(case.rows)
    for row in range(case.rows):
        if temperature[row] == 0 or not bool(torch.isfinite(logits[row].max())):
            continue
        probabilities = (logits[row].double() / temperature[row].double()).softmax(-1)
        k = 0 if top_k is None else int(top_k[row])
        least = 0.0 if min_p is None else float(min_p[row])
        if case.top_p is not None and top_p is not None and filtered[row]:
            weights = probabilities.masked_fill(~kept(probabilities, k, 1.0, least), 0)
            weights = weights.sort(descending=True, stable=True).values
            top_p[row] = case.top_p if case.top_p < MARGIN else _inside(weights, case.top_p)
        p = 1.0 if top_p is None else float(top_p[row])
        weights = probabilities.masked_fill(~kept(probabilities, k, p, least), 0)
        uniform[row] = _inside(weights, float(uniform[row]))
    inputs = {"logits": room, "temperature": temperature, "uniform": uniform}
    filters = {"top_k": top_k, "top_p": top_p, "min_p": min_p}
    return Call(
        (logits, temperature, top_k, top_p, min_p, uniform),
        kept=inputs | {name: one for name, one in filters.items() if one is not None},
    )


def _between_steps(min_p: float, temperature: float) -> float:
    """Near min_p, and between the shares of the largest that logits on STEP's grid can have."""
    step, share = STEP / temperature, 1.0
    places = 0
    while share * exp(-step) > min_p:
        share *= exp(-step)
        places += 1
    return exp(-(places + 0.5) * step)


def _inside(weights: Tensor, share: float) -> float:
    """The middle of what the weight holds, of them all, that `share` falls into; of the largest
    weight where that one is too narrow for float32. weights: float64 [vocab]."""
    ends = weights.cumsum(-1)
    found = int((ends > share * ends[-1]).nonzero()[0])
    if float(weights[found] / ends[-1]) < 2 * MARGIN:
        found = int(weights.argmax())
    return float((ends[found] - weights[found] / 2) / ends[-1])


def _compare(_call: Call, _name: str, actual: Tensor, expected: Tensor) -> Difference:
    return exactly(actual, expected)


def _argmax_work(case: ArgmaxCase, dtype: torch.dtype) -> Work:
    return Work(nbytes(dtype, case.rows * case.vocab) + nbytes(torch.int64, case.rows), 0)


def _sample_work(case: SampleCase, dtype: torch.dtype) -> Work:
    """Beside the logits, four bytes a row for temperature, uniform and each filter."""
    given = 2 + sum(one is not None for one in (case.top_k, case.top_p, case.min_p))
    moved = nbytes(dtype, case.rows * case.vocab) + case.rows * (4 * given + 8)
    return Work(moved, 0)


def _rows(step: StepShape) -> int:
    """A prompt's last token alone is sampled from."""
    return 1 if step.prompt else step.batch


def _argmax_of_model(model: ModelShape, step: StepShape) -> dict[str, ArgmaxCase]:
    return {"logits": ArgmaxCase(_rows(step), model.vocab)}


def _sample_of_model(model: ModelShape, step: StepShape) -> dict[str, SampleCase]:
    rows, vocab = _rows(step), model.vocab
    return {
        "temperature": SampleCase(rows, vocab),
        "top-p": SampleCase(rows, vocab, top_p=0.9),
        "top-k, top-p": SampleCase(rows, vocab, top_k=50, top_p=0.9),
    }


_ARGMAX = {
    "rows: none": ArgmaxCase(0, 16),
    **{f"vocabulary: {size}": ArgmaxCase(5, size) for size in (1, 31, 256, 257, 700, 49152)},
    "rows: many": ArgmaxCase(130, 33),
    "numbers: none of the plain": ArgmaxCase(6, 70, special=True),
    "logits: strided": ArgmaxCase(6, 70, strided=True),
    "logits: strided, none of the plain": ArgmaxCase(6, 70, special=True, strided=True),
}
_SAMPLE = {
    "temperature: below one": SampleCase(5, 97),
    "temperature: above one": SampleCase(5, 97, temperature=1.7),
    "temperature: greedy and not": SampleCase(4, 50, temperature=0.0, top_k=3),
    "vocabulary: one token": SampleCase(2, 1, top_k=1, top_p=0.5),
    "vocabulary: two blocks": SampleCase(3, 5000),
    "vocabulary: of a model": SampleCase(3, 49152),
    "rows: none": SampleCase(0, 16),
    "rows: one": SampleCase(1, 300, top_p=0.8),
    "rows: many": SampleCase(33, 40, top_k=8, top_p=0.8),
    "rows: without numbers": SampleCase(5, 20, top_k=4, broken=True),
    "top-k: few": SampleCase(3, 100, top_k=5),
    "top-k: few of a model's": SampleCase(3, 49152, top_k=50),
    "top-k: many of a model's": SampleCase(3, 49152, top_k=1000),
    "top-k: ties": SampleCase(3, 300, top_k=7, spread=0.1),
    "top-k: beyond the vocabulary": SampleCase(3, 20, top_k=99),
    "top-p: most": SampleCase(3, 130, top_p=0.7),
    "top-p: most of a model's": SampleCase(3, 49152, top_p=0.9, spread=1.0),
    "top-p: nearly all": SampleCase(3, 130, top_p=0.9999, spread=1.0),
    "top-p: hardly any": SampleCase(3, 130, top_p=1e-6),
    "top-p: the least": SampleCase(3, 130, top_p=LEAST_TOP_P),
    "min-p: few": SampleCase(3, 64, min_p=0.05),
    "all filters: wide": SampleCase(3, 1000, 1.4, 60, 0.9, 0.02),
    "all filters: small": SampleCase(3, 90, 0.9, 20, 0.9, 0.02),
}

ARGMAX = OpSpec(
    op="argmax",
    cases=_ARGMAX,
    tiny=("vocabulary: 31", "vocabulary: 257", "numbers: none of the plain"),
    make=_make_argmax,
    work=_argmax_work,
    of_model=_argmax_of_model,
    compare=_compare,
)
SAMPLE = OpSpec(
    op="sample",
    cases=_SAMPLE,
    tiny=(
        "temperature: below one",
        "temperature: greedy and not",
        "rows: without numbers",
        "top-k: few",
        "all filters: small",
    ),
    make=_make_sample,
    work=_sample_work,
    of_model=_sample_of_model,
    compare=_compare,
)
