"""Attention as transformers' models call it, computed by our kernels over our KV cache.

transformers lets a model's attention be replaced by name (`AttentionInterface`). Two functions are
registered: one serves, the other only notes what a model asks for, so that a model that needs more
than the kernels compute is refused before its weights are read.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from functools import cached_property
from time import perf_counter
from typing import Any

import torch
from torch import Tensor, nn
from transformers import AttentionInterface, AttentionMaskInterface

from ...kernels.batch import AttentionBatch
from ..errors import ModelError
from .decoder import AttentionTimer
from .kv_tensors import KVTensors
from .ops import AttentionOps

SERVED = "llmbench"
TRACED = "llmbench-traced"

# Keywords that reach an attention function without a part in its arithmetic: flags of the call,
# and what other backends are told about padding and packing, which we say with the batch.
_NO_ARITHMETIC = frozenset(
    (
        *("use_cache", "output_attentions", "output_hidden_states", "return_dict"),
        *("position_ids", "cache_position", "logits_to_keep", "deterministic"),
        *("cu_seq_lens_q", "cu_seq_lens_k", "max_length_q", "max_length_k"),
    )
)


@dataclass(frozen=True)
class AttentionLayer:
    """What one layer asks of attention. key_dim, value_dim: a head's width in the cache.

    window: how many tokens back a token attends, itself included; None: all.
    """

    index: int
    query_heads: int
    kv_heads: int
    key_dim: int
    value_dim: int
    window: int | None


@dataclass(frozen=True)
class Step:
    """Where the keys and values of the pass under way lie. windows: by layer."""

    cache: KVTensors
    batch: AttentionBatch
    slot_mapping: Tensor
    ops: AttentionOps
    windows: tuple[int | None, ...]
    timer: AttentionTimer | None


_step: ContextVar[Step] = ContextVar("step")
_traced: ContextVar[list[AttentionLayer]] = ContextVar("traced")


@contextmanager
def serving(step: Step) -> Iterator[None]:
    """Attention of the models called inside reads and writes `step`."""
    token = _step.set(step)
    try:
        yield
    finally:
        _step.reset(token)


@contextmanager
def tracing() -> Iterator[list[AttentionLayer]]:
    """The layers of the models called inside, in the order of their calls."""
    layers: list[AttentionLayer] = []
    token = _traced.set(layers)
    try:
        yield layers
    finally:
        _traced.reset(token)


def attend(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: object,
    scaling: float | None = None,
    **options: object,
) -> tuple[Tensor, None]:
    """query [1, heads, T, D], key and value [1, kv_heads, T, D] -> [1, T, heads, D].

    T is over the whole batch; what a token sees is the batch's and the layer's window, never a
    mask's. Raises ModelError for an option that the kernels do not compute.
    """
    step = _step.get()
    start_s = perf_counter() if step.timer is not None else 0.0
    _refuse_options(module, attention_mask, options)
    index = _layer_index(module)
    q, k, v = (states[0].transpose(0, 1) for states in (query, key, value))
    scale = query.shape[-1] ** -0.5 if scaling is None else scaling
    context = step.ops.attend_through_cache(
        *(q.contiguous(), k, v, step.cache, index),
        *(step.batch, step.slot_mapping, scale, step.windows[index]),
    )
    if step.timer is not None:
        step.timer.seconds += perf_counter() - start_s
    return context[None], None


def trace(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: object,
    scaling: float | None = None,  # noqa: ARG001 passed on when served
    **options: object,
) -> tuple[Tensor, None]:
    """Notes the layer and gives an empty result of the right shape; as `attend` otherwise."""
    mask = attention_mask if isinstance(attention_mask, Mask) else None
    _refuse_options(module, None if mask else attention_mask, options)
    if mask is not None and not mask.is_window:
        problem = "has a mask that is neither causal nor a sliding window, which is not computed"
        raise ModelError("model", type(module).__name__, problem)
    window = mask.local_size if mask else None
    told = options.get("sliding_window")
    if told is not None and told != window:
        # transformers' own backends would disagree: some read the mask, some the keyword.
        problem = f"has a sliding window of {told} and a mask of {window}"
        raise ModelError("model", type(module).__name__, problem)
    _traced.get().append(
        AttentionLayer(
            index=_layer_index(module),
            query_heads=query.shape[1],
            kv_heads=key.shape[1],
            key_dim=key.shape[3],
            value_dim=value.shape[3],
            window=window,
        )
    )
    return query.new_empty(1, query.shape[2], query.shape[1], value.shape[3]), None


@dataclass(frozen=True)
class Mask:
    """The rule of a mask that was asked for, never built: sees(batch, head, query, key) -> bool.

    local_size: the size transformers states for masks that end somewhere.
    """

    sees: Callable[[Tensor, Tensor, Tensor, Tensor], Tensor]
    local_size: int | None

    @cached_property
    def is_window(self) -> bool:
        """Whether the rule is causal, and ends where local_size says, if it says anything.

        The rule is asked, not trusted by name: queries around each edge, keys over twice the size.
        """
        size = self.local_size
        length = _LONG if size is None else 2 * size + 2
        edges = {0, 1, length // 2 - 2, length // 2 - 1, length // 2, length - 1}
        query = torch.tensor(sorted(edge for edge in edges if edge >= 0))[:, None]
        key = torch.arange(length)[None]
        zero = torch.zeros((), dtype=torch.int64)
        expected = key <= query
        if size is not None:
            expected &= key > query - size
        try:
            seen = self.sees(zero, zero, query, key)
            return torch.equal(seen.expand_as(expected), expected)
        except RuntimeError:
            # The rule reads the tokens themselves, which have no values while tracing.
            return False


_LONG = 2**17  # keys that a rule without a size is asked about


def trace_mask(
    *,
    mask_function: Callable[..., Tensor],
    local_size: int | None = None,
    **_shape: object,
) -> Any:
    """What transformers is given as a mask while tracing; it hands it on to `trace` as it is."""
    return Mask(mask_function, local_size)


def _layer_index(module: nn.Module) -> int:
    index = getattr(module, "layer_idx", None)
    if not isinstance(index, int):
        raise ModelError("model", type(module).__name__, "does not say which layer it belongs to")
    return index


def _refuse_options(
    module: nn.Module, attention_mask: object, options: Mapping[str, object]
) -> None:
    """Whatever a model asks for beyond causal attention with a window is refused by name."""
    name = type(module).__name__
    if attention_mask is not None:
        raise ModelError("model", name, "gives attention a mask of its own, which is not computed")
    causal = options.get("is_causal")
    if not (getattr(module, "is_causal", True) if causal is None else causal):
        raise ModelError("model", name, "attends in both directions, which is not computed")
    for option, value in options.items():
        if option in _NO_ARITHMETIC or option in ("is_causal", "sliding_window"):
            continue
        if value is None or value is False or (option == "dropout" and value == 0):
            continue
        raise ModelError("model", name, f"asks attention for {option!r}, which is not computed")


AttentionInterface.register(SERVED, attend)
AttentionInterface.register(TRACED, trace)
# None is registered for SERVED: transformers then builds no mask at all.
AttentionMaskInterface.register(TRACED, trace_mask)
