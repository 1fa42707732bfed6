"""A whole decode step in one call of the library.

Step by step, each operation of a layer costs Python, an allocation and a parallel region of its
own: 6 to 8 microseconds, some 300 times a step. Here the threads stay together from the embedding
to the logits (`decoder.h`). The numbers are those of the single native operations.
"""

from __future__ import annotations

import ctypes
from dataclasses import dataclass
from functools import partial
from weakref import ReferenceType, ref

import torch
from torch import Tensor

from ..batch import AttentionBatch, PagedBatch
from ..decoder import DecoderLayer, DecoderWeights, LayerCaches, LinearMap
from ..dispatch import PreparedOp
from ..registry import KernelError
from ..scratch import scratch
from .attention import CODES, HEAD_DIM_MULTIPLE, UNBOUNDED
from .build import ORDERS, Target
from .library import Native, int64s
from .packed import NativeWeights, PackedMap
from .register import register
from .screen import HeadScreen, NativeScreen, screen_of

# With more rows the work is bound by arithmetic, and PyTorch's products for many rows win.
MOST_TOKENS = 32

_POINTER, _SIZE, _FLOAT = ctypes.c_void_p, ctypes.c_int64, ctypes.c_float


class _Layer(ctypes.Structure):
    """`decoder::Layer`."""

    _fields_ = [
        *((name, _POINTER) for name in ("input_norm", "post_norm", "q_norm", "k_norm")),
        *((name, NativeWeights) for name in ("qkv", "o", "gate_up", "down")),
    ]


class _Model(ctypes.Structure):
    """`decoder::Model`."""

    _fields_ = [
        *((name, _POINTER) for name in ("layers", "embedding", "cos", "sin", "norm")),
        ("lm_head", NativeWeights),
        ("screen", NativeScreen),
        *((name, _SIZE) for name in ("layer_count", "hidden", "heads", "kv_heads", "head_dim")),
        *((name, _SIZE) for name in ("intermediate", "window")),
        *((name, _FLOAT) for name in ("eps", "scale")),
    ]


class _Caches(ctypes.Structure):
    """`decoder::Caches`."""

    _fields_ = [
        *((name, _POINTER) for name in ("keys", "values", "key_scales", "value_scales")),
        ("codes", _SIZE),
    ]


class _Step(ctypes.Structure):
    """`decoder::Step`."""

    _fields_ = [
        ("tokens", _SIZE),
        *((name, _POINTER) for name in ("token_ids", "positions", "slots")),
        ("caches", _Caches),
        ("tables", _POINTER),
        *((name, _SIZE) for name in ("table_stride", "page_size", "page_unit")),
        *((name, _POINTER) for name in ("lengths", "logit_rows")),
        ("logit_count", _SIZE),
        ("logits", _POINTER),
        ("likeliest", _POINTER),
        ("scratch", _POINTER),
        ("attention_s", ctypes.c_double),
    ]


@dataclass(frozen=True)
class _BoundCache:
    """A cache as the library reads it; made once for each that is served from.

    cache: not kept alive by this, for the next engine's has to have room. pointers: arrays, a layer
    each, that `caches` points to.
    """

    cache: ReferenceType[LayerCaches]
    pointers: tuple[ctypes.Array[ctypes.c_void_p], ...]
    caches: _Caches
    readable: bool


