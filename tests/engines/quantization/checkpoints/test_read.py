"""Whole directories: what they are found to be, what runs them, and what is wrong with them."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from llmbench.engines.errors import ModelError
from llmbench.engines.models.dense import dense_logits
from llmbench.engines.models.llama import Llama
from llmbench.engines.models.ops import select_ops
from llmbench.engines.quantization.checkpoints.read import (
    read_checkpoint,
    read_published,
    read_scheme,
)
from llmbench.engines.quantization.checkpoints.settings import MODELOPT_FILE
from llmbench.engines.quantization.checkpoints.write import write_checkpoint
from llmbench.engines.quantization.quantized import PackedSource, QuantizedModel
from llmbench.engines.quantization.scheme import Scheme, quantized_maps
from llmbench.kernels.fp4 import quantize_nvfp4
from llmbench.kernels.fp8 import Fp8Weight, quantize_fp8
from torch import Tensor

from ..tiny import tiny_model
from .directories import (
    WEIGHTS,
    change_config,
    change_tensors,
    checkpoint,
    in_order,
    maps_of,
    plain_directory,
    problem_of,
    rounded,
)

CPU = torch.device("cpu")
Q = "model.layers.0.self_attn.q_proj"
SIZES = [0.0, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0]
E2M1 = torch.tensor([*SIZES, *(-size for size in SIZES)])  # by code, its sign the highest bit
OTHER_NAMES = ("weight_scale_inv", "activation_scale")

# What a directory is written as, and the operations that run it.
WRITTEN: dict[str, tuple[Scheme, tuple[str, ...]]] = {
    "gptq": (Scheme("gptq", 4, 32), ("linear", "w4a16_linear")),
    "gptq_v2": (Scheme("gptq", 8, 32, symmetric=False), ("linear", "w8a16_linear")),
    "awq": (Scheme("awq", 4, 32, symmetric=False), ("linear", "w4a16_linear")),
    "compressed-tensors": (Scheme("w4a16", 4, 32), ("linear", "w4a16_linear")),
    "compressed-tensors int8": (Scheme("int8", 8), ("linear", "w8a16_linear")),
    "compressed-tensors w8a8": (Scheme("w8a8", 8), ("linear", "w8a8_linear")),
    "compressed-tensors fp8": (Scheme("fp8", 8), ("linear", "fp8_linear")),
    "compressed-tensors fp8-block": (Scheme("fp8-block", 8), ("linear", "fp8_linear")),
    "compressed-tensors nvfp4": (Scheme("nvfp4", 4), ("linear", "fp4_linear")),
    "compressed-tensors mxfp4": (Scheme("mxfp4", 4), ("linear", "fp4_linear")),
}


def logits(model: QuantizedModel, shape: str, tokens: list[int]) -> Tensor:
    config, _ = tiny_model(shape)
    source = PackedSource(model, torch.float32, CPU)
    ops = select_ops(CPU, torch.float32)
    return dense_logits(Llama(config, source, ops, dtype=torch.float32, device=CPU), tokens)


@pytest.mark.parametrize("shape", ["grouped heads, tied", "every bias", "qwen3"])
@pytest.mark.parametrize("name", WRITTEN)
def test_a_directory_is_what_was_written(name: str, shape: str, tmp_path: Path) -> None:
    scheme, ops = WRITTEN[name]
    source, out = plain_directory(tmp_path / "plain", shape), tmp_path / "out"
    model = rounded(scheme, shape)
    write_checkpoint(model, source, out, name.split()[0])
    found = read_published(out)
    assert found is not None
    assert (found.scheme, found.linear_ops()) == (scheme, ops)
    assert read_scheme(source) is None
    config, read = read_checkpoint(out)
    assert config == tiny_model(shape)[0]
    assert read.maps.keys() == model.maps.keys()
    assert not {f"{module}.weight" for module in read.maps} & read.dense.keys()
    exact = 2e-7 if scheme.method == "nvfp4" else 0.0
    expected = maps_of(model)
    for module, weight in maps_of(read).items():
        torch.testing.assert_close(weight, expected[module], rtol=exact, atol=0.0)
    tokens = [3, 1, 4, 1, 5, 9, 2, 6]
    torch.testing.assert_close(
        logits(read, shape, tokens), logits(model, shape, tokens), rtol=1e-5, atol=1e-5
    )


def test_a_tensor_is_read_when_its_map_is_asked_for(tmp_path: Path) -> None:
    """NaN in one map hurts nobody who does not ask for it."""
    out = written(tmp_path)
    change_tensors(
        out, **{f"{Q.replace('.', '__')}__scales": torch.full((2, 64), torch.nan).half()}
    )
    _, model = read_checkpoint(out)
    assert model.maps["model.layers.1.mlp.down_proj"] is not None
    with pytest.raises(ModelError, match=rf"'{Q}.scales' holds numbers that are not finite"):
        model.maps[Q]


def test_several_kinds_in_one_model(tmp_path: Path) -> None:
    """FP8 attention beside NVFP4 MLPs, one of them left as it is, from ModelOpt's own parts and
    those of compressed-tensors: each map is what its part of the config says."""
    config, weights = tiny_model("grouped heads, tied")
    attention = [name for name in quantized_maps(config) if "self_attn" in name]
    mlp = [name for name in quantized_maps(config) if "mlp.gate" in name]
    parts: dict[str, dict[str, Tensor]] = {}
    expected = {}
    for name in attention:
        made = quantize_fp8(weights[f"{name}.weight"])
        parts[name] = {"weight": made.codes, "weight_scale": made.scales.bfloat16()}
        scales = made.scales.bfloat16().float()
        expected[name] = made.codes.float() * scales
    for name in mlp:
        made = quantize_nvfp4(weights[f"{name}.weight"])
        parts[name] = {
            "weight_packed": made.nibbles,
            "weight_scale": made.scales.view(torch.float8_e4m3fn),
            "weight_global_scale": 1 / made.row_scales[:1],
        }
        codes = torch.stack((made.nibbles & 15, made.nibbles >> 4), dim=-1).flatten(1)
        scales = made.scales.view(torch.float8_e4m3fn).float().repeat_interleave(16, 1)
        expected[name] = E2M1[codes.long()] * scales * made.row_scales[0]
    settings = {
        "quant_method": "compressed-tensors",
        "format": "mixed-precision",
        "config_groups": {
            "a": {
                "targets": ["re:.*self_attn.*"],
                "format": "float-quantized",
                "weights": {"num_bits": 8, "type": "float", "strategy": "channel"},
                "input_activations": {
                    "num_bits": 8,
                    "type": "float",
                    "strategy": "token",
                    "dynamic": True,
                },
            },
            "b": {
                "targets": ["Linear"],
                "format": "nvfp4-pack-quantized",
                "weights": {
                    "num_bits": 4,
                    "type": "float",
                    "strategy": "tensor_group",
                    "group_size": 16,
                },
            },
        },
        "ignore": ["lm_head", "re:.*(up|down)_proj"],
    }
    out = tmp_path / "mixed"
    checkpoint(out, settings, parts)
    found = read_published(out)
    assert found is not None
    assert found.linear_ops() == ("linear", "fp4_linear", "fp8_linear")
    assert found.scheme.method == "fp8"  # 2 · (64 · 64 · 2 + 2 · 32 · 64) weights, and 2 · 96 · 64
    _, model = read_checkpoint(out)
    read = maps_of(model)
    assert read.keys() == {*attention, *mlp}
    for name, weight in read.items():
        # NVFP4's factor is written as its reciprocal, which costs it a rounding or two.
        rounding = 4e-7 if name in mlp else 0.0
        torch.testing.assert_close(weight, expected[name], rtol=rounding, atol=0.0)
    assert logits(model, "grouped heads, tied", [1, 2, 3]).isfinite().all()


def test_projection_of_a_tied_checkpoint_is_its_embedding_or_refused(tmp_path: Path) -> None:
    config, weights = tiny_model("grouped heads, tied")
    made = {n: quantize_fp8(weights[f"{n}.weight"], 16, 24) for n in quantized_maps(config)}
    parts = {
        name: {"weight": one.codes, "weight_scale_inv": one.scales} for name, one in made.items()
    }
    checkpoint(tmp_path / "fp8", {"quant_method": "fp8", "weight_block_size": [16, 24]}, parts)
    embedding = weights["model.embed_tokens.weight"]
    change_tensors(tmp_path / "fp8", lm_head__weight=embedding.clone())
    assert read_checkpoint(tmp_path / "fp8")[0].tie_word_embeddings
    change_tensors(tmp_path / "fp8", lm_head__weight=-embedding)
    with pytest.raises(ModelError, match=r"has 'lm_head\.weight', which is not the embedding"):
        read_checkpoint(tmp_path / "fp8")


def test_fine_grained_fp8_in_a_directory(tmp_path: Path) -> None:
    """Blocks of 16 x 24, which divide nothing; a scale left over from calibration is not used."""
    config, weights = tiny_model("grouped heads, tied")
    made = {n: quantize_fp8(weights[f"{n}.weight"], 16, 24) for n in quantized_maps(config)}
    parts = {
        name: {"weight": one.codes, "weight_scale_inv": one.scales} for name, one in made.items()
    }
    settings = {"quant_method": "fp8", "weight_block_size": [16, 24]}
    checkpoint(tmp_path / "fp8", settings, parts)
    _, model = read_checkpoint(tmp_path / "fp8")
    assert model.scheme == Scheme("fp8-block", 8)
    weight = model.maps[Q].weight
    assert isinstance(weight, Fp8Weight)
    assert (weight.block_rows, weight.block_columns) == (16, 24)
    assert torch.equal(weight.scales, made[Q].scales)


def test_powers_of_two_in_a_dtype_of_their_own(tmp_path: Path) -> None:
    """As transformers writes them: a byte is an exponent, 127 more than it is. By hand: 1.5 · 2^3;
    then one that makes 448 overflow, and NaN."""
    config, weights = tiny_model("grouped heads, tied")
    settings = {"quant_method": "fp8", "weight_block_size": [32, 32], "scale_fmt": "ue8m0"}
    for exponent, said in ((130, ""), (254, "its weight_scale_inv makes weights"), (255, "makes")):
        parts = {}
        for name in quantized_maps(config):
            rows, columns = weights[f"{name}.weight"].shape
            scales = torch.full((rows // 32, columns // 32), exponent, dtype=torch.uint8)
            codes = torch.full((rows, columns), 1.5).to(torch.float8_e4m3fn)
            scales = scales.view(torch.float8_e8m0fnu)
            parts[name] = {"weight": codes, "weight_scale_inv": scales}
        out = tmp_path / str(exponent)
        checkpoint(out, settings, parts)
        _, model = read_checkpoint(out)
        problem = problem_of(lambda model=model: model.maps[Q])
        assert said in problem
        assert bool(said) == bool(problem)
        if not said:
            assert bool((in_order(model.maps[Q]) == 12).all())


@pytest.mark.parametrize("names", [("weight_scale", "input_scale"), OTHER_NAMES])
def test_fp8_with_a_scale_a_tensor_under_either_name(
    names: tuple[str, str], tmp_path: Path
) -> None:
    config, weights = tiny_model("grouped heads, tied")
    parts = {}
    for name in quantized_maps(config):
        one = quantize_fp8(weights[f"{name}.weight"], len(weights[f"{name}.weight"]))
        scales = dict(zip(names, (one.scales.reshape(()), torch.tensor(0.5)), strict=True))
        parts[name] = {"weight": one.codes, **scales}
    settings = {"quant_method": "fp8", "activation_scheme": "static"}
    checkpoint(tmp_path / "fp8", settings, parts)
    _, model = read_checkpoint(tmp_path / "fp8")
    assert model.scheme == Scheme("fp8-static", 8)
    weight = model.maps[Q].weight
    assert isinstance(weight, Fp8Weight)
    assert weight.input_scale == 0.5
    assert torch.equal(weight.codes.float(), parts[Q]["weight"].float())
    change_tensors(tmp_path / "fp8", **{f"{Q}.{names[1]}".replace(".", "__"): None})
    with pytest.raises(ModelError, match=rf"lacks the tensor '{Q}.input_scale'"):
        read_checkpoint(tmp_path / "fp8")


@pytest.mark.reference("accelerate")  # which transformers wants for this format alone
@pytest.mark.parametrize("block", [[32, 32], None])
def test_transformers_makes_the_same_of_fine_grained_fp8(
    block: list[int] | None, tmp_path: Path
) -> None:
    from transformers import AutoModelForCausalLM, FineGrainedFP8Config

    config, weights = tiny_model("grouped heads, tied")
    parts = {}
    for name in quantized_maps(config):
        weight = weights[f"{name}.weight"]
        one = quantize_fp8(weight, *(block or (len(weight),)))
        scales = one.scales if block else one.scales.reshape(())
        parts[name] = {"weight": one.codes, "weight_scale_inv": scales}
    settings = {
        "quant_method": "fp8",
        "weight_block_size": block,
        "activation_scheme": "dynamic",
        "modules_to_not_convert": ["lm_head"],
    }
    out = tmp_path / "fp8"
    checkpoint(out, settings, parts)
    loaded = AutoModelForCausalLM.from_pretrained(
        out, dtype=torch.float32, quantization_config=FineGrainedFP8Config(dequantize=True)
    )
    theirs = dict(loaded.state_dict())
    for name, weight in maps_of(read_checkpoint(out)[1]).items():
        torch.testing.assert_close(theirs[f"{name}.weight"], weight, rtol=3e-7, atol=0)


def test_modelopt_in_a_directory(tmp_path: Path) -> None:
    """Its settings lie in a file of their own; scales of a KV cache are no mistake, and unused."""
    config, weights = tiny_model("multi-head")
    parts: dict[str, dict[str, Tensor]] = {}
    for name in quantized_maps(config):
        made = quantize_fp8(weights[f"{name}.weight"], len(weights[f"{name}.weight"]))
        scale = made.scales.reshape(())
        parts[name] = {
            "weight": made.codes,
            "weight_scale": scale,
            "input_scale": torch.tensor(0.5),
        }
        if name.endswith(("k_proj", "v_proj")):
            parts[name][f"{name[-6]}_scale"] = torch.tensor(1.0)
    settings = {
        "producer": {"name": "modelopt"},
        "quantization": {
            "quant_algo": "FP8",
            "kv_cache_quant_algo": "FP8",
            "exclude_modules": ["lm_head"],
        },
    }
    out = tmp_path / "modelopt"
    checkpoint(out, settings, parts, "multi-head", MODELOPT_FILE)
    found = read_published(out)
    assert found is not None
    assert len(found.format.notes) == 1
    _, model = read_checkpoint(out)
    assert model.scheme == Scheme("fp8-static", 8)
    assert logits(model, "multi-head", [1, 2, 3]).isfinite().all()
    (out / MODELOPT_FILE).write_text('{"quantization": {"quant_algo": null}}')
    assert read_scheme(out) is None


def test_biases_of_zeros_that_old_tools_wrote(tmp_path: Path) -> None:
    out = written(tmp_path)
    name = f"{Q.replace('.', '__')}__bias"
    change_tensors(out, **{name: torch.zeros(64)})
    assert read_checkpoint(out)[1].dense.keys().isdisjoint({f"{Q}.bias"})
    change_tensors(out, **{name: torch.ones(64)})
    with pytest.raises(ModelError, match=rf"has the tensor '{Q}.bias', which its config"):
        read_checkpoint(out)


def written(tmp_path: Path) -> Path:
    source, out = plain_directory(tmp_path / "plain"), tmp_path / "out"
    write_checkpoint(rounded(Scheme("gptq", 4, 32)), source, out, "gptq")
    return out


Change = Callable[[Path], Any]


def tensor(name: str, value: Tensor | None) -> Change:
    return lambda path: change_tensors(path, **{f"{Q}.{name}".replace(".", "__"): value})


def setting(**changes: object) -> Change:
    return lambda path: change_config(path, **changes)


def truncate(path: Path) -> None:
    os.truncate(path / WEIGHTS, (path / WEIGHTS).stat().st_size - 100)


def cut_header(path: Path) -> None:
    (path / WEIGHTS).write_bytes(b"\xff" * 16)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (tensor("scales", None), f"lacks the tensor '{Q}.scales'"),
        (tensor("qweight", None), f"lacks the tensor '{Q}.qweight'"),
        (
            tensor("qzeros", torch.zeros(2, 7, dtype=torch.int32)),
            rf"has '{Q}.qzeros' of shape \[2, 7\]; its config.json asks for \[2, 8\]",
        ),
        (
            tensor("qweight", torch.zeros(8, 64)),
            f"has '{Q}.qweight' as F32; expected one of I32",
        ),
        (tensor("other", torch.zeros(1)), f"has the tensor '{Q}.other', which its config.json"),
        (truncate, "is not a whole safetensors file"),
        (cut_header, "is not a whole safetensors file"),
        (setting(group_size=64), rf"'{Q}.qzeros' of shape \[2, 8\]; .* asks for \[1, 8\]"),
        (setting(bits=8), f"has '{Q}.qweight' of shape"),
        (setting(quant_method="bitsandbytes"), "quant_method: 'bitsandbytes' is not supported"),
        (setting(quant_method=None), "quant_method: None is not supported; expected one of 'gptq'"),
        (setting(checkpoint_format="gptq_v3"), "checkpoint_format: 'gptq_v3'"),
        (setting(modules_in_block_to_quantize=[[]]), "quantises no map of the model"),
        (setting(dynamic={"-:.*q_proj": {}}), f"lacks the tensor '{Q}.weight'"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(change: Change, message: str, tmp_path: Path) -> None:
    out = written(tmp_path)
    change(out)
    with pytest.raises(ModelError, match=message) as error:
        read_checkpoint(out)
    assert "\n" not in str(error.value)


def test_a_group_size_that_does_not_fit_is_named(tmp_path: Path) -> None:
    source, out = plain_directory(tmp_path / "plain"), tmp_path / "out"
    write_checkpoint(rounded(Scheme("awq", 4, 32, symmetric=False)), source, out, "awq")
    change_config(out, group_size=48)
    with pytest.raises(ModelError, match=rf"group_size: 48 does not fit '{Q}': groups of 48"):
        read_checkpoint(out)


def test_a_plain_directory_is_none(tmp_path: Path) -> None:
    source = plain_directory(tmp_path / "plain")
    assert read_published(source) is None
    with pytest.raises(ModelError, match="is not quantised"):
        read_checkpoint(source)
    config = source / "config.json"
    config.write_text(json.dumps(json.loads(config.read_text()) | {"quantization_config": "awq"}))
    with pytest.raises(ModelError, match="quantization_config: 'awq' is not a mapping"):
        read_published(source)
