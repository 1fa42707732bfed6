"""Where keys and values lie: one pair of tensors a layer, in the layout of the KV cache.

All of it is there before the first step. Were pages of memory given as they are met, blocks handed
out in turn would make steps wait until each has been used, and an arena used from its beginning
hardly ever: the two layouts would differ by what is neither's.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ...kernels.huge_pages import HugePages, populate
from ...kernels.quantized_kv import SCALE_DTYPE, QuantizedKV
from .decoder import DecoderConfig

CODE_DTYPES = {"int8": torch.int8, "fp8": torch.float8_e4m3fn}


@dataclass(frozen=True)
class KVTensors:
    """keys[layer], values[layer]: [blocks, block_size, kv_heads, head_dim] or
    [tokens, kv_heads, head_dim], contiguous; the model writes them in place.

    key_scales[layer], value_scales[layer]: of a quantised cache, the same without head_dim; else
    there are none.
    """

    keys: tuple[Tensor, ...]
    values: tuple[Tensor, ...]
    key_scales: tuple[Tensor, ...] = ()
    value_scales: tuple[Tensor, ...] = ()

    @property
    def nbytes(self) -> int:
        return sum(tensor.nbytes for tensor in self.tensors)

    def quantized(self, layer: int) -> QuantizedKV | None:
        """The layer's codes and scales; None if it holds the model's own dtype."""
        if not self.key_scales:
            return None
        return QuantizedKV(
            self.keys[layer], self.values[layer], self.key_scales[layer], self.value_scales[layer]
        )

    @property
    def tensors(self) -> tuple[Tensor, ...]:
        """All of them, scales too; the first dimension of each is the unit that the KV cache
        counts in."""
        return self.keys + self.values + self.key_scales + self.value_scales


def allocate_paged(
    config: DecoderConfig,
    num_blocks: int,
    block_size: int,
    dtype: torch.dtype,
    device: torch.device,
    kv_dtype: str = "auto",
) -> KVTensors:
    """Zeroed blocks for every layer. kv_dtype: `auto` for `dtype`, or a key of CODE_DTYPES."""
    return _allocate(config, (num_blocks, block_size), dtype, device, kv_dtype)


def allocate_contiguous(
    config: DecoderConfig,
    slots: int,
    dtype: torch.dtype,
    device: torch.device,
    kv_dtype: str = "auto",
) -> KVTensors:
    """A zeroed arena of token slots for every layer. kv_dtype: as for `allocate_paged`."""
    return _allocate(config, (slots,), dtype, device, kv_dtype)


def allocate_shared(
    config: DecoderConfig,
    slots: int,
    dtype: torch.dtype,
    device: torch.device,
    kv_dtype: str = "auto",
) -> KVTensors:
    """One arena that every layer overwrites: for a pass that computes a sequence in one chunk,
    where a layer reads only what it has just written."""
    return _allocate(config, (slots,), dtype, device, kv_dtype, shared=True)


def _allocate(
    config: DecoderConfig,
    room: tuple[int, ...],
    dtype: torch.dtype,
    device: torch.device,
    kv_dtype: str,
    shared: bool = False,
) -> KVTensors:
    heads = (*room, config.num_kv_heads)
    layers = config.num_layers
    pages = HugePages() if device.type == "cpu" else None

    def tensors(shape: tuple[int, ...], dtype: torch.dtype) -> tuple[Tensor, ...]:
        def make() -> Tensor:
            if pages is not None:
                return populate(pages.zeros(shape, dtype))
            return torch.zeros(shape, dtype=dtype, device=device)

        return (make(),) * layers if shared else tuple(make() for _ in range(layers))

    elements = (*heads, config.head_dim)
    if kv_dtype == "auto":
        return KVTensors(tensors(elements, dtype), tensors(elements, dtype))
    codes = CODE_DTYPES[kv_dtype]
    return KVTensors(
        tensors(elements, codes),
        tensors(elements, codes),
        tensors(heads, SCALE_DTYPE),
        tensors(heads, SCALE_DTYPE),
    )
