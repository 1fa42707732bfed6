"""What quantisation cost: distance to the unquantised model on the run's own requests, and
perplexity on held-out text.

KL and agreement compare the two models token by token on the same text, the prompts of the run
and what the engine answered; they show a difference long before perplexity does.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from .record import RequestRecord, RequestStatus
from .stats.percentiles import percentile

WINDOW_TOKENS = 2048

# Token ids of one text -> logits [tokens, vocab].
Score = Callable[[Sequence[int]], Tensor]


@dataclass(frozen=True)
class Answered:
    """A prompt and the engine's answer, as one text. prompt_tokens: where the answer begins."""

    token_ids: tuple[int, ...]
    prompt_tokens: int


@dataclass(frozen=True)
class Distance:
    """How far a model is from its reference over `tokens` predicted tokens.

    kl_mean, kl_p99: KL(reference || model) in nats a token, from float32 log-probabilities.
    top1_agreement: share of tokens for which both would choose the same next one.
    """

    kl_mean: float
    kl_p99: float
    top1_agreement: float
    tokens: int


@dataclass(frozen=True)
class Perplexity:
    """exp of the mean negative log-likelihood, over non-overlapping windows.

    The first token of a window is given, not predicted. tokens: how many were predicted.
    """

    value: float
    window_tokens: int
    tokens: int


def answered(
    records: Iterable[RequestRecord], prompts: Sequence[Sequence[int]], most_tokens: int
) -> list[Answered]:
    """The first served requests, until their answers hold `most_tokens` tokens.

    prompts: by request index.
    """
    chosen: list[Answered] = []
    tokens = 0
    for record in records:
        if record.status is not RequestStatus.OK or tokens >= most_tokens:
            continue
        prompt = tuple(prompts[record.index])
        chosen.append(Answered(prompt + record.output_token_ids, len(prompt)))
        tokens += record.output_tokens
    return chosen


@torch.inference_mode()
def distance(model: Score, reference: Score, texts: Sequence[Answered]) -> Distance | None:
    """Over every token of every answer; None without any."""
    divergences: list[float] = []
    agreed = 0
    for text in texts:
        # The logits after token i predict token i + 1; the answer's first is predicted by the
        # prompt's last.
        predicting = slice(text.prompt_tokens - 1, len(text.token_ids) - 1)
        ours = model(text.token_ids)[predicting].float().log_softmax(-1)
        theirs = reference(text.token_ids)[predicting].float().log_softmax(-1)
        kl = (theirs.exp() * (theirs - ours)).sum(-1)
        # Rounding can leave a divergence of two equal distributions a hair below zero.
        divergences.extend(kl.clamp_min(0.0).tolist())
        agreed += int((ours.argmax(-1) == theirs.argmax(-1)).sum())
    if not divergences:
        return None
    return Distance(
        kl_mean=sum(divergences) / len(divergences),
        kl_p99=percentile(divergences, 99),
        top1_agreement=agreed / len(divergences),
        tokens=len(divergences),
    )


@torch.inference_mode()
def perplexity(model: Score, token_ids: Sequence[int], window_tokens: int) -> Perplexity | None:
    """Over whole text; a last window shorter than two tokens is dropped. None if none is left."""
    total_nll = 0.0
    tokens = 0
    for start in range(0, len(token_ids), window_tokens):
        window = token_ids[start : start + window_tokens]
        if len(window) < 2:
            continue
        log_probabilities = model(window)[:-1].float().log_softmax(-1)
        targets = torch.tensor(list(window[1:]), device=log_probabilities.device)
        total_nll -= float(log_probabilities.gather(1, targets[:, None]).double().sum())
        tokens += len(window) - 1
    if tokens == 0:
        return None
    value = float(torch.tensor(total_nll / tokens, dtype=torch.float64).exp())
    return Perplexity(value, window_tokens, tokens)
