"""What `decoder_step` is tried on: the shapes of small models and what their caches hold."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import torch

from .attention import AttentionCase
from .cache import E4M3
from .spec import ModelShape, StepShape

EPS = 1e-5
# As large as what it is added to: a step that leaves it out of any norm shows.
LARGE_EPS = 1.0
# A head as wide as a model's is a linear map like the others, but as large as all of them.
LARGEST_VOCAB = 1024
# Of a head that no cache of a core holds: there an implementation may look for the largest alone.
WIDE_VOCAB = 53000

Kind = Literal["dense", "int8", "int4", "int4 by int8"]


@dataclass(frozen=True)
class DecoderCase:
    """attention: of every layer; one new token a sequence. kind: of the linear maps' weights.
    group_size: of 4-bit ones. codes: of an eight-bit cache; None: in the activations' dtype.
    all_logits: of every token, else of all but one, in another order. argmax_only: of logits.
    eps: of every norm."""

    attention: AttentionCase
    paged: bool = True
    kind: Kind = "dense"
    codes: torch.dtype | None = None
    hidden: int = 80
    intermediate: int = 48
    vocab: int = 83
    layers: int = 2
    group_size: int = 16
    qk_norm: bool = False
    bias: bool = False
    all_logits: bool = False
    argmax_only: bool = False
    eps: float = EPS

    @property
    def tokens(self) -> int:
        return len(self.attention.query_lengths)

    @property
    def rows(self) -> int:
        return self.tokens if self.all_logits else max(1, self.tokens - 1)

    @property
    def maps(self) -> dict[str, tuple[int, int]]:
        """out_features and in_features of a layer's linear maps."""
        attention = self.attention
        kv_size = attention.kv_heads * attention.head_dim
        q_size = kv_size * attention.group
        return {
            "qkv": (q_size + 2 * kv_size, self.hidden),
            "o": (self.hidden, q_size),
            "gate_up": (2 * self.intermediate, self.hidden),
            "down": (self.hidden, self.intermediate),
        }


def of_model(model: ModelShape, step: StepShape) -> dict[str, DecoderCase]:
    """A layer of the model between a small vocabulary's embedding and head, over each cache; of a
    prompt none, which is computed operation by operation."""
    if step.prompt:
        return {}
    attention = AttentionCase(
        (1,) * step.batch,
        (step.context,) * step.batch,
        model.head_dim,
        model.kv_heads,
        model.heads // model.kv_heads,
        step.block_size,
        model.window,
    )
    layer = DecoderCase(
        attention,
        hidden=model.hidden,
        intermediate=model.intermediate,
        vocab=min(model.vocab, LARGEST_VOCAB),
        layers=1,
        qk_norm=model.qk_norm,
        all_logits=True,
    )
    return {
        "layer": layer,
        "layer, int8 cache": replace(layer, codes=torch.int8),
        "layer, fp8 cache": replace(layer, codes=E4M3),
    }


def _decodes(
    *kv_lengths: int,
    head_dim: int = 64,
    kv_heads: int = 2,
    group: int = 3,
    window: int | None = None,
) -> AttentionCase:
    ones = (1,) * len(kv_lengths)
    return AttentionCase(ones, kv_lengths, head_dim, kv_heads, group, 4, window)


_QK_NORM = _decodes(3, 17, 1, 8, 22, head_dim=128, kv_heads=1, group=4)
_BIAS = _decodes(9, 2, 1, 20, head_dim=80, kv_heads=3, group=1)
_ALL = _decodes(5, 16, 23, 8, head_dim=16, kv_heads=1, group=3, window=7)
_PLAIN = {
    "batch: one": DecoderCase(_decodes(13)),
    "batch: one, its first token": DecoderCase(_decodes(1), paged=False, all_logits=True),
    "batch: two": DecoderCase(_decodes(4, 5), paged=False, layers=3),
    "batch: eight, int8": DecoderCase(_decodes(*range(1, 24, 3)), kind="int8"),
    "batch: 32": DecoderCase(_decodes(*range(1, 33)), all_logits=True),
    "batch: 32, contiguous, int4": DecoderCase(_decodes(*range(1, 33)), paged=False, kind="int4"),
    "batch: eight, int4 by int8": DecoderCase(_decodes(*range(1, 24, 3)), kind="int4 by int8"),
    "argmax alone: one": DecoderCase(_decodes(13), vocab=WIDE_VOCAB, argmax_only=True),
    "argmax alone: three of four, bias": DecoderCase(
        _decodes(4, 1, 9, 5), False, vocab=WIDE_VOCAB, bias=True, argmax_only=True
    ),
    "argmax alone: eight": DecoderCase(
        _decodes(*range(1, 24, 3)), vocab=WIDE_VOCAB, all_logits=True, argmax_only=True
    ),
    "norms of queries and keys": DecoderCase(_QK_NORM, qk_norm=True),
    "norms of queries and keys, int8": DecoderCase(_QK_NORM, False, "int8", qk_norm=True),
    "bias: paged": DecoderCase(_BIAS, bias=True),
    "bias: contiguous, int4": DecoderCase(_BIAS, False, "int4", bias=True),
    "window: paged": DecoderCase(_decodes(2, 5, 21, window=5)),
    "window: contiguous": DecoderCase(_decodes(2, 5, 21, window=5), paged=False),
    "all of them: paged": DecoderCase(_ALL, qk_norm=True, bias=True, eps=LARGE_EPS),
    "all of them: contiguous, int8": DecoderCase(
        _ALL, False, "int8", qk_norm=True, bias=True, eps=LARGE_EPS
    ),
}
_CODED = {
    "batch of one": DecoderCase(_decodes(13)),
    "first tokens, contiguous": DecoderCase(_decodes(1, 1), paged=False, all_logits=True),
    "long, contiguous": DecoderCase(_decodes(300, 2), paged=False),
    "batch of 32, int8": DecoderCase(_decodes(*range(1, 33)), paged=False, kind="int8"),
    "norms of queries and keys": DecoderCase(_QK_NORM, paged=False, qk_norm=True),
    "bias": DecoderCase(_BIAS, bias=True),
    "all of them": DecoderCase(_ALL, qk_norm=True, bias=True, eps=LARGE_EPS),
}
CASES = _PLAIN | {
    f"{cache} cache: {name}": replace(case, codes=codes)
    for cache, codes in (("int8", torch.int8), ("fp8", E4M3))
    for name, case in _CODED.items()
}
