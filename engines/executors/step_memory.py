"""What steps take of a GPU beside weights and KV cache: from a model's shape alone, without torch.

As `models/llama.py` computes a pass with the kernels for GPUs, and as `sampling.py` draws. Where
PyTorch's own operations stand in for them it may be more.
"""

from __future__ import annotations

from dataclasses import dataclass

from ...kernels.triton.tiles import MOST_EIGHT_BIT_ROWS, MOST_FLOAT32_ROWS, MOST_FOUR_BIT_ROWS
from ..models.config import DTYPE_BYTES, ModelConfig
from .inputs import decode_buckets

# What the driver keeps of one graph of some hundred kernels, rounded up.
_GRAPH_BYTES = 8 * 2**20
# Operations that widen a whole map into scratch: from how many rows on, and whose scratch it is.
_WIDEN = {
    "w4a16_linear": (MOST_FOUR_BIT_ROWS, "4 bits"),
    "fp4_linear": (MOST_FOUR_BIT_ROWS, "4 bits"),
    "w8a16_linear": (MOST_EIGHT_BIT_ROWS, "8 bits"),
}


@dataclass(frozen=True)
class StepShape:
    """The largest step of an engine. tokens: that it computes. rows: that it draws a token for.
    dtype: of activations, a key of DTYPE_BYTES. layers, head: the operations that multiply by the
    weights of the layers, and the one for the output projection's. devices: that share them; each
    keeps the residual whole, and has a row's logits gathered."""

    tokens: int
    rows: int
    dtype: str
    layers: tuple[str, ...] = ("linear",)
    head: str = "linear"
    devices: int = 1


def step_memory_bytes(config: ModelConfig, step: StepShape) -> int:
    """All that it takes of each device. Ids, block tables and workspaces of libraries are not
    counted."""
    return activation_bytes(config, step) + logits_bytes(config, step) + widened_bytes(config, step)


def activation_bytes(config: ModelConfig, step: StepShape) -> int:
    """The most of a pass's intermediate tensors that lie side by side, without logits.

    For each token the residual, its norm, and cosines and sines (2 hidden + head_dim) all the
    while. Beside them in attention: projection, rotated queries, context and its output (qkv + 2 q
    + hidden). In the MLP: gate, up and their product (3 intermediate), more in nearly every model.
    Adding and norms overwrite what they read.
    """
    config = config.shard(step.devices)
    attention = 3 * config.q_size + 2 * config.kv_size + config.hidden_size
    widest = max(attention, 3 * config.intermediate_size)
    always = 2 * config.hidden_size + config.head_dim
    return step.tokens * (always + widest) * DTYPE_BYTES[step.dtype]


def logits_bytes(config: ModelConfig, step: StepShape) -> int:
    """Logits, and for log-probabilities the same in float32, their logarithms and a byte each."""
    return step.rows * config.vocab_size * (DTYPE_BYTES[step.dtype] + 4 + 4 + 1)


def widened_bytes(config: ModelConfig, step: StepShape) -> int:
    """Scratch for the largest map of those that are widened in this step: maps of as many bits
    share one, whose elements are a power of two (`kernels/scratch.py`). Of several operations in
    the layers any may have the largest map."""
    elements: dict[str, int] = {}
    vocab_rows = -(-config.vocab_size // step.devices)
    largest = _largest_map(config.shard(step.devices))
    for op, size, rows in (
        *((op, largest, step.tokens) for op in step.layers),
        (step.head, vocab_rows * config.hidden_size, step.rows),
    ):
        if op not in _WIDEN:
            continue
        most_rows, bits = _WIDEN[op]
        if rows > (MOST_FLOAT32_ROWS if step.dtype == "float32" else most_rows):
            elements[bits] = max(elements.get(bits, 0), size)
    rooms = (1 << (size - 1).bit_length() for size in elements.values())
    return sum(rooms) * DTYPE_BYTES[step.dtype]


def _largest_map(config: ModelConfig) -> int:
    """Elements of the largest linear map of a layer; q, k and v are one, gate and up another."""
    q, kv, inner = config.q_size, config.kv_size, config.intermediate_size
    return config.hidden_size * max(q + 2 * kv, 2 * inner)


def graph_memory_bytes(config: ModelConfig, max_num_seqs: int, dtype: str, devices: int = 1) -> int:
    """Room that the graphs of an engine take on each device, from above: logits, one pass's
    intermediate tensors, and what the driver keeps of each graph."""
    logits = 2 * config.vocab_size  # computed, and kept for the sampler
    config = config.shard(devices)
    widest = (
        logits
        + 4 * config.hidden_size
        + 2 * config.q_size
        + 2 * config.kv_size
        + 3 * config.intermediate_size
    )
    rows = max_num_seqs * widest * DTYPE_BYTES[dtype]
    return rows + len(decode_buckets(max_num_seqs)) * _GRAPH_BYTES
