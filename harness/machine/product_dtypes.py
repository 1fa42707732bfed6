"""What an engine's products are computed in, so that each is held against the right rate."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ...engines.cost.floor import Products
from ...engines.cost.weights import SHORT_DTYPE, WeightChoice
from .rates import W4A8

if TYPE_CHECKING:
    from ...engines.resolved import ResolvedEngine


def product_dtypes(engine: ResolvedEngine, *, emulated: bool) -> Products[str]:
    """bf16, int8, fp8, w4a8 … emulated: its method is, in the model's own dtype, because the
    device lacks the method's."""
    own = SHORT_DTYPE[engine.dtype]
    weights = WeightChoice.of(engine)
    linear = weights.layer_format(own).arithmetic
    head = weights.head_format(own).arithmetic
    if emulated or not linear:
        layers = own
    elif engine.quant_activations == "int8" and engine.device == "cpu":
        layers = W4A8
    else:
        layers = linear[0]
    return Products(layers, head[0] if head else own, own)
