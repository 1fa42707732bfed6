"""A whole decode step, from token ids to logits.

Source: Touvron et al., "LLaMA", 2023, section 2.2, and for the norms of queries and keys, Yang et
al., "Qwen3", 2025, section 2.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from ..batch import AttentionBatch, PagedBatch
from ..decoder import DecoderLayer, DecoderWeights, LayerCaches
from ..quantized_kv import QuantizedKV
from ..registry import implements
from .activation import silu_mul
from .attention import contiguous_attention, paged_attention
from .norm import add_rms_norm, rms_norm
from .quantized_kv import (
    quantized_cache_write,
    quantized_contiguous_attention,
    quantized_paged_attention,
)
from .rope import rope, rope_cache_write


@implements("decoder_step", backend="reference", priority=-100)
class ReferenceDecoderStep:
    """One pass over T packed tokens -> logits [rows, vocab] in the embedding's dtype.

    The operation is a class: construction prepares the weights once, the call computes. Of an
    implementation that computes some calls only, `takes`, with the call's own cache, batch and
    number of rows, says which; a constructor raises KernelError for a model that it never computes.

    token_ids, positions, slot_mapping: int64 [T]; the tokens' keys and values are written to their
    slots of `cache`, then read through `batch`. logit_rows int64 [rows]: the tokens whose next
    token is wanted, in that order. argmax_only: of a row only its largest logit is wanted, and
    where that is; others may be left at -infinity.
    attention_s: of the last call, the host's time from a layer's projected queries to its attended
    values, over all layers; 0, or not there, where it was not measured. likeliest: of the last call
    with argmax_only, int64 [rows], the operation `argmax` of the logits; None, or not there, where
    it was not found on the way.
    """

    attention_s = 0.0

    def __init__(self, weights: DecoderWeights) -> None:
        self._weights = weights

    @property
    def weight_bytes(self) -> int:
        """Bytes that a step reads of its weights."""
        return self._weights.weight_bytes

    def head_bytes(self, rows: int, argmax_only: bool = False) -> int:
        """Bytes that a step of so many rows of logits reads of the output projection."""
        del rows, argmax_only
        return self._weights.lm_head.weight_bytes

    def takes(self, cache: LayerCaches, batch: AttentionBatch, rows: int) -> bool:
        """Every call."""
        del cache, batch, rows
        return True

    def __call__(
        self,
        token_ids: Tensor,
        positions: Tensor,
        cache: LayerCaches,
        batch: AttentionBatch,
        slot_mapping: Tensor,
        logit_rows: Tensor,
        argmax_only: bool = False,  # noqa: ARG002
    ) -> Tensor:
        weights = self._weights
        eps = weights.rms_norm_eps
        hidden = F.embedding(token_ids, weights.embedding)
        angles = weights.cos[positions], weights.sin[positions]
        update = None
        for index, layer in enumerate(weights.layers):
            if update is None:
                normed = rms_norm(hidden, layer.input_norm, eps)
            else:
                normed, hidden = add_rms_norm(update, hidden, layer.input_norm, eps)
            context = self._attend(normed, layer, index, angles, cache, batch, slot_mapping)
            normed, hidden = add_rms_norm(layer.o(context), hidden, layer.post_norm, eps)
            update = layer.down(silu_mul(layer.gate_up(normed)))
        assert update is not None
        normed, _ = add_rms_norm(update[logit_rows], hidden[logit_rows], weights.norm, eps)
        return weights.lm_head(normed)

    def _attend(
        self,
        normed: Tensor,
        layer: DecoderLayer,
        index: int,
        angles: tuple[Tensor, Tensor],
        cache: LayerCaches,
        batch: AttentionBatch,
        slot_mapping: Tensor,
    ) -> Tensor:
        """normed [T, hidden] -> what each head attended to [T, heads · head_dim]."""
        weights, kv_heads = self._weights, self._weights.num_kv_heads
        scale, window = weights.head_dim**-0.5, weights.window
        qkv = layer.qkv(normed).view(len(normed), -1, weights.head_dim)
        norms = (layer.q_norm, layer.k_norm, weights.rms_norm_eps)
        keys, values = cache.keys[index], cache.values[index]
        if not cache.key_scales:
            q = rope_cache_write(qkv, *norms, *angles, keys, values, slot_mapping)
            if isinstance(batch, PagedBatch):
                return paged_attention(q, keys, values, batch, scale, window).flatten(1)
            return contiguous_attention(q, keys, values, batch, scale, window).flatten(1)
        q, k, v = qkv.split((weights.num_heads, kv_heads, kv_heads), dim=1)
        if layer.q_norm is not None and layer.k_norm is not None:
            q = rms_norm(q, layer.q_norm, weights.rms_norm_eps)
            k = rms_norm(k, layer.k_norm, weights.rms_norm_eps)
        q, k = rope(q, k, *angles)
        codes = QuantizedKV(keys, values, cache.key_scales[index], cache.value_scales[index])
        quantized_cache_write(k, v, codes, slot_mapping)
        if isinstance(batch, PagedBatch):
            return quantized_paged_attention(q, codes, batch, scale, window).flatten(1)
        return quantized_contiguous_attention(q, codes, batch, scale, window).flatten(1)
