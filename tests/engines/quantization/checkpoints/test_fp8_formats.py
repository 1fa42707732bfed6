"""Fine-grained FP8 and ModelOpt: numbers by hand, and what settings mean."""

from __future__ import annotations

import pytest
import torch
from llmbench.engines.errors import ModelError
from llmbench.engines.quantization.checkpoints import fine_grained_fp8, modelopt
from llmbench.engines.quantization.checkpoints.compressed_tensors import WIDE_INPUTS
from llmbench.engines.quantization.checkpoints.fields import Fields
from llmbench.engines.quantization.checkpoints.fp8_scaled import Fp8Layout
from llmbench.engines.quantization.checkpoints.layout import KV_CACHE
from llmbench.engines.quantization.scheme import Scheme
from llmbench.kernels.fp8 import Fp8Weight
from llmbench.kernels.registry import KernelError

from ..dequantized import dequantized_weight

Q = "model.layers.0.self_attn.q_proj"


def test_blocks_by_hand() -> None:
    """Blocks of 2 x 3 over 3 x 4: those at the ends are smaller, and scales multiply."""
    codes = torch.tensor([[1, 2, 3, 4], [0.5, -8, 448, 16], [0.25, 0, -1, 1.5]])
    layout = Fp8Layout(Scheme("fp8-block", 8), "block", block=(2, 3), scale="weight_scale_inv")
    parts = {
        "weight": codes.to(torch.float8_e4m3fn),
        "weight_scale_inv": torch.tensor([[2.0, 0.5], [10.0, 100.0]]),
    }
    assert layout.parts(3, 4)["weight_scale_inv"].shapes == ((2, 2),)
    expected = [[2, 4, 6, 2], [1, -16, 896, 8], [2.5, 0, -10, 150]]
    read = layout.read(parts, (3, 4)).weight
    assert dequantized_weight(read).tolist() == expected
    assert isinstance(read, Fp8Weight)
    assert read.groups == 2  # and so many scales has a token
    parts["weight"] = torch.full((3, 4), float("nan")).to(torch.float8_e4m3fn)
    with pytest.raises(KernelError, match="codes hold NaN"):
        layout.read(parts, (3, 4))


def test_modelopts_fp8_by_hand() -> None:
    layout = modelopt.parse(Fields({"quant_algo": "FP8"}, "q")).layout_of(Q)
    assert layout is not None
    parts = {
        "weight": torch.tensor([[1.0, -2.0], [0.5, 448]]).to(torch.float8_e4m3fn),
        "weight_scale": torch.tensor(0.25),
        "input_scale": torch.tensor([3.0]),
    }
    read = layout.read(parts, (2, 2)).weight
    assert dequantized_weight(read).tolist() == [[0.25, -0.5], [0.125, 112]]
    assert isinstance(read, Fp8Weight)
    assert read.input_scale is not None
    assert read.input_scale.item() == 3


def test_modelopts_nvfp4_by_hand() -> None:
    """W = code · scale · scale_2, where compressed-tensors divides; codes under `weight`."""
    layout = modelopt.parse(Fields({"quant_algo": "NVFP4", "group_size": 16}, "q")).layout_of(Q)
    assert layout is not None
    parts = {
        "weight": torch.tensor([[0xF7] + [0x20] * 7], dtype=torch.uint8),
        "weight_scale": torch.tensor([[1.5]]).to(torch.float8_e4m3fn),
        "weight_scale_2": torch.tensor(0.125),
    }
    read = layout.read(parts, (1, 16)).weight
    step = 1.5 * 0.125
    assert dequantized_weight(read).tolist() == [[6 * step, -6 * step] + [0, step] * 7]
    assert layout.parts(1, 16)["input_scale"].optional
    parts["weight_scale_2"] = torch.tensor(0.0)
    with pytest.raises(KernelError, match=r"weight_scale_2 0\.0 is not above 0"):
        layout.read(parts, (1, 16))


def fp8(**data: object) -> Fields:
    return Fields({"quant_method": "fp8", **data}, "quantization_config")


def test_what_settings_of_fine_grained_fp8_mean() -> None:
    parse = fine_grained_fp8.parse
    blocks = parse(fp8(weight_block_size=[128, 128], modules_to_not_convert=["lm_head", "mlp"]))
    assert blocks.layout_of(Q) == Fp8Layout(
        Scheme("fp8-block", 8), "block", scale="weight_scale_inv"
    )
    assert blocks.layout_of("lm_head") is blocks.layout_of("model.layers.0.mlp.up_proj") is None
    other = ("weight_scale_inv", "activation_scale")
    assert parse(fp8()).layout_of(Q) == Fp8Layout(Scheme("fp8", 8), "tensor", also=other)
    static = parse(fp8(activation_scheme="static", ignored_layers=["model.layers.1"]))
    assert static.layout_of(Q) == Fp8Layout(
        Scheme("fp8-static", 8), "tensor", static=True, also=other
    )
    assert static.layout_of("model.layers.1.mlp.up_proj") is None
    assert static.layout_of("model.layers.10.mlp.up_proj") is not None
    assert len(parse(fp8(weight_block_size=[128, 128], scale_fmt="ue8m0")).notes) == 1
    # AutoFP8's, whose scales of keys and values are not used.
    assert parse(fp8(activation_scheme="static", kv_cache_scheme="static")).notes == (KV_CACHE,)
    assert parse(fp8(activation_scheme="static", kv_cache_scheme=None)).notes == ()


def test_what_settings_of_modelopt_mean() -> None:
    data = {
        "quant_algo": "NVFP4",
        "kv_cache_quant_algo": "FP8",
        "exclude_modules": ["lm_head", "model.layers.1*", "*.o_proj", "model.layers.2.mlp"],
    }
    found = modelopt.parse(Fields(data, "hf_quant_config.json.quantization"))
    quantised = {
        name: found.layout_of(f"model.layers.{name}") is not None
        for name in ("0.self_attn.q_proj", "0.self_attn.o_proj", "1.mlp.up_proj", "2.mlp.up_proj")
    }
    assert list(quantised.values()) == [True, False, False, False]
    assert found.layout_of("lm_head") is None
    assert found.notes == (WIDE_INPUTS, KV_CACHE)


@pytest.mark.parametrize(
    ("parse", "data", "message"),
    [
        (fine_grained_fp8.parse, fp8(fmt="e5m2"), "fmt: 'e5m2' is not supported"),
        (fine_grained_fp8.parse, fp8(activation_scheme="other"), "activation_scheme: 'other'"),
        (fine_grained_fp8.parse, fp8(weight_block_size=[128]), "weight_block_size: .* is not two"),
        (fine_grained_fp8.parse, fp8(weight_block_size=[0, 128]), "weight_block_size"),
        (
            fine_grained_fp8.parse,
            fp8(weight_block_size=[128, 128], activation_scheme="static"),
            "activation_scheme: 'static'",
        ),
        (modelopt.parse, fp8(quant_algo="W4A8_AWQ"), "quant_algo: 'W4A8_AWQ' is not supported"),
        (modelopt.parse, fp8(quant_algo="NVFP4", group_size=32), "group_size: 32"),
    ],
)
def test_settings_that_are_not_known_are_refused(parse: object, data: Fields, message: str) -> None:
    assert callable(parse)
    with pytest.raises(ModelError, match=message):
        parse(data)
