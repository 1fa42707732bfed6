"""GPTQ and AWQ held against the tools that write them, NVFP4 against torchao, bit for bit."""

from __future__ import annotations

from importlib import import_module
from typing import Any

import pytest
import torch
from llmbench.engines.quantization.checkpoints.awq import AwqLayout
from llmbench.engines.quantization.checkpoints.fp4_packed import Nvfp4Layout
from llmbench.engines.quantization.checkpoints.gptq import GptqLayout
from llmbench.engines.quantization.grid import GridFormat, codes_in_groups, rtn_pack
from llmbench.engines.quantization.quantized import QuantizedMap
from llmbench.engines.quantization.scheme import Scheme
from torch import Tensor

from ..dequantized import dequantized_weight
from .directories import in_order

N, K, GROUP = 64, 96, 32


def linear(weight: Tensor) -> torch.nn.Linear:
    made = torch.nn.Linear(weight.shape[1], weight.shape[0], bias=False)
    made.weight.data = weight.clone()
    return made


def gptq_map(
    bits: int, symmetric: bool, k: int = K, group: int = GROUP, order: Tensor | None = None
) -> tuple[QuantizedMap, Tensor, Tensor]:
    """A map, its scales and its zero points [out, groups]: all above 0, as version 1 needs."""
    weight = torch.randn(N, k) - (0.0 if symmetric else 0.2)
    map_ = QuantizedMap(rtn_pack(weight, GridFormat(bits, group, symmetric)), order)
    _, scales, zeros = codes_in_groups(map_.weight, bits, group)
    assert bool((zeros > 0).all())
    return map_, scales.float(), zeros


@pytest.mark.reference("gptqmodel")
@pytest.mark.parametrize("form", ["gptq", "gptq_v2"])
@pytest.mark.parametrize("symmetric", [True, False])
@pytest.mark.parametrize(("bits", "k", "group"), [(4, 96, 32), (8, 96, 32), (4, 576, 128)])
@pytest.mark.parametrize("ordered", [False, True])
def test_gptqmodel_packs_the_same_words(
    form: str, symmetric: bool, bits: int, k: int, group: int, ordered: bool
) -> None:
    torch_linear = import_module("gptqmodel.nn_modules.qlinear.torch")
    from gptqmodel.utils.model import (  # pyright: ignore[reportMissingImports]
        convert_gptq_v2_to_v1_format_module,
    )

    order = torch.randperm(k) if ordered else None
    map_, scales, zeros = gptq_map(bits, symmetric, k, group, order)
    layout = GptqLayout(Scheme("gptq", bits, group, symmetric, ordered), form)
    ours = layout.write(map_)
    packer = torch_linear.TorchLinear(
        bits=bits,
        group_size=group,
        sym=symmetric,
        desc_act=ordered,
        in_features=k,
        out_features=N,
        bias=False,
    )
    packer.pack_original(linear(in_order(map_)), scales, zeros.float(), ours["g_idx"])
    if form == "gptq":

        class Config:
            pack_dtype = torch.int32

        Config.bits = bits  # pyright: ignore[reportAttributeAccessIssue]
        convert_gptq_v2_to_v1_format_module(packer, Config)
    for name, part in ours.items():
        theirs = getattr(packer, name)
        assert part.dtype == theirs.dtype
        assert torch.equal(part, theirs), name
    if form == "gptq_v2":  # what it computes with
        read = packer.dequantize_weight().T.float()
        torch.testing.assert_close(read, in_order(map_), rtol=1e-3, atol=1e-6)


@pytest.mark.reference("auto_round")
@pytest.mark.parametrize(
    ("form", "module"), [("gptq_v2", "qlinear_torch"), ("gptq", "qlinear_torch_zp")]
)
@pytest.mark.parametrize("bits", [4, 8])
@pytest.mark.parametrize("symmetric", [True, False])
def test_auto_round_packs_the_same_gptq_words(
    symmetric: bool, bits: int, form: str, module: str
) -> None:
    qlinear = import_module(f"auto_round_extension.torch.{module}")
    map_, scales, zeros = gptq_map(bits, symmetric)
    ours = GptqLayout(Scheme("gptq", bits, GROUP, symmetric), form).write(map_)
    packer = qlinear.QuantLinear(bits, GROUP, K, N, bias=False, g_idx=True)
    packer.device = "cpu"
    packer.pack(linear(in_order(map_)), scales, zeros.float(), None, "cpu")
    for name, part in ours.items():
        assert torch.equal(part, getattr(packer, name)), name


def awq_map() -> tuple[QuantizedMap, Tensor, Tensor, dict[str, Tensor]]:
    map_, scales, zeros = gptq_map(4, symmetric=False)
    ours = AwqLayout(Scheme("awq", 4, GROUP, symmetric=False)).write(map_)
    return map_, scales, zeros, ours


@pytest.mark.reference("auto_round")
def test_auto_round_packs_the_same_awq_words() -> None:
    utils: Any = import_module("auto_round.export.export_to_awq.utils")
    map_, scales, zeros, ours = awq_map()
    packer = utils.WQLinear_GEMM.from_linear(
        linear(in_order(map_)),
        4,
        GROUP,
        scales=scales.T.contiguous(),
        zeros=zeros.T.float(),
        device="cpu",
    )
    for name, part in ours.items():
        assert torch.equal(part, getattr(packer, name)), name
    read = utils.dequantize_gemm(packer.qweight, packer.qzeros, packer.scales, 4, GROUP)
    torch.testing.assert_close(read.T.float(), in_order(map_), rtol=1e-3, atol=1e-6)


@pytest.mark.reference("gptqmodel")
def test_gptqmodel_packs_the_same_awq_words() -> None:
    gemm = import_module("gptqmodel.nn_modules.qlinear.torch_awq")
    map_, scales, zeros, ours = awq_map()
    packer = gemm.AwqTorchLinear(
        bits=4,
        group_size=GROUP,
        sym=False,
        desc_act=False,
        in_features=K,
        out_features=N,
        bias=False,
    )
    packer.pack(linear(in_order(map_)), scales, zeros.float())
    for name, part in ours.items():
        assert torch.equal(part.float(), getattr(packer, name).float()), name


@pytest.mark.reference("torchao")
def test_torchaos_nvfp4_is_read() -> None:
    """torchao multiplies by the factor of the tensor, as ModelOpt's checkpoints do."""
    nvfp4 = import_module("torchao.prototype.mx_formats.nvfp4_tensor")
    weight = torch.randn(N, K)
    factor = nvfp4.per_tensor_amax_to_scale(weight.abs().max())
    made = nvfp4.NVFP4Tensor.to_nvfp4(weight, per_tensor_scale=factor)
    layout = Nvfp4Layout(Scheme("nvfp4", 4), "weight", "weight_scale_2", divides=False)
    parts = {
        "weight": made.qdata.view(torch.uint8),
        "weight_scale": made.scale.view(torch.float8_e4m3fn).view(N, K // 16),
        "weight_scale_2": factor,
    }
    read = dequantized_weight(layout.read(parts, (N, K)).weight)
    torch.testing.assert_close(read, made.dequantize(torch.float32), rtol=3e-7, atol=0)
