"""`quant_method: fp8`: e4m3 weights with a scale a block of 128 x 128 (`weight_scale_inv`, which is
a multiplier for all its name), or with one a tensor. With `scale_fmt: ue8m0` the multipliers are
powers of two; transformers then writes them as float8_e8m0fnu, DeepSeek's own files as float32.

Sources: DeepSeek-V3 Technical Report, 2024, section 3.3, and its checkpoints; transformers'
`FineGrainedFP8Config`; AutoFP8 (github.com/neuralmagic/AutoFP8) for scales a tensor.
"""

from __future__ import annotations

from ...models.config import LAYERS
from ..scheme import Scheme
from .fields import Fields, names_module
from .fp8_scaled import Fp8Layout
from .layout import FLOATS, KV_CACHE, Format

# transformers', of the scales that AutoFP8 calls weight_scale and input_scale.
_OTHER_NAMES = ("weight_scale_inv", "activation_scale")


def parse(data: Fields) -> Format:
    """Raises ModelError for settings that are not known."""
    layout = _layout(data)
    kept = [*data.strings("modules_to_not_convert"), *data.strings("ignored_layers")]
    notes = []
    if data.get("scale_fmt") == "ue8m0":
        notes.append("its activations' scales would be powers of two; here they are any float")
    if data.get("kv_cache_scheme"):  # AutoFP8's
        notes.append(KV_CACHE)

    def layout_of(module: str) -> Fp8Layout | None:
        quantized = module.startswith(LAYERS) and not any(names_module(key, module) for key in kept)
        return layout if quantized else None

    return Format("fine-grained FP8", layout_of, tuple(notes))


def _layout(data: Fields) -> Fp8Layout:
    data.one_of("fmt", "e4m3", default="e4m3")
    activations = data.one_of("activation_scheme", "dynamic", "static", default="dynamic")
    block = data.get("weight_block_size")
    if block is None:
        static = activations == "static"
        scheme = Scheme("fp8-static" if static else "fp8", 8)
        return Fp8Layout(scheme, "tensor", static, also=_OTHER_NAMES)
    data.one_of("activation_scheme", "dynamic", default="dynamic")
    rows, columns = block_of(data, "weight_block_size")
    dtypes = (*FLOATS, "F8_E8M0") if data.get("scale_fmt") == "ue8m0" else FLOATS
    scheme = Scheme("fp8-block", 8)
    return Fp8Layout(
        scheme, "block", block=(rows, columns), scale="weight_scale_inv", dtypes=dtypes
    )


def block_of(data: Fields, name: str) -> tuple[int, int]:
    """Rows and columns that share a scale. Raises ModelError."""
    value = data.get(name)
    whole = isinstance(value, list) and len(value) == 2 and all(type(one) is int for one in value)
    if not whole or min(value) < 1:
        raise data.wrong(name, "is not two numbers above 0, rows and columns")
    return value[0], value[1]
