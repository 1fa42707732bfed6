"""GPTQ, versions 1 and 2, and AWQ (gemm), packed and read by gptqmodel.

Codes, scales and zero points are drawn here; the library is given the weights that they stand for.
"""

from __future__ import annotations

from importlib import import_module
from itertools import product
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor

from .stored import LibraryMap

MODULE = "model.layers.0.mlp.up_proj"
N, K, GROUP = 16, 80, 32  # two groups and a half


def make() -> dict[str, LibraryMap]:
    gptq = {
        f"{form}, {bits} bits, {'symmetric' if symmetric else 'zero points'}, "
        f"{'act order' if ordered else 'in order'}": _gptq(form, bits, symmetric, ordered)
        for form, bits, symmetric, ordered in product(
            ("gptq", "gptq_v2"), (4, 8), (True, False), (False, True)
        )
    }
    return {**gptq, "awq, gemm": _awq()}


def _grid(k: int, bits: int, symmetric: bool) -> tuple[Tensor, Tensor, Tensor]:
    """Codes [N, k], scales and zero points [N, groups], all float32. No zero point is 0, which
    version 1 has no place for."""
    draw = torch.Generator().manual_seed(bits)
    shape = (N, -(-k // GROUP))
    codes = torch.randint(0, 2**bits, (N, k), generator=draw)
    scales = (torch.rand(shape, generator=draw) / 64 + 2**-8).half().float()
    zeros = torch.randint(1, 2**bits, shape, generator=draw)
    if symmetric:
        zeros.fill_(2 ** (bits - 1))
    return codes.float(), scales, zeros.float()


def _linear(weight: Tensor) -> torch.nn.Linear:
    made = torch.nn.Linear(weight.shape[1], weight.shape[0], bias=False)
    made.weight.data = weight
    return made


def _settings(**settings: Any) -> dict[str, Any]:
    """What the library writes, less what is about the making of it."""
    written = import_module("gptqmodel.quantization").QuantizeConfig(**settings).to_dict()
    kept = ("bits", "group_size", "desc_act", "sym", "lm_head", "quant_method", "checkpoint_format")
    more = ("format", "pack_dtype", "zero_point", "version")
    return {name: written[name] for name in (*kept, *more) if name in written}


def _gptq(form: str, bits: int, symmetric: bool, ordered: bool) -> LibraryMap:
    codes, scales, zeros = _grid(K, bits, symmetric)
    g_idx = torch.arange(K, dtype=torch.int32) // GROUP
    if ordered:
        g_idx = g_idx[torch.randperm(K, generator=torch.Generator().manual_seed(1))]
    weight = (codes - zeros[:, g_idx.long()]) * scales[:, g_idx.long()]
    settings = {"bits": bits, "group_size": GROUP, "sym": symmetric, "desc_act": ordered}
    packer = import_module("gptqmodel.nn_modules.qlinear.torch").TorchLinear(
        in_features=K, out_features=N, bias=False, **settings
    )
    packer.pack_original(_linear(weight), scales, zeros, g_idx)
    model = import_module("gptqmodel.utils.model")
    if form == "gptq":
        model.convert_gptq_v2_to_v1_format_module(
            packer, SimpleNamespace(bits=bits, pack_dtype=torch.int32)
        )
    parts = {
        name: getattr(packer, name).clone() for name in ("qweight", "qzeros", "scales", "g_idx")
    }
    if form == "gptq":  # as it does when it loads one
        model.convert_gptq_v1_to_v2_format_module(packer, bits, torch.int32)
    return LibraryMap(
        _settings(**settings, format=form), MODULE, parts, packer.dequantize_weight().T
    )


def _awq() -> LibraryMap:
    k = 3 * GROUP
    codes, scales, zeros = _grid(k, 4, symmetric=False)
    weight = (codes - zeros.repeat_interleave(GROUP, 1)) * scales.repeat_interleave(GROUP, 1)
    settings = {"bits": 4, "group_size": GROUP, "sym": False, "desc_act": False}
    packer = import_module("gptqmodel.nn_modules.qlinear.torch_awq").AwqTorchLinear(
        in_features=k, out_features=N, bias=False, **settings
    )
    packer.pack(_linear(weight), scales, zeros)
    parts = {name: getattr(packer, name).clone() for name in ("qweight", "qzeros", "scales")}
    packer.post_init()
    read = packer(torch.eye(k, dtype=torch.float16)).T
    config = _settings(**settings, method="awq", format="gemm")
    return LibraryMap(config, MODULE, parts, read)