class NativeDecoderStep:
    """`decoder_step` by `native`, for steps of a few decodes."""

    def __init__(self, native: Native, weights: DecoderWeights) -> None:
        self._native = native
        self._weights = weights  # the structs hold bare pointers to them
        self._layers = (_Layer * len(weights.layers))(
            *(_layer(layer, native) for layer in weights.layers)
        )
        self._screen = screen_of(_packed_map(weights.lm_head, native), native)
        self._model = _model(weights, self._layers, native, self._screen)
        self._scratch_bytes = native.library.decoder_scratch_bytes(
            ctypes.addressof(self._model), MOST_TOKENS
        )
        self._step = _Step()
        self._bound: _BoundCache | None = None
        self.attention_s = 0.0
        self.likeliest: Tensor | None = None

    @property
    def weight_bytes(self) -> int:
        """Bytes that a step reads of its weights."""
        return self._weights.weight_bytes

    def head_bytes(self, rows: int, argmax_only: bool = False) -> int:
        """Of the output projection, or of what stands in for all but a few rows of it."""
        if self._screen is not None and argmax_only and rows <= self._screen.most_rows:
            return self._screen.weight_bytes
        return self._weights.lm_head.weight_bytes

    def takes(self, cache: LayerCaches, batch: AttentionBatch, rows: int) -> bool:
        """Up to MOST_TOKENS sequences with one new token each, over a cache of bfloat16 or of codes
        with scales."""
        tokens = len(batch.query_lengths)
        return (
            tokens <= MOST_TOKENS
            and rows <= tokens
            and all(length == 1 for length in batch.query_lengths)
            and (not isinstance(batch, PagedBatch) or batch.block_tables.stride(-1) == 1)
            and self._bind(cache).readable
        )

    def __call__(
        self,
        token_ids: Tensor,
        positions: Tensor,
        cache: LayerCaches,
        batch: AttentionBatch,
        slot_mapping: Tensor,
        logit_rows: Tensor,
        argmax_only: bool = False,
    ) -> Tensor:
        """As the reference, of a call that `takes` allows."""
        library, bound, step = self._native.library, self._bind(cache), self._step
        logits = self._weights.embedding.new_empty(len(logit_rows), self._model.lm_head.n)
        room = scratch("decoder", (self._scratch_bytes,), torch.uint8, logits.device)
        inputs = [one.contiguous() for one in (token_ids, positions, slot_mapping, logit_rows)]
        step.tokens = len(token_ids)
        step.token_ids, step.positions, step.slots, step.logit_rows = (
            one.data_ptr() for one in inputs
        )
        step.caches = bound.caches
        lengths = int64s(batch.kv_lengths)
        step.lengths = ctypes.addressof(lengths)
        if isinstance(batch, PagedBatch):
            step.tables, step.table_stride = (
                batch.block_tables.data_ptr(),
                batch.block_tables.stride(0),
            )
            step.page_size = step.page_unit = cache.keys[0].shape[1]
        else:
            starts = int64s(batch.starts)
            step.tables, step.table_stride = ctypes.addressof(starts), 1
            step.page_size, step.page_unit = UNBOUNDED, 1
        step.logit_count, step.logits = len(logit_rows), logits.data_ptr()
        likeliest = torch.empty(len(logit_rows), dtype=torch.int64) if argmax_only else None
        step.likeliest = None if likeliest is None else likeliest.data_ptr()
        step.scratch, step.attention_s = room.data_ptr(), 0.0
        library.decoder_step(
            *(ctypes.addressof(self._model), ctypes.addressof(step)),
            *(torch.get_num_threads(), library.parallel),
        )
        self.attention_s, self.likeliest = step.attention_s, likeliest
        return logits

    def _bind(self, cache: LayerCaches) -> _BoundCache:
        if self._bound is None or self._bound.cache() is not cache:
            parts = (cache.keys, cache.values, cache.key_scales, cache.value_scales)
            pointers = tuple(map(_pointers, parts))
            codes = CODES.get(cache.keys[0].dtype, 0)
            caches = _Caches(*map(ctypes.addressof, pointers), codes)
            self._bound = _BoundCache(ref(cache), pointers, caches, _is_readable(cache))
        return self._bound


def _is_readable(cache: LayerCaches) -> bool:
    """bfloat16 without scales, or one kind of code with one for each tensor; all contiguous."""
    held, scales = (*cache.keys, *cache.values), (*cache.key_scales, *cache.value_scales)
    dtype = held[0].dtype
    if dtype in CODES:
        whole = all(one.dtype is dtype and one.is_cpu and one.is_contiguous() for one in held)
        return whole and len(scales) == len(held) and all(map(_is_plain, scales))
    return not scales and all(map(_is_plain, held))


def _pointers(tensors: tuple[Tensor, ...]) -> ctypes.Array[ctypes.c_void_p]:
    return (_POINTER * len(tensors))(*(tensor.data_ptr() for tensor in tensors))


