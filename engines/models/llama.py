"""The Llama family for inference: Llama, Mistral, Qwen2 and Qwen3 are one decoder.

Tokens of all sequences lie one behind the other ([T, …], T over the whole batch); only attention
knows where a sequence ends. Source: Touvron et al., "LLaMA", 2023, and the reference models of
transformers, whose rounding is followed: norms in float32, the rest in the model's dtype.
"""

from __future__ import annotations

from time import perf_counter

import torch
from torch import Tensor
from torch.nn import functional as F

from ...kernels.batch import AttentionBatch
from ...kernels.decoder import DecoderLayer, DecoderWeights
from ...kernels.dispatch import count_calls
from ..quantization.linear import WeightSource
from .config import LAYERS, ModelConfig
from .decoder import AttentionTimer, Likeliest
from .fused import OP, fused_step
from .kv_tensors import KVTensors
from .ops import ModelOps
from .rope import RotaryTable


def decoder_layer(config: ModelConfig, source: WeightSource, index: int) -> DecoderLayer:
    """Layer `index` with its weights from `source`."""
    prefix = f"{LAYERS}{index}"
    attention, mlp = f"{prefix}.self_attn", f"{prefix}.mlp"
    return DecoderLayer(
        input_norm=source.tensor(f"{prefix}.input_layernorm.weight"),
        qkv=source.linear([f"{attention}.{part}_proj" for part in "qkv"]),
        q_norm=source.tensor(f"{attention}.q_norm.weight") if config.qk_norm else None,
        k_norm=source.tensor(f"{attention}.k_norm.weight") if config.qk_norm else None,
        o=source.linear([f"{attention}.o_proj"]),
        post_norm=source.tensor(f"{prefix}.post_attention_layernorm.weight"),
        gate_up=source.linear([f"{mlp}.gate_proj", f"{mlp}.up_proj"]),
        down=source.linear([f"{mlp}.down_proj"]),
    )


class Llama:
    """A decoder with its weights. It keeps no state between calls: the KV cache is the caller's.

    max_positions: length of the rotary table; the config's by default.
    step: the implementation of `decoder_step` that computes the steps it takes; a model that it
    does not take, and all other steps, are computed operation by operation.
    """

    def __init__(
        self,
        config: ModelConfig,
        source: WeightSource,
        ops: ModelOps,
        *,
        dtype: torch.dtype,
        device: torch.device,
        max_positions: int | None = None,
        step: str | None = None,
    ) -> None:
        self.config = config
        self.ops = ops
        self.dtype = dtype
        self.device = device
        self.rotary = RotaryTable(config, dtype, device, max_positions)
        self.embedding = source.tensor("model.embed_tokens.weight")
        self.layers = tuple(decoder_layer(config, source, i) for i in range(config.num_layers))
        self.norm = source.tensor("model.norm.weight")
        self.lm_head = source.linear([config.head_name])
        self.step = None if step is None else fused_step(step, self.decoder_weights)
        self._step_calls = count_calls(OP, step or "")

    @property
    def decoder_weights(self) -> DecoderWeights:
        """What a fused step is made of."""
        return DecoderWeights(
            embedding=self.embedding,
            cos=self.rotary.cos,
            sin=self.rotary.sin,
            layers=self.layers,
            norm=self.norm,
            lm_head=self.lm_head,
            num_heads=self.config.num_heads,
            num_kv_heads=self.config.num_kv_heads,
            head_dim=self.config.head_dim,
            rms_norm_eps=self.config.rms_norm_eps,
            window=self.config.sliding_window,
        )

    @property
    def weight_bytes(self) -> int:
        """As `Decoder.weight_bytes`."""
        return self.decoder_weights.weight_bytes

    def head_bytes(self, rows: int, argmax_only: bool = False) -> int:
        """As `Decoder.head_bytes`."""
        if self.step is None:
            return self.lm_head.weight_bytes
        return self.step.head_bytes(rows, argmax_only)

    @torch.inference_mode()
    def forward(
        self,
        token_ids: Tensor,
        positions: Tensor,
        cache: KVTensors,
        batch: AttentionBatch,
        slot_mapping: Tensor,
        logit_rows: Tensor | None = None,
        timer: AttentionTimer | None = None,
        likeliest: Likeliest | None = None,
    ) -> Tensor:
        """As `Decoder.forward`."""
        rows = len(token_ids) if logit_rows is None else len(logit_rows)
        if self.step is not None and self.step.takes(cache, batch, rows):
            self._step_calls[0] += 1
            logits = self.step(
                token_ids,
                positions,
                cache,
                batch,
                slot_mapping,
                torch.arange(rows) if logit_rows is None else logit_rows,
                likeliest is not None,
            )
            # An implementation of a user's need neither measure nor find anything on its way.
            if timer is not None:
                timer.seconds += getattr(self.step, "attention_s", 0.0)
            if likeliest is not None:
                likeliest.places = getattr(self.step, "likeliest", None)
            return logits
        hidden = F.embedding(token_ids, self.embedding)
        cos, sin = self.rotary.rows(positions)
        eps, window = self.config.rms_norm_eps, self.config.sliding_window
        scale = self.config.head_dim**-0.5
        last = len(self.layers) - 1
        normed = self.ops.rms_norm(hidden, self.layers[0].input_norm, eps)
        for index, layer in enumerate(self.layers):
            qkv = layer.qkv(normed).view(len(normed), -1, self.config.head_dim)
            start_s = perf_counter() if timer is not None else 0.0
            q = self.ops.rotate_into_cache(
                qkv, (layer.q_norm, layer.k_norm, eps), (cos, sin), cache, index, slot_mapping
            )
            context = self.ops.attend_to_cache(q, cache, index, batch, scale, window)
            context = context.view(len(q), -1)
            if timer is not None:
                timer.seconds += perf_counter() - start_s
            if index == last and logit_rows is not None:
                # Past the last attention the other tokens have no effect on these.
                if len(logit_rows) == 0:
                    return hidden.new_empty(0, self.config.vocab_size)
                hidden, context = hidden[logit_rows], context[logit_rows]
            normed, hidden = self.ops.add_rms_norm(layer.o(context), hidden, layer.post_norm, eps)
            # What the MLP takes is the most of a pass: nothing that is done with lies beside it.
            del qkv, q, context
            mlp = layer.down(self.ops.silu_mul(layer.gate_up(normed)))
            next_norm = self.norm if index == last else self.layers[index + 1].input_norm
            normed, hidden = self.ops.add_rms_norm(mlp, hidden, next_norm, eps)
            del mlp
        return self.lm_head(normed)
