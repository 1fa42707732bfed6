"""What an engine's products are computed in, so that each is held against the right rate."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ...engines.cost.floor import Products
from ...engines.cost.weights import SHORT_DTYPE, WeightChoice, WeightFormat
from .rates import W4A8

if TYPE_CHECKING:
    from ...engines.resolved import ResolvedEngine


def product_dtypes(
    engine: ResolvedEngine, weights: WeightChoice, *, emulated: bool
) -> Products[str]:
    """bf16, int8, fp8, w4a8 … weights: the engine's; of layers that differ, most that are quantised
    count. emulated: its method is, in the model's own dtype, because the device lacks the method's.
    """
    own = SHORT_DTYPE[engine.dtype]
    layers, head = weights.layer_format(own), weights.head_format(own)
    # A checkpoint's output projection may be stored as its layers are: then it is emulated, too.
    return Products(
        own if emulated else _computed_in(layers, own, engine),
        own if emulated and head.name == layers.name else _computed_in(head, own, engine),
        own,
    )


def _computed_in(format: WeightFormat, own: str, engine: ResolvedEngine) -> str:
    if not format.arithmetic:
        return own
    nibbles = format.bits == 4 and engine.device == "cpu"
    return W4A8 if nibbles else format.arithmetic[0]