def _takes(target: Target, weights: DecoderWeights) -> bool:
    """Heads of whole vectors, plain bfloat16, and maps that are packed for the library."""
    tensors = [weights.embedding, weights.cos, weights.sin, weights.norm]
    maps = [weights.lm_head]
    for layer in weights.layers:
        tensors += [one for one in _norms(layer) if one is not None]
        maps += _maps(layer)
    return (
        weights.head_dim % HEAD_DIM_MULTIPLE == 0
        and all(map(_is_plain, tensors))
        and all(_packed(one, target) is not None for one in maps)
    )


def _model(
    weights: DecoderWeights,
    layers: ctypes.Array[_Layer],
    native: Native,
    screen: HeadScreen | None,
) -> _Model:
    """Raises KernelError for what the library would misread."""
    if weights.head_dim % HEAD_DIM_MULTIPLE:
        raise KernelError(f"decoder_step: head_dim {weights.head_dim} is not a multiple of 16")
    hidden = weights.embedding.shape[1]
    q_size = weights.num_heads * weights.head_dim
    kv_size = weights.num_kv_heads * weights.head_dim
    intermediate = layers[0].down.k
    for layer in layers:
        shapes = [(one.n, one.k) for one in (layer.qkv, layer.o, layer.gate_up, layer.down)]
        expected = [
            (q_size + 2 * kv_size, hidden),
            (hidden, q_size),
            (2 * intermediate, hidden),
            (hidden, intermediate),
        ]
        if shapes != expected:
            raise KernelError(f"decoder_step: a layer's maps are {shapes}, not {expected}")
    return _Model(
        ctypes.addressof(layers),
        *map(_pointer, (weights.embedding, weights.cos, weights.sin, weights.norm)),
        _packed_map(weights.lm_head, native).native_weights,
        NativeScreen() if screen is None else screen.native,
        *(len(layers), hidden, weights.num_heads, weights.num_kv_heads, weights.head_dim),
        *(intermediate, UNBOUNDED if weights.window is None else weights.window),
        *(weights.rms_norm_eps, weights.head_dim**-0.5),
    )


def _norms(layer: DecoderLayer) -> tuple[Tensor | None, ...]:
    return layer.input_norm, layer.post_norm, layer.q_norm, layer.k_norm


def _maps(layer: DecoderLayer) -> tuple[LinearMap, ...]:
    return layer.qkv, layer.o, layer.gate_up, layer.down


def _layer(layer: DecoderLayer, native: Native) -> _Layer:
    maps = (_packed_map(one, native).native_weights for one in _maps(layer))
    return _Layer(*map(_pointer, _norms(layer)), *maps)


def _packed(linear: LinearMap, target: Target) -> PackedMap | None:
    """The map as it is packed for `target`, or None: another may order its weights otherwise."""
    prepared = linear.prepared[0] if isinstance(linear, PreparedOp) else linear
    if not isinstance(prepared, PackedMap):
        return None
    same_order = prepared.packed_for.multiplies_bfloat16 == target.multiplies_bfloat16
    return prepared if same_order else None


def _packed_map(linear: LinearMap, native: Native) -> PackedMap:
    packed = _packed(linear, native.target)
    if packed is None:
        name = type(linear).__name__
        raise KernelError(f"decoder_step: {name} is not a map that is packed for it")
    return packed


def _pointer(tensor: Tensor | None) -> int | None:
    if tensor is None:
        return None
    if not _is_plain(tensor):
        raise KernelError(f"decoder_step: {tensor.dtype} on {tensor.device} is not plain bfloat16")
    return tensor.data_ptr()


def _is_plain(tensor: Tensor) -> bool:
    return tensor.dtype == torch.bfloat16 and tensor.is_cpu and tensor.is_contiguous()


@dataclass(frozen=True)
class NativeDecoder:
    """`decoder_step` by `native`, of models whose maps are packed for it."""

    native: Native

    def __call__(self, weights: DecoderWeights) -> NativeDecoderStep:
        """Raises KernelError."""
        return NativeDecoderStep(self.native, weights)


for _targets in ORDERS:
    register("decoder_step", NativeDecoder, targets=_targets, takes=partial(_takes, _targets[0]))
