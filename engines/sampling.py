"""From logits to tokens. A request's tokens do not depend on what shares its batch.

The order is vLLM's (`vllm/v1/sample/sampler.py`): penalties (repetition, then frequency and
presence), and then the operation `sample`: temperature, min-p, top-k, top-p, the draw. A greedy
choice is taken after the penalties. Log-probabilities are of the logits before all of it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache

import torch
from torch import Tensor

from ..kernels.reference.sample import LEAST_TOP_P, NO_TOKEN
from ..kernels.registry import select
from .api import SamplingParams, TokenLogprobs
from .device import put_on

_BITS = 2**64 - 1
_FLOAT32_MAX = torch.finfo(torch.float32).max


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
    logits: Tensor,
    draws: Sequence[Draw],
    rows: Sequence[int] | None = None,
    force: Mapping[str, str] | None = None,
) -> list[Sampled]:
    """One token a draw. logits: [rows, vocab] on any device.

    rows: the row of `logits` that each draw reads, so that n outputs of a prompt share one; None
    where draw i reads row i. A batch without draws and penalties costs one argmax, any other one
    call of `sample`; either is read by one host copy, and log-probabilities by more.
    force: operation -> implementation, of `argmax` and `sample`.
    A row that is no distribution, greedy or drawn, gives NO_TOKEN and no logprobs.
    """
    rows = range(len(draws)) if rows is None else rows
    tokens = choose(logits, draws, rows, force).tolist()
    logprobs = _logprobs(logits, draws, rows, tokens)
    return [Sampled(token, logprobs.get(index)) for index, token in enumerate(tokens)]


def choose(
    logits: Tensor,
    draws: Sequence[Draw],
    rows: Sequence[int],
    force: Mapping[str, str] | None = None,
) -> Tensor:
    """As `sample`, the tokens alone: int64 [draws] on the logits' device, for which it does not
    wait but for draws that `why_on_host` names."""
    forced = force or {}
    if not all(_is_argmax(draw.sampling) for draw in draws):
        return _drawn(logits, draws, rows, forced.get("sample"))
    argmax = _kernel("argmax", logits.device, logits.dtype, forced.get("argmax"))
    return _picked(argmax(logits), rows)


def wants_argmax_only(draws: Sequence[Draw]) -> bool:
    """Whether nothing is asked of the logits but where each row's largest is."""
    return all(_is_argmax(draw.sampling) and draw.sampling.logprobs is None for draw in draws)


def _is_argmax(sampling: SamplingParams) -> bool:
    return sampling.temperature == 0 and not sampling.has_penalties


PENALTIES = "penalties"


def why_on_host(sampling: SamplingParams) -> str:
    """What a token's choice needs the host for; empty for an argmax or a draw, which stay on the
    device. `PENALTIES` need the tokens before it, too."""
    if sampling.has_penalties:
        return PENALTIES
    return "logprobs" if sampling.logprobs is not None else ""


def _picked(of_rows: Tensor, rows: Sequence[int]) -> Tensor:
    """of_rows[rows], without waiting for the device."""
    if list(rows) == list(range(len(of_rows))):
        return of_rows
    return of_rows.index_select(0, put_on(of_rows.device, torch.tensor(rows, dtype=torch.int64)))


def _drawn(logits: Tensor, draws: Sequence[Draw], rows: Sequence[int], name: str | None) -> Tensor:
    """All draws in one call of the operation."""
    scores = _picked(logits, rows)
    shaped = [index for index, draw in enumerate(draws) if draw.sampling.has_penalties]
    if shaped:
        scores = scores.to(torch.float32, copy=True)
        for index in shaped:
            scores[index] = penalised(scores[index], draws[index])
    samplings = [draw.sampling for draw in draws]
    vocab = logits.shape[-1]
    # One copy to the device; float32 holds every rank in a vocabulary.
    columns = torch.tensor(
        [
            # What float32 would take for infinity, or for 0, is the nearest that it does not.
            [min(one.temperature, _FLOAT32_MAX) for one in samplings],
            [uniform(draw) for draw in draws],
            [min(one.top_k, vocab) for one in samplings],
            [max(one.top_p, LEAST_TOP_P) for one in samplings],
            [one.min_p for one in samplings],
        ],
        dtype=torch.float32,
    )
    temperature, uniforms, top_k, top_p, min_p = put_on(logits.device, columns)
    kernel = _kernel("sample", logits.device, scores.dtype, name)
    return kernel(
        scores,
        temperature,
        top_k.int() if any(one.top_k for one in samplings) else None,
        top_p if any(one.top_p < 1 for one in samplings) else None,
        min_p if any(one.min_p > 0 for one in samplings) else None,
        uniforms,
    )


@cache
def _kernel(
    op: str, device: torch.device, dtype: torch.dtype, name: str | None
) -> Callable[..., Tensor]:
    return select(op, device, dtype, None if name is None else {op: name}).function


def penalised(scores: Tensor, draw: Draw) -> Tensor:
    """Scores float32 [vocab] less the draw's penalties, which `SamplingParams` defines; the
    argument is left as it is."""
    sampling = draw.sampling
    scores = scores.clone()
    output = torch.tensor(draw.output_token_ids, dtype=torch.int64, device=scores.device)
    produced, times = output.unique(return_counts=True)
    if sampling.repetition_penalty != 1:
        prompt = torch.tensor(draw.prompt_token_ids, dtype=torch.int64, device=scores.device)
        seen = torch.cat((prompt, produced)).unique()
        old, penalty = scores[seen], sampling.repetition_penalty
        scores[seen] = torch.where(old > 0, old / penalty, old * penalty)
    scores[produced] -= sampling.frequency_penalty * times + sampling.presence_penalty
    return scores


def uniform(draw: Draw) -> float:
    """A number in [0, 1), a multiple of 2^-24, for each output position of each choice of a seed.

    The position decides, not how often it was asked, so a recomputed request goes on where it was.
    SplitMix64 (Steele et al., "Fast Splittable Pseudorandom Number Generators", OOPSLA 2014) as a
    hash: its mixing function over seed, choice and position, one after the other.
    """
    state = 0
    for part in (draw.sampling.seed, draw.choice, draw.output_index):
        state = _mix(state + int(part) + 0x9E3779B97F4A7C15)
    return (state >> 40) / 2**24


def _mix(z: int) -> int:
    """SplitMix64's output function: a bijection of 64 bits."""
    z &= _BITS
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9 & _BITS
    z = (z ^ (z >> 27)) * 0x94D049BB133111EB & _BITS
    return z ^ (z >> 31)


def _logprobs(
    logits: Tensor, draws: Sequence[Draw], rows: Sequence[int], tokens: Sequence[int]
) -> dict[int, TokenLogprobs]:
    """For each draw that asks for them, by its index.

    Draws that ask for the same k go together: which of several equal tokens are among the k
    likeliest may depend on k, and so must not depend on what others ask for.
    """
    asked: dict[int, list[int]] = {}
    for index, draw in enumerate(draws):
        if draw.sampling.logprobs is not None and tokens[index] != NO_TOKEN:
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
