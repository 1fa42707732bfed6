"""What a step must do, counted: operations and bytes, from the model's shape and the step's chunks.

`StepWork` is a handful of integers that know no model; `ModelWork` is what one token, one row, one
query-key pair costs on one device, computed once. A price is their products: nothing in a step
depends on the number of layers or, for decodes, of requests.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

from ..errors import ConfigError
from ..models.config import KV_SCALE_BYTES, ModelConfig
from .weights import ELEMENT_BYTES, SHORT_DTYPE, UNQUANTISED, WeightChoice


def attention_pairs(start: int, length: int, window: int | None = None) -> int:
    """Query-key pairs of a chunk under the causal mask.

    The token at position p attends p + 1 keys, or `window` if that is less, so
    sum over p in [start, start + length) of min(p + 1, window).
    Without a window: length x start + length (length + 1) / 2.
    """
    end = start + length
    if window is None or end <= window:
        return length * start + length * (length + 1) // 2
    growing = max(0, window - start)  # tokens that attend fewer keys than the window
    return attention_pairs(start, growing) + (length - growing) * window


def keys_read(start: int, length: int, window: int | None = None) -> int:
    """Cached positions that a chunk's queries attend, its own included; each is read once."""
    if window is None:
        return start + length
    return start + length - max(0, start + 1 - window)


class StepWork(NamedTuple):
    """The work of one step, in tokens: whole numbers, unless it stands for an average step.

    prefill_tokens, prefill_chunks: context computed. prefill_pairs: its query-key pairs.
    prefill_context_tokens: keys it reads. decode_tokens: sequences that decode.
    decode_context_tokens: keys they attend, the new token's included, summed (the sum of chunk
    ends; the caller takes `min(end, window)` of a model with a sliding window).
    sampled_rows: tokens sampled. swap_tokens: KV tokens moved between device and host.
    """

    prefill_tokens: float = 0
    prefill_chunks: float = 0
    prefill_pairs: float = 0
    prefill_context_tokens: float = 0
    decode_tokens: float = 0
    decode_context_tokens: float = 0
    sampled_rows: float = 0
    swap_tokens: float = 0

    @property
    def tokens(self) -> float:
        return self.prefill_tokens + self.decode_tokens

    @classmethod
    def of(
        cls,
        prefills: Iterable[tuple[int, int]] = (),
        decode_tokens: int = 0,
        decode_context_tokens: int = 0,
        sampled_rows: int | None = None,
        swap_tokens: int = 0,
        window: int | None = None,
    ) -> StepWork:
        """From (start, length) of each prefill chunk and two sums over the decodes.

        sampled_rows: None counts the decodes only; add one for each chunk that ends its prompt.
        window: the model's sliding window.
        """
        tokens = chunks = pairs = context = 0
        for start, length in prefills:
            chunks += 1
            tokens += length
            pairs += attention_pairs(start, length, window)
            context += keys_read(start, length, window)
        rows = decode_tokens if sampled_rows is None else sampled_rows
        return cls(
            tokens,
            chunks,
            pairs,
            context,
            decode_tokens,
            decode_context_tokens,
            rows,
            swap_tokens,
        )


@dataclass(frozen=True)
class ModelWork:
    """What one unit of work costs on one of `tensor_parallel` devices.

    linear_flops_per_token: 2 operations, a multiplication and an addition, for each weight of the
    layers' linear maps (Kaplan et al., 2020, section 2.1). linear_bytes: those weights, scales
    included, read once a step whatever the batch. head_flops_per_row, head_bytes: the output
    projection, which a step computes for sampled rows only.
    attention_flops_per_pair: 4 x layers x heads x head_dim: QK^T and PV, a multiplication and an
    addition for each element (Dao et al., FlashAttention, 2022, count the same).
    kv_bytes_per_token: 2 (K, V) x layers x KV heads x head_dim x element bytes, and the scales of
    codes; written once for each token computed, read once for each key attended by a sequence (its
    queries share it).
    activation_bytes_per_token: inputs and outputs of each linear map and the residual stream twice
    a layer, each moved once; norms, rotation and gating count as fused with their neighbours.
    all_reduce_bytes_per_token: the message, hidden_size elements, of each of the 2 all-reduces a
    layer that splitting attention and MLP by columns then rows needs (Shoeybi et al., Megatron-LM,
    2019, section 3). stored_bytes: weights that lie on the device, the embedding included.
    greedy_head_bytes: of steps with one new token a sequence that sample one, two, … rows of which
    the argmax alone is wanted, where a model that runs reads less than head_bytes for them.
    """

    tensor_parallel: int
    dtype: str
    linear_flops_per_token: float
    linear_bytes: float
    head_flops_per_row: float
    head_bytes: float
    attention_flops_per_pair: float
    kv_bytes_per_token: float
    activation_bytes_per_token: float
    logits_bytes_per_row: float
    all_reduces: int
    all_reduce_bytes_per_token: float
    stored_bytes: float
    greedy_head_bytes: tuple[float, ...] = ()


