"""What quantisation cost: distance to the unquantised model, on the run's own requests and on
held-out text, and perplexity on the text.

KL and agreement compare the two models token by token on the same tokens: the prompts of the run
and what the engine answered, or windows of the text. They show a difference long before perplexity
does.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from ..run.record import RequestRecord, RequestStatus
from ..stats.percentiles import percentile

WINDOW_TOKENS = 2048
ROWS_AT_A_TIME = 256
# Tokens of a part of a text: a small part of a block of a short one (`text_quality.py`), and few
# numbers of a long one, whose parts are longer.
PART_TOKENS = 32
MOST_PARTS = 256


class Score(Protocol):
    """Token ids of one text -> logits [tokens - first, vocab], after each token from `first` on."""

    def __call__(self, token_ids: Sequence[int], /, first: int = 0) -> Tensor: ...


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


@dataclass(frozen=True)
class Parts:
    """Sums over stretches of neighbouring tokens, in the text's order; none reaches from one window
    into the next. tokens: how many each predicted. nll, kl: nats. agreed: of how many both would
    choose the same; None without a model to compare with, as `kl`."""

    tokens: tuple[int, ...]
    nll: tuple[float, ...]
    kl: tuple[float, ...] | None
    agreed: tuple[int, ...] | None


@dataclass(frozen=True)
class TextQuality:
    """A model on text. reference_perplexity, distance: where there is a model to compare with."""

    perplexity: Perplexity
    reference_perplexity: Perplexity | None
    distance: Distance | None
    parts: Parts


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
        chosen.append(Answered((*prompt, *record.output_token_ids), len(prompt)))
        tokens += record.output_tokens
    return chosen


@torch.inference_mode()
def distance(model: Score, reference: Score, texts: Sequence[Answered]) -> Distance | None:
    """Over every token of every answer; None without any. Memory: the logits of one answer, of both
    models; none of its prompt's."""
    seen = _Divergences()
    for text in texts:
        # The logits after token i predict token i + 1; the answer's first is predicted by the
        # prompt's last, and its last predicts nothing.
        given, first = text.token_ids[:-1], text.prompt_tokens - 1
        seen.add(model(given, first=first), reference(given, first=first))
    return seen.distance()


@torch.inference_mode()
def perplexity(model: Score, token_ids: Sequence[int], window_tokens: int) -> Perplexity | None:
    """Over whole text; a last window shorter than two tokens is dropped. None if none is left."""
    found = quality_on_text(model, None, token_ids, window_tokens)
    return found.perplexity if found else None


@torch.inference_mode()
def quality_on_text(
    model: Score, reference: Score | None, token_ids: Sequence[int], window_tokens: int
) -> TextQuality | None:
    """Perplexity of both and the distance between them, over the same windows of whole text.

    Memory: the logits of one window, of both models, and float32 log-probabilities of some rows.
    A last window shorter than two tokens is dropped; None if none is left.
    """
    own, other, apart = _Likelihood(), _Likelihood(), _Divergences()
    lengths: list[int] = []
    for start in range(0, len(token_ids), window_tokens):
        window = token_ids[start : start + window_tokens]
        if len(window) < 2:
            continue
        lengths += lengths_of_parts(len(window) - 1, len(token_ids))
        ours = model(window)[:-1]
        own.add(ours, window[1:])
        if reference is not None:
            theirs = reference(window)[:-1]
            other.add(theirs, window[1:])
            apart.add(ours, theirs)
    perplexity = own.perplexity(window_tokens)
    if perplexity is None:
        return None
    return TextQuality(
        perplexity,
        other.perplexity(window_tokens),
        apart.distance(),
        _parts(lengths, own, None if reference is None else apart),
    )


def lengths_of_parts(window_tokens: int, text_tokens: int) -> list[int]:
    """Of the parts of a window that predicts so many tokens, in a text of so many: the last is
    shorter where they do not come out even. Of one text always the same, whatever the model."""
    length = max(PART_TOKENS, -(-text_tokens // MOST_PARTS))
    whole, rest = divmod(window_tokens, length)
    return [length] * whole + [rest] * (rest > 0)


def _parts(lengths: Sequence[int], own: _Likelihood, apart: _Divergences | None) -> Parts:
    starts = np.cumsum([0, *lengths[:-1]])

    def summed(values: Sequence[float]) -> tuple[float, ...]:
        return tuple(np.add.reduceat(np.asarray(values, dtype=np.float64), starts).tolist())

    return Parts(
        tokens=tuple(lengths),
        nll=summed(own.nats),
        kl=summed(apart.nats) if apart else None,
        agreed=tuple(map(int, summed(apart.agreed))) if apart else None,
    )


def log_probabilities(logits: Tensor) -> Iterator[tuple[slice, Tensor]]:
    """Rows of logits [T, vocab] and their log-probabilities in float32, some rows at a time: a
    window of 2048 over a vocabulary of 128 k takes a gigabyte whole."""
    for start in range(0, logits.shape[0], ROWS_AT_A_TIME):
        rows = slice(start, start + ROWS_AT_A_TIME)
        yield rows, logits[rows].float().log_softmax(-1)


@dataclass
class _Likelihood:
    """The negative log-likelihood of every token of a text so far."""

    nats: list[float] = field(default_factory=list)

    def add(self, logits: Tensor, targets: Sequence[int]) -> None:
        """logits [T, vocab]: what predicts each of T targets."""
        wanted = torch.tensor(list(targets), device=logits.device)[:, None]
        for rows, found in log_probabilities(logits):
            self.nats.extend((-found.gather(1, wanted[rows])[:, 0]).tolist())

    def perplexity(self, window_tokens: int) -> Perplexity | None:
        if not self.nats:
            return None
        mean = torch.tensor(math.fsum(self.nats) / len(self.nats), dtype=torch.float64)
        return Perplexity(float(mean.exp()), window_tokens, len(self.nats))


@dataclass
class _Divergences:
    """KL(reference || model) of every token so far, and whether both choose the same."""

    nats: list[float] = field(default_factory=list)
    agreed: list[bool] = field(default_factory=list)

    def add(self, model: Tensor, reference: Tensor) -> None:
        """Logits [T, vocab] of the same tokens."""
        for (_, ours), (_, theirs) in zip(
            log_probabilities(model), log_probabilities(reference), strict=True
        ):
            kl = (theirs.exp() * (theirs - ours)).sum(-1)
            # Rounding can leave a divergence of two equal distributions a hair below zero.
            self.nats.extend(kl.clamp_min(0.0).tolist())
            self.agreed.extend((ours.argmax(-1) == theirs.argmax(-1)).tolist())

    def distance(self) -> Distance | None:
        if not self.nats:
            return None
        return Distance(
            kl_mean=sum(self.nats) / len(self.nats),
            kl_p99=percentile(self.nats, 99),
            top1_agreement=sum(self.agreed) / len(self.nats),
            tokens=len(self.nats),
        )
