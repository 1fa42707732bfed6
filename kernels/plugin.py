"""What a kernel of one's own imports: a decorator, and the types that operations are called with.

    from llmbench.kernels.plugin import implements

    @implements("silu_mul", backend="mine")
    def silu_mul(gate_up): ...

`docs/kernels.md` has worked examples; `llmbench kernels check --kernel silu_mul=mine.py` runs the
operation's tests on it.
"""

from __future__ import annotations

from .batch import AttentionBatch, ContiguousBatch, PagedBatch
from .decoder import DecoderWeights, LayerCaches
from .errors import KernelError
from .fp4 import Fp4Weight
from .fp8 import Fp8Weight
from .grouped_int8 import GroupedInt8
from .int4 import PackedInt4
from .quantized_kv import QuantizedKV
from .registry import implements
from .requirements import interpreting, package
from .w8a8 import W8A8Weight

__all__ = [
    "AttentionBatch",
    "ContiguousBatch",
    "DecoderWeights",
    "Fp4Weight",
    "Fp8Weight",
    "GroupedInt8",
    "KernelError",
    "LayerCaches",
    "PackedInt4",
    "PagedBatch",
    "QuantizedKV",
    "W8A8Weight",
    "implements",
    "interpreting",
    "package",
]