def model_work(
    model: ModelConfig,
    weights: WeightChoice = UNQUANTISED,
    *,
    tensor_parallel: int = 1,
    kv_dtype: str = "auto",
    kv_scale_bytes: int = KV_SCALE_BYTES,
) -> ModelWork:
    """Counts for a model in its own dtype. kv_dtype, kv_scale_bytes: as
    `ModelConfig.kv_bytes_per_token` takes them, the same bytes that an engine of ours allocates.

    Raises ConfigError for a split that does not go up.
    """
    _check_split(model, tensor_parallel)
    dtype = SHORT_DTYPE[model.dtype]
    element = ELEMENT_BYTES[dtype]
    head = weights.head_format(dtype)
    shard = model.shard(tensor_parallel)
    q_size, kv_size = shard.q_size, shard.kv_size
    hidden, inner = shard.hidden_size, shard.intermediate_size
    # [out, in] of each product; q, k, v and gate, up are one product each, as engines fuse them.
    products = (
        (q_size + 2 * kv_size, hidden),
        (hidden, q_size),
        (2 * inner, hidden),
        (hidden, inner),
    )
    layers = model.num_layers
    layer_weights = sum(rows * columns for rows, columns in products)
    # A map by itself: of a published checkpoint each is stored in its own way.
    linear_bytes = sum(
        one.layers * one.format.bytes_of(one.out_features, one.in_features, weights.group_size)
        for one in weights.layer_maps(shard, dtype)
    )
    moved = sum(rows + columns for rows, columns in products) + 4 * hidden
    vocab_rows = -(-model.vocab_size // tensor_parallel)
    head_weights = vocab_rows * hidden
    head_bytes = head.bytes_of(vocab_rows, hidden, weights.group_size)
    shared = model.tie_word_embeddings and head.name == "none"
    return ModelWork(
        tensor_parallel=tensor_parallel,
        dtype=dtype,
        linear_flops_per_token=2.0 * layers * layer_weights,
        linear_bytes=linear_bytes,
        head_flops_per_row=2.0 * head_weights,
        head_bytes=head_bytes,
        attention_flops_per_pair=4.0 * layers * q_size,
        kv_bytes_per_token=float(shard.kv_bytes_per_token(model.dtype, kv_dtype, kv_scale_bytes)),
        activation_bytes_per_token=layers * moved * element,
        # Logits in float32: written, and read again by the sampler.
        logits_bytes_per_row=2.0 * vocab_rows * 4,
        all_reduces=2 * layers if tensor_parallel > 1 else 0,
        all_reduce_bytes_per_token=hidden * element,
        stored_bytes=linear_bytes + head_weights * element + (0 if shared else head_bytes),
    )


def _check_split(model: ModelConfig, tensor_parallel: int) -> None:
    if tensor_parallel < 1:
        raise ConfigError("tensor_parallel", tensor_parallel, "at least 1")
    kv_heads = model.num_kv_heads
    whole = kv_heads % tensor_parallel == 0 or tensor_parallel % kv_heads == 0
    if model.num_heads % tensor_parallel or model.intermediate_size % tensor_parallel or not whole:
        raise ConfigError(
            "tensor_parallel",
            tensor_parallel,
            f"a divisor of {model.num_heads} heads and {model.intermediate_size} MLP features that "
            f"divides {kv_heads} KV heads or is a multiple of them",
        )
