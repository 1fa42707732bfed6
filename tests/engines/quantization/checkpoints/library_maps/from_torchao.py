"""torchao's NVFP4, MXFP4, FP8 and 8-bit tensors. It writes none of the formats that we read: its
tensors stand under the settings of the format whose convention they follow."""

from __future__ import annotations

from importlib import import_module
from typing import Any

import torch
from torch import Tensor

from .stored import LibraryMap

MODULE = "model.layers.0.mlp.up_proj"
N, K = 32, 96


def make() -> dict[str, LibraryMap]:
    return {"nvfp4": _nvfp4(), "mxfp4": _mxfp4(), "fp8 rows": _fp8(), "int8 rows": _int8()}


def _weight() -> Tensor:
    draw = torch.Generator().manual_seed(0)
    return torch.randn(N, K, generator=draw) * torch.rand(N, 1, generator=draw)


def _compressed_tensors(
    form: str, weights: dict[str, Any], inputs: dict[str, Any] | None = None
) -> dict[str, Any]:
    group = {"targets": ["Linear"], "weights": weights, "input_activations": inputs, "format": form}
    return {
        "quant_method": "compressed-tensors",
        "format": form,
        "config_groups": {"group_0": group},
        "ignore": ["lm_head"],
    }


def _nvfp4() -> LibraryMap:
    library = import_module("torchao.prototype.mx_formats.nvfp4_tensor")
    weight = _weight()
    factor = library.per_tensor_amax_to_scale(weight.abs().max())
    made = library.NVFP4Tensor.to_nvfp4(weight, per_tensor_scale=factor)
    parts = {
        "weight": made.qdata.view(torch.uint8),
        "weight_scale": made.scale.view(torch.float8_e4m3fn).view(N, K // 16),
        "weight_scale_2": factor,
    }
    settings = {"quant_method": "modelopt", "quant_algo": "NVFP4", "exclude_modules": ["lm_head"]}
    # The scale of a block is multiplied by the tensor's factor, and rounded, before the code is.
    return LibraryMap(settings, MODULE, parts, made.dequantize(torch.float32), rtol=3e-7)


def _mxfp4() -> LibraryMap:
    library = import_module("torchao.prototype.mx_formats.mx_tensor")
    weight = _weight()
    made = library.MXTensor.to_mx(weight, torch.float4_e2m1fn_x2, 32)
    parts = {
        "weight_packed": made.qdata.view(torch.uint8),
        "weight_scale": made.scale.view(torch.uint8).view(N, K // 32),
    }
    weights = {"num_bits": 4, "type": "float", "strategy": "group", "group_size": 32}
    settings = _compressed_tensors("mxfp4-pack-quantized", weights)
    return LibraryMap(settings, MODULE, parts, made.dequantize(torch.float32), weight)


def _fp8() -> LibraryMap:
    weight = _weight()
    quantization = import_module("torchao.quantization")
    made = quantization.Float8Tensor.from_hp(weight, granularity=quantization.PerRow())
    parts = {"weight": made.qdata, "weight_scale": made.scale}
    setting = {"num_bits": 8, "type": "float"}
    settings = _compressed_tensors(
        "float-quantized",
        {**setting, "strategy": "channel"},
        {**setting, "strategy": "token", "dynamic": True},
    )
    return LibraryMap(settings, MODULE, parts, made.dequantize(), weight)


def _int8() -> LibraryMap:
    quantization = import_module("torchao.quantization")
    library = import_module("torchao.quantization.quantize_.workflows.int8.int8_tensor")
    made = library.Int8Tensor.from_hp(_weight(), quantization.PerRow())
    parts = {"weight": made.qdata, "weight_scale": made.scale}
    settings = _compressed_tensors(
        "int-quantized",
        {"num_bits": 8, "strategy": "channel"},
        {"num_bits": 8, "strategy": "token", "dynamic": True},
    )
    return LibraryMap(settings, MODULE, parts, made.dequantize())
