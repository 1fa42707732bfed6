"""Sampling in PyTorch. No row's result may depend on how many there are, so sums along the
vocabulary are running sums: `sum` is cut in other places when the number of rows is another."""

from __future__ import annotations

import torch
from torch import Tensor

from ..reference.sample import NO_TOKEN
from ..registry import implements, on_cpu


@implements("sample", backend="torch")
def sample(
    logits: Tensor,
    temperature: Tensor,
    top_k: Tensor | None,
    top_p: Tensor | None,
    min_p: Tensor | None,
    uniform: Tensor,
) -> Tensor:
    """As the reference, in float32, on any device and without waiting for it; sorts where top-k or
    top-p is asked for."""
    largest, likeliest = logits.max(-1)
    # A greedy row is drawn at temperature 1 and then replaced.
    divisors = torch.where(temperature == 0, 1.0, temperature)
    probabilities = (logits.float() / divisors[:, None]).softmax(-1)
    if min_p is not None:
        least = min_p * probabilities.amax(-1)
        probabilities = probabilities.masked_fill(probabilities < least[:, None], 0)
    if top_k is not None or top_p is not None:
        outside = _outside_by_sorting(probabilities, top_k, top_p)
        probabilities = probabilities.masked_fill(outside, 0)
    drawn = _invert(probabilities, uniform)
    tokens = torch.where(temperature == 0, likeliest, drawn)
    return tokens.masked_fill(~torch.isfinite(largest), NO_TOKEN)


@implements("sample", backend="torch-cpu", when=on_cpu, priority=100)
def sample_on_cpu(
    logits: Tensor,
    temperature: Tensor,
    top_k: Tensor | None,
    top_p: Tensor | None,
    min_p: Tensor | None,
    uniform: Tensor,
) -> Tensor:
    """As the reference, in float32. Looks at what each row asks for, and sorts only the few tokens
    that top-k or top-p may keep."""
    largest, tokens = logits.max(-1)
    finite = torch.isfinite(largest)
    rows = (finite & (temperature > 0)).nonzero()[:, 0]
    if len(rows):
        scores = logits if len(rows) == len(logits) else logits[rows]
        probabilities = (scores.float() / temperature[rows, None]).softmax(-1)
        for index, row in enumerate(rows.tolist()):
            k = 0 if top_k is None else int(top_k[row])
            p = 1.0 if top_p is None else float(top_p[row])
            least = 0.0 if min_p is None else float(min_p[row])
            if k or p < 1 or least:
                _filter_row(probabilities[index], k, p, least)
        tokens[rows] = _invert_on_cpu(probabilities, uniform[rows])
    return tokens.masked_fill(~finite, NO_TOKEN)


def _targets(running: Tensor, uniform: Tensor) -> Tensor:
    """What the running sum must exceed, float32 [rows, 1]."""
    total = running[:, -1]
    # Rounded, u · total may be the total itself, which no running sum is above.
    return torch.minimum(uniform * total, total.nextafter(torch.zeros_like(total)))[:, None]


def _invert(weights: Tensor, uniform: Tensor) -> Tensor:
    """The first index of some weight whose running sum is above `uniform` of the whole, int64
    [rows]. weights: float32 [rows, vocab], 0 or more.

    A device adds in parallel, so where nothing is added sums may differ in their last bit.
    """
    running = weights.cumsum(-1)
    above = (running > _targets(running, uniform)) & (weights > 0)
    found = above.to(torch.uint8).argmax(-1)
    return torch.where(above.any(-1), found, weights.argmax(-1))


def _invert_on_cpu(weights: Tensor, uniform: Tensor) -> Tensor:
    """The same where sums are made one after the other and so never fall."""
    running = weights.cumsum(-1)
    found = torch.searchsorted(running, _targets(running, uniform), right=True)[:, 0]
    return found.clamp_max(weights.shape[-1] - 1)  # a row of NaN


def _outside_by_sorting(
    probabilities: Tensor, top_k: Tensor | None, top_p: Tensor | None
) -> Tensor:
    """What top-k and top-p drop, bool [rows, vocab]."""
    vocab = probabilities.shape[-1]
    ordered, order = probabilities.sort(dim=-1, descending=True, stable=True)
    dropped = torch.zeros_like(ordered, dtype=torch.bool)
    if top_k is not None:
        asked = torch.where(top_k == 0, vocab, top_k).clamp_max(vocab).long()
        dropped = ordered < ordered.gather(-1, asked[:, None] - 1)
    if top_p is not None:
        running = ordered.masked_fill(dropped, 0).cumsum(-1)
        before = running - ordered
        beyond = before >= (top_p * running[:, -1])[:, None]
        dropped |= beyond & (top_p < 1)[:, None]
        dropped[:, 0] = False
    return torch.zeros_like(dropped).scatter_(-1, order, dropped)


def _filter_row(row: Tensor, top_k: int, top_p: float, min_p: float) -> None:
    """Set what may not come to 0. row: float32 [vocab], probabilities."""
    if min_p:
        row.masked_fill_(row < min_p * row.max(), 0)
    if 0 < top_k < len(row):
        row.masked_fill_(row < row.topk(top_k).values[-1], 0)
    if top_p < 1:
        _filter_nucleus(row, top_p)


def _filter_nucleus(row: Tensor, top_p: float) -> None:
    """Tokens of at most (1 - top_p) / vocab of the whole each hold no more than 1 - top_p even if
    all were such, so they go first. The others are weighed in bins of equal leading bits, which
    order like the numbers, and only the bin that the border lies in is sorted."""
    total = row.cumsum(-1)[-1]
    possible = (row > (1 - top_p) / len(row) * total) | (row == row.max())
    candidates = possible.nonzero()[:, 0]
    values = row[candidates]
    target = top_p * float(total)
    bins = values.view(torch.int32) >> 16
    bins -= bins.min()
    mass = torch.bincount(bins, weights=values.double())
    through = mass.flip(0).cumsum(0).flip(0)
    whole = (through < target)[bins]
    border = int(((through - mass) < target).nonzero()[0])
    tied = (bins == border).nonzero()[:, 0]
    ordered, order = values[tied].sort(descending=True, stable=True)
    before = ordered.double().cumsum(-1) - ordered + (through - mass)[border]
    whole[tied[order]] = before < target
    chosen = candidates[whole]
    row.zero_()[chosen] = values[whole]
