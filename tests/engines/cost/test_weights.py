from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from llmbench.engines.cost.hardware import resolve_hardware
from llmbench.engines.cost.roofline import Roofline
from llmbench.engines.cost.shapes import resolve_shape
from llmbench.engines.cost.weights import WeightChoice, weight_format
from llmbench.engines.errors import ConfigError
from llmbench.engines.quantization.methods import METHODS
from llmbench.engines.quantization.scheme import Scheme
from llmbench.kernels.grouped_int8 import GroupedInt8
from llmbench.kernels.triton.w8a16 import TritonW8A16Linear


@pytest.mark.parametrize(
    ("method", "times_smaller"),
    # The byte ceilings against 16 bits in the design's account of the formats.
    [
        ("gptq", 3.87),
        ("awq", 3.85),
        ("mxfp4", 3.76),
        ("nvfp4", 3.56),
        ("rtn", 3.85),
        ("w4a16", 3.85),
        ("int8", 2.0),
        ("w8a8", 2.0),
        ("smoothquant", 2.0),
        ("fp8", 2.0),
        ("fp8-static", 2.0),
        ("fp8-block", 2.0),
        ("none", 1.0),
    ],
)
def test_bytes_are_those_of_the_published_layouts(method: str, times_smaller: float) -> None:
    stored = weight_format(method, "bf16").bytes_of(4096, 4096)
    assert 2 * 4096 * 4096 / stored == pytest.approx(times_smaller, abs=0.01)


def test_a_group_that_is_cut_short_has_a_scale() -> None:
    """576 inputs in groups of 128 are four and a half: five 16-bit scales a row, 4-bit weights."""
    assert weight_format("gptq", "bf16").bytes_of(10, 576) == 10 * (576 / 2 + 5 * 2)


def test_eight_bits_of_a_method_that_usually_has_four() -> None:
    """Codes of a byte; a 16-bit scale a group, and a zero point of a byte where there are any."""
    assert weight_format("gptq", "bf16", bits=8).bytes_of(10, 256) == 10 * (256 + 2 * 2)
    assert weight_format("rtn", "bf16", bits=8).bytes_of(10, 256) == 10 * (256 + 2 * 3)
    assert weight_format("awq", "bf16", bits=4) == weight_format("awq", "bf16")


