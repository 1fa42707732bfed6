"""A checkpoint with 8-bit weights that vLLM serves: per-channel weights, per-token activations.

Weights are rounded to the nearest of 255 levels with one scale an output row, w = q x scale with
scale = max |w| / 127, which needs no data. The embedding, tied to the output projection, stays as
it is. Format: compressed-tensors, `int-quantized`
(https://github.com/vllm-project/compressed-tensors).
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

LEVELS = 127
_MAPS = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
_COMPRESSION = {
    "quant_method": "compressed-tensors",
    "format": "int-quantized",
    "quantization_status": "compressed",
    "ignore": ["lm_head"],
    "config_groups": {
        "group_0": {
            "targets": ["Linear"],
            "weights": {
                "num_bits": 8,
                "type": "int",
                "symmetric": True,
                "strategy": "channel",
                "dynamic": False,
            },
            "input_activations": {
                "num_bits": 8,
                "type": "int",
                "symmetric": True,
                "strategy": "token",
                "dynamic": True,
            },
        }
    },
}


def write_w8a8(source: Path, target: Path) -> Path:
    """The Hugging Face directory `source` with 8-bit linear maps, at `target`; made once."""
    from safetensors.torch import load_file, save_file

    if target.is_dir():
        return target
    making = target.with_name(f".{target.name}")
    shutil.rmtree(making, ignore_errors=True)
    making.mkdir(parents=True)
    tensors: dict[str, torch.Tensor] = {}
    for file in sorted(source.glob("*.safetensors")):
        for name, tensor in load_file(file).items():
            tensors.update(_packed(name, tensor))
    save_file(tensors, making / "model.safetensors", metadata={"format": "pt"})
    config = json.loads((source / "config.json").read_text(encoding="utf-8"))
    (making / "config.json").write_text(
        json.dumps({**config, "quantization_config": _COMPRESSION}, indent=2), encoding="utf-8"
    )
    for file in source.glob("tokenizer*"):
        shutil.copy(file, making)
    return making.replace(target)


def quantise_rows(weight: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """[out, in] to int8 [out, in] and float32 scales [out, 1]; a row of zeros has scale 1."""
    import torch

    rows = weight.float()
    scale = rows.abs().amax(dim=1, keepdim=True) / LEVELS
    scale = torch.where(scale > 0, scale, torch.ones_like(scale))
    return (rows / scale).round().clamp(-LEVELS, LEVELS).to(torch.int8), scale


def _packed(name: str, tensor: torch.Tensor) -> dict[str, torch.Tensor]:
    if not name.endswith(tuple(f".{one}.weight" for one in _MAPS)):
        return {name: tensor}
    codes, scale = quantise_rows(tensor)
    return {name: codes, f"{name}_scale": scale}
