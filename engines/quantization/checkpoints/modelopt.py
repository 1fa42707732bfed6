"""NVIDIA's Model Optimizer: FP8 with a scale a tensor, and NVFP4.

Source: github.com/NVIDIA/Model-Optimizer, its export to Hugging Face directories: settings in
`hf_quant_config.json`, and of late in config.json, too.
"""

from __future__ import annotations

from fnmatch import fnmatchcase

from ...models.config import LAYERS
from ..scheme import Scheme
from .compressed_tensors import WIDE_INPUTS
from .fields import Fields
from .fp4_packed import Nvfp4Layout
from .fp8_scaled import Fp8Layout
from .layout import KV_CACHE, Format, Layout

_LAYOUTS: dict[str, Layout] = {
    "FP8": Fp8Layout(Scheme("fp8-static", 8), "tensor", static=True),
    "FP8_PER_CHANNEL_PER_TOKEN": Fp8Layout(Scheme("fp8", 8), "channel"),
    "NVFP4": Nvfp4Layout(
        Scheme("nvfp4", 4), "weight", "weight_scale_2", divides=False, input_factor="input_scale"
    ),
}


def parse(data: Fields) -> Format:
    """data: `quantization` of hf_quant_config.json, or `quantization_config` of config.json with
    `quant_method` modelopt. Raises ModelError for settings that are not known."""
    algorithm = data.one_of("quant_algo", *_LAYOUTS)
    if algorithm == "NVFP4":
        data.one_of("group_size", 16, default=16)
    layout = _LAYOUTS[algorithm]
    kept = [*data.strings("exclude_modules"), *data.strings("ignore")]
    notes = []
    if algorithm == "NVFP4":
        notes.append(WIDE_INPUTS)
    if data.get("kv_cache_quant_algo") or data.get("kv_cache_scheme"):
        notes.append(KV_CACHE)

    def layout_of(module: str) -> Layout | None:
        if not module.startswith(LAYERS) or any(_excludes(pattern, module) for pattern in kept):
            return None
        return layout

    return Format(f"ModelOpt ({algorithm})", layout_of, tuple(notes))


def _excludes(pattern: str, module: str) -> bool:
    """Wildcards are the shell's; a module's name stands for all that is in it."""
    return fnmatchcase(module, pattern) or fnmatchcase(module, f"{pattern}.*")
