"""Drives a model through its KV cache as an engine would: chunks in, logits out."""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from llmbench.engines.models.decoder import AttentionTimer, Decoder
from llmbench.engines.models.kv_tensors import KVTensors, allocate_contiguous, allocate_paged
from llmbench.kernels.batch import AttentionBatch, ContiguousBatch, PagedBatch
from torch import Tensor

from .tiny import CPU

BLOCK_SIZE = 4
ROOM = 96  # tokens a sequence may come to


@dataclass
class Served:
    """Sequences in one cache, in blocks or runs that are in no order.

    tokens[i]: all known tokens of sequence i; cached[i]: how many of them are in the cache.
    """

    model: Decoder
    kind: str
    tokens: list[list[int]]
    cached: list[int] = field(default_factory=list)

    def __post_init__(self) -> None:
        shuffle = random.Random(5).shuffle
        count, config = len(self.tokens), self.model.config
        self.cached = [0] * count
        self.places = list(range(count * ROOM // BLOCK_SIZE))  # blocks, or runs of ROOM slots
        self.cache: KVTensors
        if self.kind == "paged":
            self.cache = allocate_paged(config, len(self.places), BLOCK_SIZE, self.model.dtype, CPU)
        else:
            self.places = list(range(count))
            self.cache = allocate_contiguous(config, count * ROOM, self.model.dtype, CPU)
        shuffle(self.places)
        for tensor in (*self.cache.keys, *self.cache.values):
            tensor.fill_(float("nan"))  # what was never written must never be read

    def step(
        self,
        lengths: Mapping[int, int],
        logit_rows: Tensor | None = None,
        timer: AttentionTimer | None = None,
    ) -> Tensor:
        """Compute the next `lengths[i]` tokens of each sequence i named, packed in that order."""
        token_ids, positions, slots = [], [], []
        for sequence, length in lengths.items():
            start = self.cached[sequence]
            token_ids += self.tokens[sequence][start : start + length]
            positions += range(start, start + length)
            slots += [self._slot(sequence, p) for p in range(start, start + length)]
            self.cached[sequence] += length
        return self.model.forward(
            torch.tensor(token_ids),
            torch.tensor(positions),
            self.cache,
            self._batch(lengths),
            torch.tensor(slots),
            logit_rows,
            timer,
        )

    def greedy(self, max_tokens: int) -> list[list[int]]:
        """Prompts in one chunk each, then one token a step for all."""
        prompts = [len(tokens) for tokens in self.tokens]
        lengths = dict(enumerate(prompts))
        for _ in range(max_tokens):
            ends = torch.tensor(list(lengths.values())).cumsum(0) - 1
            best = self.step(lengths, logit_rows=ends).argmax(-1).tolist()
            for tokens, token in zip(self.tokens, best, strict=True):
                tokens.append(token)
            lengths = dict.fromkeys(range(len(self.tokens)), 1)
        return [tokens[p:] for tokens, p in zip(self.tokens, prompts, strict=True)]

    def _blocks(self, sequence: int) -> list[int]:
        per_sequence = ROOM // BLOCK_SIZE
        return self.places[sequence * per_sequence : (sequence + 1) * per_sequence]

    def _slot(self, sequence: int, position: int) -> int:
        if self.kind == "paged":
            block = self._blocks(sequence)[position // BLOCK_SIZE]
            return block * BLOCK_SIZE + position % BLOCK_SIZE
        return self.places[sequence] * ROOM + position

    def _batch(self, lengths: Mapping[int, int]) -> AttentionBatch:
        query_lengths = tuple(lengths.values())
        kv_lengths = tuple(self.cached[sequence] for sequence in lengths)
        if self.kind == "paged":
            tables = torch.tensor([self._blocks(sequence) for sequence in lengths])
            return PagedBatch(query_lengths, kv_lengths, tables)
        starts = tuple(self.places[sequence] * ROOM for sequence in lengths)
        return ContiguousBatch(query_lengths, kv_lengths, starts)
