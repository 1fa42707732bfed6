"""How much of a device is room for keys and values: one rule for the engine that runs there and for
the one that is simulated. No torch, for a simulation needs none."""

from __future__ import annotations

from collections.abc import Mapping

from .cost.weights import WeightChoice
from .executors.step_memory import StepShape, graph_memory_bytes, step_memory_bytes
from .models.config import ModelConfig
from .step import Limits

# TensorRT-LLM's default (kv_cache_free_gpu_mem_fraction). What is left is the runtime's: libraries'
# workspaces, ids and block tables, and whatever else is not counted.
KV_MEMORY_SHARE = 0.9


def kv_room_bytes(
    free_bytes: float, taken_bytes: Mapping[str, float], share: float = KV_MEMORY_SHARE
) -> int:
    """Of one device; below 1 where nothing is left. taken_bytes: what will lie there, by name."""
    return int((free_bytes - sum(taken_bytes.values())) * share)


def taken_beside_weights(
    model: ModelConfig,
    weights: WeightChoice,
    limits: Limits,
    *,
    graphs: bool,
    devices: int = 1,
) -> dict[str, int]:
    """Bytes of each device that neither weights nor KV cache get, by what takes them.

    model: in the dtype that it is computed in. graphs: whether decode steps are captured. devices:
    tensor parallel.

    vLLM looks instead: it computes one step of `max_num_batched_tokens` and takes the peak of it
    (`profile_run`), so that its room depends on the same two numbers as this.
    """
    taken: dict[str, int] = {}
    if graphs:
        taken["graphs"] = graph_memory_bytes(model, limits.max_num_seqs, model.dtype, devices)
    step = largest_step(model, weights, limits, devices)
    return taken | {f"a step of {step.tokens} tokens": step_memory_bytes(model, step)}


def largest_step(
    model: ModelConfig, weights: WeightChoice, limits: Limits, devices: int = 1
) -> StepShape:
    """model: in the dtype that it is computed in."""
    return StepShape(
        tokens=limits.max_num_batched_tokens,
        rows=limits.max_num_seqs,
        dtype=model.dtype,
        layers=weights.layer_ops(model),
        head=weights.head_op(),
        devices=devices,
    )


def said(taken_bytes: Mapping[str, float]) -> str:
    """As `16.1 GB for weights, 1.2 GB for a step of 8192 tokens`."""
    return ", ".join(f"{size / 1e9:.1f} GB for {what}" for what, size in taken_bytes.items())
