"""What is written, held against compressed-tensors itself, bit for bit, and against transformers,
which loads it through that library."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from compressed_tensors.compressors.base import BaseCompressor
from compressed_tensors.quantization import QuantizationConfig, QuantizationScheme
from llmbench.engines.quantization.checkpoints.compressed_tensors import (
    layout_for,
    quantization_config,
)
from llmbench.engines.quantization.checkpoints.layout import KV_CACHE
from llmbench.engines.quantization.checkpoints.read import read_checkpoint, read_published
from llmbench.engines.quantization.checkpoints.write import write_checkpoint
from llmbench.engines.quantization.grid import GridFormat, codes_in_groups, rtn_pack
from llmbench.engines.quantization.quantized import PackedWeight, QuantizedMap
from llmbench.engines.quantization.rounding import ROUND
from llmbench.engines.quantization.scheme import Scheme
from llmbench.kernels.fp4 import Fp4Weight, block_scales
from llmbench.kernels.fp8 import Fp8Weight, quantize_fp8
from llmbench.kernels.w8a8 import W8A8Weight
from safetensors.torch import load_file
from torch import Tensor

from ..dequantized import dequantized_weight
from .directories import (
    change_config,
    change_tensors,
    in_order,
    maps_of,
    plain_directory,
    rounded,
)

pytestmark = pytest.mark.reference("compressed_tensors")

SCHEMES = (
    Scheme("rtn", 4, 32),
    Scheme("rtn", 4, 32, symmetric=False),
    Scheme("rtn", 4, None),
    Scheme("rtn", 8, 32, symmetric=False),
    Scheme("rtn", 8, 48),
    Scheme("int8", 8),
    Scheme("w8a8", 8),
    Scheme("fp8", 8),
    Scheme("fp8-static", 8),
    Scheme("fp8-block", 8),
    Scheme("nvfp4", 4),
    Scheme("mxfp4", 4),
)


def made(weight: Tensor, scheme: Scheme) -> PackedWeight:
    """A weight rounded as the scheme says."""
    if scheme.method != "fp8-static":
        return ROUND[scheme.method](weight, scheme)
    rounded = quantize_fp8(weight, len(weight))
    return replace(rounded, input_scale=torch.rand(()) + 0.5)


def library_scheme(scheme: Scheme) -> QuantizationScheme:
    return QuantizationConfig.model_validate(quantization_config(scheme, [])).config_groups[
        "group_0"
    ]  # pyright: ignore[reportReturnType]


def unpacked(weight: PackedWeight, scheme: Scheme) -> dict[str, Tensor]:
    """What the library compresses: the weights in float32, their scales and zero points."""
    values = dequantized_weight(weight)
    if isinstance(weight, W8A8Weight):
        return {"weight": values, "weight_scale": weight.scales[:, None]}
    if isinstance(weight, Fp8Weight):
        parts = {"weight": values, "weight_scale": weight.scales}
        if weight.input_scale is not None:
            parts["weight_scale"] = weight.scales.flatten()
            parts["input_scale"] = weight.input_scale.reshape(1)
        return parts
    if isinstance(weight, Fp4Weight):
        scales = block_scales(weight)
        if weight.scale_format == "e8m0":
            return {"weight": values, "weight_scale": scales}
        factor = 1 / weight.row_scales[:1]
        scales = weight.scales.view(torch.float8_e4m3fn).float()
        return {"weight": values, "weight_scale": scales, "weight_global_scale": factor}
    _, scales, zeros = codes_in_groups(weight, scheme.bits, scheme.group_size)
    signed = (zeros.short() - 2 ** (scheme.bits - 1)).to(torch.int8)
    return {"weight": values, "weight_scale": scales.float(), "weight_zero_point": signed}


@pytest.mark.parametrize("scheme", SCHEMES, ids=str)
def test_tensors_are_those_of_the_librarys_compressor(scheme: Scheme) -> None:
    """Of weights on their grid, so that no tie is rounded either way; 200 outputs by 96 inputs, of
    which blocks of 128 are ragged, in words that end within a row and a column."""
    n, k = 200, 96
    weight = made(torch.randn(n, k) * torch.rand(n, 1), scheme)
    form, layout = layout_for(scheme)
    ours = layout.write(QuantizedMap(weight))
    library = BaseCompressor.get_value_from_registry(form)
    given = unpacked(weight, scheme)
    theirs = tensors(library.compress(dict(given), library_scheme(scheme)))
    assert ours.keys() == theirs.keys()
    for name, expected in theirs.items():
        found = ours[name]
        assert found.shape == expected.shape, name
        if name == "weight_scale":  # stored as wide as we have it
            expected, found = expected.float(), found.float()
        assert found.dtype == expected.dtype, name
        if found.dtype == torch.float8_e4m3fn:
            found, expected = found.float(), expected.float()
        if found.dtype == torch.uint8 and name == "weight_packed":
            found, expected = without_signs_of_zero(found), without_signs_of_zero(expected)
        assert torch.equal(found, expected), name


def tensors(parts: Mapping[str, Tensor | None]) -> dict[str, Tensor]:
    """Without the places that the library leaves empty."""
    return {name: one for name, one in parts.items() if one is not None}


def without_signs_of_zero(packed: Tensor) -> Tensor:
    """FP4 codes in pairs, -0 as 0: the weight does not say which it was."""
    codes = torch.stack((packed & 15, packed >> 4), -1)
    return torch.where(codes == 8, 0, codes)


@pytest.mark.parametrize("scheme", SCHEMES, ids=str)
def test_the_library_reads_what_is_written(scheme: Scheme) -> None:
    n, k = 200, 96
    map_ = QuantizedMap(made(torch.randn(n, k), scheme))
    form, layout = layout_for(scheme)
    library = BaseCompressor.get_value_from_registry(form)
    parts: dict[str, Tensor | None] = {
        name: one.clone() for name, one in layout.write(map_).items()
    }
    if form == "pack-quantized":
        parts["weight_scale"] = tensors(parts)["weight_scale"].float()
    read = tensors(library.decompress(parts, library_scheme(scheme)))["weight"]
    # NVFP4 it multiplies in bfloat16.
    rtol = 2**-7 if scheme.method == "nvfp4" else 3e-7
    torch.testing.assert_close(read.float(), in_order(map_), rtol=rtol, atol=0)


@pytest.mark.parametrize("scheme", SCHEMES, ids=str)
def test_the_config_is_what_the_library_writes(scheme: Scheme) -> None:
    ours = quantization_config(scheme, ["model.layers.0.mlp.up_proj"])
    theirs: dict[str, Any] = QuantizationConfig.model_validate(ours).model_dump(mode="json")
    # Neither is about how the model is quantised: an empty extension, and what a module is called.
    theirs.pop("moe_sparsity_config", None)
    library_only = {"version", "sparsity_config", "transform_config"}
    assert {name: one for name, one in ours.items() if name not in library_only} == theirs


@pytest.mark.parametrize("shape", ["grouped heads, tied", "qwen2"])
@pytest.mark.parametrize(
    "scheme",
    [
        Scheme("rtn", 4, 32),
        Scheme("rtn", 4, 32, symmetric=False),
        Scheme("rtn", 8, 32, symmetric=False),
        Scheme("int8", 8),
        Scheme("w8a8", 8),
        Scheme("fp8", 8),
        Scheme("fp8-block", 8),
        Scheme("nvfp4", 4),
        Scheme("mxfp4", 4),
    ],
    ids=str,
)
def test_transformers_dequantises_what_is_written(
    scheme: Scheme, shape: str, tmp_path: Path
) -> None:
    from transformers import AutoModelForCausalLM, CompressedTensorsConfig

    model = rounded(scheme, shape)
    out = tmp_path / "out"
    write_checkpoint(model, plain_directory(tmp_path / "plain", shape), out, "compressed-tensors")
    loaded = AutoModelForCausalLM.from_pretrained(
        out, dtype=torch.float32, quantization_config=CompressedTensorsConfig(dequantize=True)
    )
    found = dict(loaded.state_dict())
    # It multiplies in the dtype of the scales, here float16; NVFP4's in bfloat16.
    rtol = {"rtn": 2**-10, "nvfp4": 2**-7}.get(scheme.method, 3e-7)
    for name, weight in maps_of(model).items():
        torch.testing.assert_close(found[f"{name}.weight"].float(), weight, rtol=rtol, atol=1e-6)
    for name in ("model.norm.weight", "model.embed_tokens.weight"):
        assert torch.equal(found[name], model.dense[name])


@pytest.mark.parametrize("scheme", [one for one in SCHEMES if one != Scheme("rtn", 8, 48)], ids=str)
def test_transformers_loads_what_is_written_as_it_is(scheme: Scheme, tmp_path: Path) -> None:
    """But for zero points: 5.23 makes room for them unpacked, and then finds them packed, as its
    own library packs them. docs/checkpoints.md says so, and need not once this fails."""
    from transformers import AutoModelForCausalLM

    out = tmp_path / "out"
    write_checkpoint(
        rounded(scheme), plain_directory(tmp_path / "plain"), out, "compressed-tensors"
    )
    if not scheme.symmetric:
        with pytest.raises(RuntimeError, match="ignore_mismatched_sizes"):
            AutoModelForCausalLM.from_pretrained(out, dtype="auto")
        return
    loaded = dict(AutoModelForCausalLM.from_pretrained(out, dtype="auto").state_dict())
    for file in out.glob("*.safetensors"):
        for name, tensor in load_file(file).items():
            if name in loaded:  # it drops what it has no use for, such as `weight_shape`
                assert torch.equal(loaded[name].float(), tensor.float().view(loaded[name].shape))
    assert any("layers.1.mlp.down_proj.weight" in name for name in loaded)


def test_an_old_checkpoint_of_the_library_has_int8_codes_of_minus_128() -> None:
    """Its scale is amax / 127.5, so that the largest negative weight is code -128."""
    layout = layout_for(Scheme("w8a8", 8))[1]
    codes = torch.tensor([[-128, 127, 3, 0]], dtype=torch.int8)
    parts = {"weight": codes, "weight_scale": torch.tensor([[0.5]])}
    assert dequantized_weight(layout.read(parts, (1, 4)).weight).tolist() == [[-64, 63.5, 1.5, 0]]


def test_a_grid_is_on_the_librarys_own() -> None:
    """Its quantize, with our scales and zero points, gives the codes that we round to."""
    from compressed_tensors.quantization.lifecycle.forward import quantize

    weight = torch.randn(32, 96)
    scheme = Scheme("rtn", 4, 32, symmetric=False)
    packed = rtn_pack(weight, GridFormat(4, 32))
    codes, scales, zeros = codes_in_groups(packed, 4, 32)
    weights = library_scheme(scheme).weights
    assert weights is not None
    theirs = quantize(weight, scales.float(), zeros.float() - 8, weights, dtype=torch.int8)
    assert torch.equal(theirs + 8, codes.to(torch.int8))


def test_the_librarys_tensors_of_a_quantised_cache_are_passed_by(tmp_path: Path) -> None:
    """Whatever it calls them: the model is read, and says that its scales are not used."""
    from compressed_tensors.quantization import apply_quantization_config
    from transformers import AutoModelForCausalLM

    source, out = plain_directory(tmp_path / "plain"), tmp_path / "out"
    model = AutoModelForCausalLM.from_pretrained(source, dtype=torch.float32)
    plain = set(model.state_dict())
    scheme = {"num_bits": 8, "type": "float", "strategy": "tensor", "symmetric": True}
    config = QuantizationConfig.model_validate({"config_groups": {}, "kv_cache_scheme": scheme})
    apply_quantization_config(model, config)
    cache = {name: one for name, one in model.state_dict().items() if name not in plain}
    assert {name.rpartition(".")[2] for name in cache} >= {"k_scale", "v_scale"}
    write_checkpoint(rounded(Scheme("int8", 8)), source, out, "compressed-tensors")
    change_config(out, kv_cache_scheme=scheme)
    change_tensors(
        out, **{name.replace(".", "__"): torch.ones(one.shape) for name, one in cache.items()}
    )
    found = read_published(out)
    assert found is not None
    assert found.format.notes == (KV_CACHE,)
    _, read = read_checkpoint(out)
    assert not set(cache) & set(read.dense)