@pytest.mark.parametrize(
    ("method", "bits", "group_size", "zero"),
    [("int8", None, 576, 128), ("gptq", 8, 64, 128), ("rtn", 8, 64, 7)],
)
def test_8_bit_weights_cost_what_a_gpu_reads(
    method: str, bits: int | None, group_size: int, zero: int
) -> None:
    """Of one map, by the count of the Triton kernel's class."""
    scales = torch.ones(48, 576 // group_size).half()
    codes = torch.zeros(48, 576).byte()
    weight = GroupedInt8(codes, scales, torch.full_like(scales, zero).byte(), group_size)
    linear = TritonW8A16Linear(weight, None, torch.bfloat16)
    charged = weight_format(method, "bf16", bits).bytes_of(48, 576, group_size)
    assert linear.weight_bytes == charged


@pytest.mark.parametrize("group_size", [None, 64])
def test_8_bit_weights_of_a_checkpoint_cost_what_they_hold(group_size: int | None) -> None:
    """In groups a 16-bit scale and a zero point of a byte each; a row, as they are rounded here."""
    stored = {"model.layers.0.mlp.up_proj": Scheme("int8", 8, group_size)}
    choice = WeightChoice("int8", group_size, stored=stored)
    model = replace(resolve_shape("smollm2-135m"), num_layers=1)
    (map_,) = [one for one in choice.layer_maps(model, "bf16") if one.format.name == "int8"]
    outputs, inputs = map_.out_features, map_.in_features
    if group_size is None:
        assert map_.format == weight_format("int8", "bf16")
        return
    scales = torch.ones(outputs, inputs // group_size).half()
    codes = torch.zeros(outputs, inputs).byte()
    held = GroupedInt8(codes, scales, torch.full_like(scales, 128).byte(), group_size)
    assert map_.format.bytes_of(outputs, inputs) == held.nbytes


def test_a_smaller_group_costs_more() -> None:
    packed = weight_format("awq", "bf16")
    assert packed.bytes_of(1, 128, group_size=32) - packed.bytes_of(1, 128) == 3 * 2.5


@pytest.mark.parametrize(
    ("method", "hardware", "dtype"),
    [
        ("none", "h100", "bf16"),
        ("awq", "h100", "bf16"),
        ("int8", "h100", "bf16"),
        ("w8a8", "h100", "int8"),
        ("smoothquant", "h100", "int8"),
        ("fp8", "h100", "fp8"),
        ("nvfp4", "b200", "bf16"),  # weights only, though Blackwell has FP4 units
        ("nvfp4", "h100", "bf16"),
        ("mxfp4", "mi300x", "bf16"),
    ],
)
def test_arithmetic_runs_in_what_the_hardware_has(method: str, hardware: str, dtype: str) -> None:
    assert weight_format(method, "bf16").computes_in(resolve_hardware(hardware), "bf16") == dtype


def test_a_checkpoint_s_maps_differ() -> None:
    """Attention as fp8, an output projection in 4 bits that are met by 8, the MLP as it was."""
    model = resolve_shape("smollm2-135m")
    attention = [name for name in model.map_shapes() if "self_attn" in name]
    stored = {name: Scheme("fp8", 8) for name in attention} | {"lm_head": Scheme("gptq", 4, 64)}
    weights = WeightChoice("fp8", stored=stored, activations="int8")
    formats = {one.format.name for one in weights.layer_maps(model, "bf16")}
    assert formats == {"fp8", "none"}
    assert weights.layer_ops(model) == ("fp8_linear", "linear")
    head = weights.head_format("bf16")
    assert (head.group, head.arithmetic) == (64, ("int8",))
    assert weights.head_op() == "w4a8_linear"


def test_a_layer_s_maps_are_multiplied_each_in_its_own_arithmetic() -> None:
    model, h100 = replace(resolve_shape("llama-3-8b"), dtype="bfloat16"), resolve_hardware("h100")
    mlp = [name for name in model.map_shapes() if ".mlp." in name]
    stored = WeightChoice("fp8", stored={name: Scheme("fp8", 8) for name in mlp})
    none, some, every = (
        Roofline(h100, model, weights)._linear_flop_s
        for weights in (WeightChoice(), stored, WeightChoice("fp8"))
    )
    share = 3 * 14336 / (3 * 14336 + 2 * 4096 + 2 * 1024)
    assert some == pytest.approx(share * every + (1 - share) * none)


def test_rounded_activations_are_multiplied_as_bytes() -> None:
    """The bytes are the weights', as they were."""
    plain, rounded = (WeightChoice("awq", activations=asked) for asked in ("auto", "int8"))
    found = rounded.layer_format("bf16")
    assert found.computes_in(resolve_hardware("h100"), "bf16") == "int8"
    assert found.bytes_of(960, 576) == plain.layer_format("bf16").bytes_of(960, 576)
    assert rounded.head_format("bf16") == plain.head_format("bf16")
    with pytest.raises(ConfigError, match=r"'awq\+a8' .* trainium2 .* needs int8"):
        found.computes_in(resolve_hardware("trainium2"), "bf16")


@pytest.mark.parametrize(
    ("method", "hardware", "dtype"),
    [("fp8", "a100", "bf16"), ("smoothquant", "trainium2", "bf16"), ("none", "cpu", "fp16")],
)
def test_arithmetic_that_is_not_there(method: str, hardware: str, dtype: str) -> None:
    with pytest.raises(ConfigError, match=hardware):
        weight_format(method, dtype).computes_in(resolve_hardware(hardware), dtype)


def test_a_name_outside_the_set() -> None:
    with pytest.raises(ConfigError, match="did you mean 'nvfp4'"):
        weight_format("nvfp", "bf16")


@pytest.mark.parametrize("method", ["none", *METHODS])
def test_every_method_has_a_format(method: str) -> None:
    assert weight_format(method, "bf16").name == method
