"""Whole sequences at once, with no cache to keep: what calibration and scoring need.

The same operations as the serving path, over [B, L, …] tensors of equally long sequences.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from ...kernels.batch import ContiguousBatch
from ...kernels.decoder import DecoderLayer
from .config import ModelConfig
from .decoder import Decoder
from .kv_tensors import allocate_shared
from .ops import ModelOps
from .rope import RotaryTable


def attention_context(
    normed: Tensor, layer: DecoderLayer, rotary: RotaryTable, config: ModelConfig, ops: ModelOps
) -> Tensor:
    """Causal attention of B sequences from position 0, before the output projection.

    normed [B, L, hidden], after the input norm -> [B, L, heads · head_dim], the input of `o`.
    """
    batch_size, length = normed.shape[:2]
    positions = torch.arange(length, device=normed.device).repeat(batch_size)
    qkv = layer.qkv(normed.flatten(0, 1)).view(batch_size * length, -1, config.head_dim)
    norms = (layer.q_norm, layer.k_norm, config.rms_norm_eps)
    q, k, v = ops.rotated(qkv, norms, rotary.rows(positions), config.num_kv_heads)
    # Fresh keys and values are themselves a contiguous cache, one sequence behind the other.
    batch = ContiguousBatch(
        query_lengths=(length,) * batch_size,
        kv_lengths=(length,) * batch_size,
        starts=tuple(range(0, batch_size * length, length)),
    )
    scale = config.head_dim**-0.5
    context = ops.contiguous_attention(
        q, k.contiguous(), v.contiguous(), batch, scale, config.sliding_window
    )
    return context.view(batch_size, length, -1)


def attention_block(
    normed: Tensor, layer: DecoderLayer, rotary: RotaryTable, config: ModelConfig, ops: ModelOps
) -> Tensor:
    """normed [B, L, hidden], after the input norm -> [B, L, hidden], before the residual."""
    context = attention_context(normed, layer, rotary, config, ops)
    return layer.o(context.flatten(0, 1)).view_as(normed)


def mlp_activation(normed: Tensor, layer: DecoderLayer, ops: ModelOps) -> Tensor:
    """normed [B, L, hidden], after the post-attention norm -> [B, L, intermediate], the input of
    `down`."""
    activation = ops.silu_mul(layer.gate_up(normed.flatten(0, 1)))
    return activation.view(*normed.shape[:2], -1)


def mlp_block(normed: Tensor, layer: DecoderLayer, ops: ModelOps) -> Tensor:
    """normed [B, L, hidden], after the post-attention norm -> [B, L, hidden], before the
    residual."""
    return layer.down(mlp_activation(normed, layer, ops).flatten(0, 1)).view_as(normed)


def decoder_block(
    hidden: Tensor, layer: DecoderLayer, rotary: RotaryTable, config: ModelConfig, ops: ModelOps
) -> Tensor:
    """A whole layer: hidden [B, L, hidden] -> the next layer's hidden."""
    normed = ops.rms_norm(hidden, layer.input_norm, config.rms_norm_eps)
    hidden = hidden + attention_block(normed, layer, rotary, config, ops)
    normed = ops.rms_norm(hidden, layer.post_norm, config.rms_norm_eps)
    return hidden + mlp_block(normed, layer, ops)


def dense_logits(
    model: Decoder, token_ids: Sequence[int], kv_dtype: str = "auto", *, first: int = 0
) -> Tensor:
    """Logits [L - first, vocab], in the model's dtype, after each of L tokens of one sequence from
    token `first` on: of a long prompt whose answer alone is wanted, those before are not computed.

    For perplexity and KL; the pass is the serving path's, over one chunk, through a KV cache of
    `kv_dtype`.
    """
    length = len(token_ids)
    positions = torch.arange(length, device=model.device)
    return model.forward(
        torch.tensor(list(token_ids), dtype=torch.int64, device=model.device),
        positions,
        allocate_shared(model.config, length, model.dtype, model.device, kv_dtype),
        ContiguousBatch(query_lengths=(length,), kv_lengths=(length,), starts=(0,)),
        slot_mapping=positions,
        logit_rows=positions[first:] if first else None,
    )
