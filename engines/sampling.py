"""From logits to tokens. A request's tokens do not depend on what shares its batch.

The order is vLLM's (`vllm/v1/sample/sampler.py`): penalties (repetition, then frequency and
presence), temperature, min-p, top-k, top-p, and then the draw. A greedy choice is taken after the
penalties; what follows them never removes the likeliest token. Log-probabilities are of the
logits before all of it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache

import torch
from torch import Tensor

from ..kernels.registry import select
from .api import SamplingParams, TokenLogprobs


@dataclass(frozen=True, slots=True)
class Draw:
    """One token to choose: how, and its place in the output (the random stream's position).

    choice: which of the request's n outputs. prompt_token_ids, output_token_ids: the tokens
    before this one; read only where the sampling has penalties, and may be left out elsewhere.
    """

    sampling: SamplingParams
    output_index: int
    choice: int = 0
    prompt_token_ids: Sequence[int] = ()
    output_token_ids: Sequence[int] = ()


@dataclass(frozen=True, slots=True)
class Sampled:
    """A chosen token; logprobs where the draw's sampling asks for them."""

    token_id: int
    logprobs: TokenLogprobs | None = None


def sample(
    logits: Tensor, draws: Sequence[Draw], rows: Sequence[int] | None = None
) -> list[Sampled]:
    """One token a draw. logits: [rows, vocab] on any device.

    rows: the row of `logits` that each draw reads, so that n outputs of a prompt share one; None
    where draw i reads row i. A batch that is greedy, with no penalty and no logprobs, costs one
    argmax and one host copy.
    """
    rows = range(len(draws)) if rows is None else rows
    likeliest: list[int] = _argmax(logits.device, logits.dtype)(logits).tolist()
    tokens = [likeliest[row] for row in rows]
    shaped = [
        index
        for index, draw in enumerate(draws)
        if draw.sampling.temperature > 0 or draw.sampling.has_penalties
    ]
    if shaped:
        read = list(dict.fromkeys(rows[index] for index in shaped))
        host = dict(zip(read, logits[read].float().cpu(), strict=True))
        for index in shaped:
            scores = processed_scores(host[rows[index]], draws[index])
            tokens[index] = _choose(scores, draws[index])
    logprobs = _logprobs(logits, draws, rows, tokens)
    return [Sampled(token, logprobs.get(index)) for index, token in enumerate(tokens)]


@cache
def _argmax(device: torch.device, dtype: torch.dtype) -> Callable[[Tensor], Tensor]:
    return select("argmax", device, dtype).function


def processed_scores(logits: Tensor, draw: Draw) -> Tensor:
    """What `draw` is made from: float32 scores [vocab] whose softmax is the distribution, minus
    infinity where a token may not come. logits: [vocab], left as it is.

    Greedy sampling has no distribution: its scores are the penalised logits.
    """
    sampling = draw.sampling
    scores = logits.float()
    if sampling.has_penalties:
        scores = _penalised(scores, draw)
    if sampling.temperature == 0:
        return scores
    scores = scores / sampling.temperature
    if sampling.min_p > 0:
        scores = _min_p(scores, sampling.min_p)
    if 0 < sampling.top_k < scores.numel():
        least = torch.topk(scores, sampling.top_k).values[-1]
        scores = scores.masked_fill(scores < least, -torch.inf)
    if sampling.top_p < 1:
        scores = _top_p(scores, sampling.top_p)
    return scores


def _penalised(scores: Tensor, draw: Draw) -> Tensor:
    """See `SamplingParams` for each penalty's definition and source."""
    sampling = draw.sampling
    scores = scores.clone()
    output = torch.tensor(draw.output_token_ids, dtype=torch.int64)
    produced, times = output.unique(return_counts=True)
    if sampling.repetition_penalty != 1:
        prompt = torch.tensor(draw.prompt_token_ids, dtype=torch.int64)
        seen = torch.cat((prompt, produced)).unique()
        old, penalty = scores[seen], sampling.repetition_penalty
        scores[seen] = torch.where(old > 0, old / penalty, old * penalty)
    scores[produced] -= sampling.frequency_penalty * times + sampling.presence_penalty
    return scores


def _min_p(scores: Tensor, min_p: float) -> Tensor:
    probabilities = scores.softmax(dim=-1)
    return scores.masked_fill(probabilities < min_p * probabilities.max(), -torch.inf)


def _top_p(scores: Tensor, top_p: float) -> Tensor:
    """Drops the unlikeliest while they hold no more than 1 - top_p together.

    Tokens of at most (1 - top_p) / vocab each hold no more than that even if all were such, so
    they go without being sorted: nearly the whole vocabulary. Summed from the small end, which
    float32 needs where top_p is near 1.
    """
    probabilities = scores.softmax(dim=-1)
    dropped = probabilities <= (1 - top_p) / probabilities.numel()
    dropped[probabilities.argmax()] = False
    kept = ~dropped
    rest = kept.nonzero()[:, 0]
    ordered, order = probabilities[rest].sort()
    mass = ordered.cumsum(dim=-1) + probabilities.masked_fill(kept, 0).sum()
    dropped[rest[order[:-1]]] = mass[:-1] <= 1 - top_p
    return scores.masked_fill(dropped, -torch.inf)


def _choose(scores: Tensor, draw: Draw) -> int:
    """One token from its scores, float32 on the host."""
    sampling = draw.sampling
    if sampling.temperature == 0:
        return int(scores.argmax())
    stream = _stream(sampling.seed, draw.choice, draw.output_index)
    generator = torch.Generator().manual_seed(stream)
    return int(torch.multinomial(scores.softmax(dim=-1), 1, generator=generator))


def _stream(seed: int, choice: int, output_index: int) -> int:
    """The generator's seed for each output position of each choice of a seed.

    The position decides, not how often the generator was called, so a recomputed request goes
    on where it was. The multipliers are the odd constants of SplitMix64 (Steele et al., OOPSLA
    2014): they keep streams apart in 64 bits and in the low 32, all that torch's CPU generator
    (MT19937) takes of its seed.
    """
    stream = int(seed) * 0x9E3779B97F4A7C15 + choice * 0xBF58476D1CE4E5B9 + output_index
    return stream & 0x7FFFFFFFFFFFFFFF


def _logprobs(
    logits: Tensor, draws: Sequence[Draw], rows: Sequence[int], tokens: Sequence[int]
) -> dict[int, TokenLogprobs]:
    """For each draw that asks for them, by its index.

    Draws that ask for the same k go together: which of several equal tokens are among the k
    likeliest may depend on k, and so must not depend on what others ask for.
    """
    asked: dict[int, list[int]] = {}
    for index, draw in enumerate(draws):
        if draw.sampling.logprobs is not None:
            asked.setdefault(draw.sampling.logprobs, []).append(index)
    found: dict[int, TokenLogprobs] = {}
    for count, indices in asked.items():
        raw = logits[[rows[index] for index in indices]].float().log_softmax(dim=-1)
        chosen_ids = torch.tensor([tokens[index] for index in indices], device=raw.device)
        chosen = raw.gather(1, chosen_ids[:, None])
        ranks = (raw >= chosen).sum(dim=-1).tolist()
        top = raw.topk(min(count, raw.shape[-1]), dim=-1)
        rivals = zip(top.indices.tolist(), top.values.tolist(), strict=True)
        for index, logprob, rank, (ids, values) in zip(
            indices, chosen[:, 0].tolist(), ranks, rivals, strict=True
        ):
            ordered = sorted(zip(ids, values, strict=True), key=lambda one: (-one[1], one[0]))
            found[index] = TokenLogprobs(logprob, rank, tuple(ordered))
    return found
