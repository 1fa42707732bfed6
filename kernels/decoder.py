"""A decoder of the Llama family as `decoder_step` is given it: its weights and its cache."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from torch import Tensor

from .batch import AttentionBatch
from .held import held_bytes


class LinearMap(Protocol):
    """x [tokens, in_features] -> [tokens, out_features], in x's dtype."""

    def __call__(self, x: Tensor) -> Tensor: ...

    @property
    def weight_bytes(self) -> int:
        """Bytes that one application reads: packed weights, scales, zeros, bias."""
        ...


@dataclass(frozen=True)
class DecoderLayer:
    """The parameters of one layer; linear maps may be quantised. qkv and gate_up are stacked.

    input_norm, post_norm [hidden]; q_norm, k_norm [head_dim], or None where a model has none.
    """

    input_norm: Tensor
    qkv: LinearMap
    q_norm: Tensor | None
    k_norm: Tensor | None
    o: LinearMap
    post_norm: Tensor
    gate_up: LinearMap
    down: LinearMap


@dataclass(frozen=True)
class DecoderWeights:
    """Everything between token ids and logits.

    embedding [vocab, hidden], norm [hidden]; cos, sin [positions, head_dim / 2]; lm_head maps
    hidden to vocab. window: how many of the last tokens a token attends to, itself included; None:
    all.
    """

    embedding: Tensor
    cos: Tensor
    sin: Tensor
    layers: Sequence[DecoderLayer]
    norm: Tensor
    lm_head: LinearMap
    num_heads: int
    num_kv_heads: int
    head_dim: int
    rms_norm_eps: float
    window: int | None

    @property
    def weight_bytes(self) -> int:
        """Bytes that a step reads: every map and norm, and of the embedding a row a token, which
        is not counted (when tied, the output projection counts the table)."""
        norms = [
            norm
            for layer in self.layers
            for norm in (layer.input_norm, layer.q_norm, layer.k_norm, layer.post_norm)
        ]
        maps = [
            linear
            for layer in self.layers
            for linear in (layer.qkv, layer.o, layer.gate_up, layer.down)
        ]
        of_maps = sum(linear.weight_bytes for linear in [*maps, self.lm_head])
        return held_bytes(*norms, self.norm) + of_maps


class LayerCaches(Protocol):
    """keys[layer], values[layer]: [blocks, block_size, kv_heads, head_dim] or [tokens, kv_heads,
    head_dim]. key_scales[layer], value_scales[layer]: of eight-bit caches, the same without
    head_dim; else there are none."""

    @property
    def keys(self) -> tuple[Tensor, ...]: ...

    @property
    def values(self) -> tuple[Tensor, ...]: ...

    @property
    def key_scales(self) -> tuple[Tensor, ...]: ...

    @property
    def value_scales(self) -> tuple[Tensor, ...]: ...


class DecoderStep(Protocol):
    """What an implementation of `decoder_step` makes of `DecoderWeights`; the reference says what
    it computes."""

    def head_bytes(self, rows: int, argmax_only: bool = False) -> int: ...

    def takes(self, cache: LayerCaches, batch: AttentionBatch, rows: int) -> bool: ...

    def __call__(
        self,
        token_ids: Tensor,
        positions: Tensor,
        cache: LayerCaches,
        batch: AttentionBatch,
        slot_mapping: Tensor,
        logit_rows: Tensor,
        argmax_only: bool = False,
    ) -> Tensor: ...
