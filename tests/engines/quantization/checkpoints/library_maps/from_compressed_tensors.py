"""compressed-tensors' formats: grids fitted, weights rounded, packed and read by the library."""

from __future__ import annotations

from importlib import import_module
from typing import Any

import torch
from torch import Tensor

from .stored import LibraryMap

MODULE = "model.layers.0.mlp.up_proj"
N, K = 40, 96
INT, FLOAT = {"type": "int"}, {"type": "float"}
TOKEN = {"num_bits": 8, "strategy": "token", "dynamic": True}
# By name: format, weights, input activations.
CASES: dict[str, tuple[str, dict[str, Any], dict[str, Any] | None]] = {
    "pack-quantized, 4 bits": ("pack-quantized", {"num_bits": 4, "group_size": 32}, None),
    "pack-quantized, 4 bits, zero points": (
        "pack-quantized",
        {"num_bits": 4, "group_size": 32, "symmetric": False},
        None,
    ),
    "pack-quantized, 4 bits, rows": (
        "pack-quantized",
        {"num_bits": 4, "strategy": "channel"},
        None,
    ),
    "pack-quantized, 8 bits": ("pack-quantized", {"num_bits": 8, "group_size": 48}, None),
    "pack-quantized, 8 bits, zero points": (
        "pack-quantized",
        {"num_bits": 8, "group_size": 32, "symmetric": False},
        None,
    ),
    "int-quantized": ("int-quantized", {"num_bits": 8, "strategy": "channel"}, {**INT, **TOKEN}),
    "float-quantized, rows": (
        "float-quantized",
        {**FLOAT, "num_bits": 8, "strategy": "channel"},
        {**FLOAT, **TOKEN},
    ),
    "float-quantized, static": (
        "float-quantized",
        {**FLOAT, "num_bits": 8, "strategy": "tensor"},
        {**FLOAT, "num_bits": 8, "strategy": "tensor"},
    ),
    "float-quantized, blocks": (
        "float-quantized",
        {**FLOAT, "num_bits": 8, "strategy": "block", "block_structure": [16, 32]},
        {**FLOAT, "num_bits": 8, "strategy": "group", "group_size": 32, "dynamic": True},
    ),
    "nvfp4": (
        "nvfp4-pack-quantized",
        {
            **FLOAT,
            "num_bits": 4,
            "strategy": "tensor_group",
            "group_size": 16,
            "scale_dtype": "torch.float8_e4m3fn",
        },
        None,
    ),
    "mxfp4": (
        "mxfp4-pack-quantized",
        {
            **FLOAT,
            "num_bits": 4,
            "strategy": "group",
            "group_size": 32,
            "scale_dtype": "torch.uint8",
        },
        None,
    ),
}


def make() -> dict[str, LibraryMap]:
    return {name: _made(*case) for name, case in CASES.items()}


def _made(form: str, weights: dict[str, Any], inputs: dict[str, Any] | None) -> LibraryMap:
    """Rounded from bfloat16, and so with scales of bfloat16; FP8's from float32."""
    library = import_module("compressed_tensors.quantization")
    compressor = import_module("compressed_tensors.compressors.base").BaseCompressor
    config = library.QuantizationConfig(
        config_groups={
            "group_0": {
                "targets": ["Linear"],
                "weights": weights,
                "input_activations": inputs,
                "format": form,
            }
        },
        format=form,
        quantization_status="compressed",
        ignore=["lm_head"],
    )
    scheme = config.config_groups["group_0"]
    draw = torch.Generator().manual_seed(0)
    weight = torch.randn(N, K, generator=draw) * torch.rand(N, 1, generator=draw)
    if not form.startswith("float"):
        weight = weight.bfloat16()
    given = {"weight": weight, **_grid(weight, scheme.weights)}
    if inputs is not None and not inputs.get("dynamic"):
        given["input_scale"] = torch.tensor([0.5])
    reader = compressor.get_value_from_registry(form)
    parts = {k: v for k, v in reader.compress(dict(given), scheme).items() if v is not None}
    read = reader.decompress({k: v.clone() for k, v in parts.items()}, scheme)["weight"]
    settings = config.model_dump(mode="json") | {"quant_method": "compressed-tensors"}
    # NVFP4's scale is multiplied by the tensor's factor in bfloat16.
    rtol = 2**-7 if form.startswith("nvfp4") else 0.0
    source = weight if form.startswith("float") else None
    return LibraryMap(settings, MODULE, parts, read, source, rtol)


def _grid(weight: Tensor, args: Any) -> dict[str, Tensor]:
    """What an observer of the smallest and largest weights hands to the library's formulas."""
    helpers = import_module("compressed_tensors.quantization.utils.helpers")
    if args.strategy == "block":
        rows, columns = args.block_structure
        padded = torch.nn.functional.pad(weight, (0, -K % columns, 0, -N % rows))
        groups = padded.unflatten(1, (-1, columns)).unflatten(0, (-1, rows)).transpose(1, 2)
        low, high = groups.amin((2, 3)), groups.amax((2, 3))
    elif args.strategy == "tensor":
        low, high = weight.min().reshape(1), weight.max().reshape(1)
    else:
        size = K if args.strategy == "channel" else args.group_size
        low, high = (
            getattr(weight.unflatten(1, (-1, size)), f"a{end}")(-1) for end in ("min", "max")
        )
    grid = {}
    factor = None
    if args.strategy == "tensor_group":
        factor = helpers.generate_gparam(weight.min(), weight.max())
        grid["weight_global_scale"] = factor
    scales, zeros = helpers.calculate_qparams(low, high, args, factor)
    grid["weight_scale"] = scales
    if not args.symmetric:
        grid["weight_zero_point"] = zeros
    return grid
