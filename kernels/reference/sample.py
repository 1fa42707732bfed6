"""From logits to tokens: filters, then the inverse of the distribution function.

The order is vLLM's (`vllm/v1/sample/sampler.py`): temperature, min-p, top-k, top-p. Sources: Fan et
al., "Hierarchical Neural Story Generation", 2018 (top-k); Holtzman et al., "The Curious Case of
Neural Text Degeneration", 2020 (top-p); Nguyen et al., "Turning Up the Heat", 2024 (min-p);
Devroye, "Non-Uniform Random Variate Generation", 1986, section III.2 (inversion).
"""

from __future__ import annotations

import torch
from torch import Tensor

from ..registry import implements

NO_TOKEN = -1
# Float32's least normal number: a device may take less for 0, of which no token may come.
LEAST_TOP_P = torch.finfo(torch.float32).tiny


@implements("sample", backend="reference", priority=-100)
def sample(
    logits: Tensor,
    temperature: Tensor,
    top_k: Tensor | None,
    top_p: Tensor | None,
    min_p: Tensor | None,
    uniform: Tensor,
) -> Tensor:
    """One token a row, int64 [rows]: the first whose cumulative probability, in the vocabulary's
    order and over what `kept` keeps, is above `uniform`. Where temperature is 0, the likeliest,
    the first of several.

    logits: floating [rows, vocab]. temperature float32 [rows], 0 or more and finite. top_k int32
    [rows], 0: off. top_p float32 [rows], LEAST_TOP_P to 1, 1: off. min_p float32 [rows] in [0, 1],
    0: off. None: off in every row. uniform float32 [rows] in [0, 1).
    A row that has a NaN, an infinity, or nothing above minus infinity gives NO_TOKEN, -1; minus
    infinity is a token that may not come. A row's token depends on no other row.
    """
    tokens = torch.full((len(logits),), NO_TOKEN, dtype=torch.int64, device=logits.device)
    for row, scores in enumerate(logits.double()):
        if not bool(torch.isfinite(scores.max())):  # max propagates NaN
            continue
        if temperature[row] == 0:
            tokens[row] = scores.argmax()
            continue
        probabilities = (scores / temperature[row].double()).softmax(-1)
        mask = kept(
            probabilities,
            0 if top_k is None else int(top_k[row]),
            1.0 if top_p is None else float(top_p[row]),
            0.0 if min_p is None else float(min_p[row]),
        )
        cumulative = probabilities.masked_fill(~mask, 0).cumsum(-1)
        tokens[row] = int((cumulative > uniform[row].double() * cumulative[-1]).nonzero()[0])
    return tokens


def kept(probabilities: Tensor, top_k: int, top_p: float, min_p: float) -> Tensor:
    """Which tokens may come, bool [vocab]. probabilities: float64 [vocab], after temperature.

    min-p: those of at least min_p times the largest. top-k: of these, the k likeliest, and what is
    as likely as the k-th. top-p: of these, the fewest of the likeliest that together reach top_p
    of them all; of equally likely ones the first in the vocabulary's order.
    """
    mask = probabilities >= min_p * probabilities.max()
    if 0 < top_k < len(probabilities):
        mask &= probabilities >= probabilities.masked_fill(~mask, 0).topk(top_k).values[-1]
    if top_p < 1:
        ordered, order = probabilities.masked_fill(~mask, 0).sort(descending=True, stable=True)
        before = ordered.cumsum(-1) - ordered
        mask = torch.zeros_like(mask)
        mask[order] = (before < top_p * ordered.sum()) & (ordered > 0)
    return mask
