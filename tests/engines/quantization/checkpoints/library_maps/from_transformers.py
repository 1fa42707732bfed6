"""Fine-grained FP8, rounded and read by transformers."""

from __future__ import annotations

from importlib import import_module
from types import SimpleNamespace
from typing import Any

import torch

from .stored import LibraryMap

MODULE = "model.layers.0.mlp.up_proj"
N, K = 48, 96
CASES: dict[str, dict[str, Any]] = {
    "blocks": {"weight_block_size": (16, 32)},
    "blocks, powers of two": {"weight_block_size": (16, 32), "scale_fmt": "ue8m0"},
    "tensor": {"weight_block_size": None},
}


def make() -> dict[str, LibraryMap]:
    return {name: _made(options) for name, options in CASES.items()}


def _made(options: dict[str, Any]) -> LibraryMap:
    from transformers import FineGrainedFP8Config

    library = import_module("transformers.integrations.finegrained_fp8")
    config = FineGrainedFP8Config(modules_to_not_convert=["lm_head"], **options)
    quantizer = SimpleNamespace(quantization_config=config)
    draw = torch.Generator().manual_seed(0)
    weight = torch.randn(N, K, generator=draw) * torch.rand(N, 1, generator=draw)
    made = library.Fp8Quantize(quantizer).convert({f"{MODULE}.weight": weight})
    parts = {name.removeprefix(f"{MODULE}."): tensor for name, tensor in made.items()}
    if config.weight_block_size is None:  # as it stands in a directory of it: one number
        parts["weight_scale_inv"] = parts["weight_scale_inv"].reshape(())
    read = library.Fp8Dequantize(quantizer).convert(dict(parts))["weight"]
    return LibraryMap(config.to_dict(), MODULE, parts, read)
