"""A directory that is written: what lies in it, and what is left when writing it fails."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
import torch
from llmbench.engines.errors import ConfigError, ModelError
from llmbench.engines.quantization.checkpoints.read import read_checkpoint
from llmbench.engines.quantization.checkpoints.write import (
    FORMATS,
    check_writable,
    default_format,
    write_checkpoint,
)
from llmbench.engines.quantization.quantized import LayerReport, QuantizedMap, QuantizedModel
from llmbench.engines.quantization.rounding import ROUND, rounded_model, with_rounded_head
from llmbench.engines.quantization.scheme import Scheme
from safetensors import safe_open

from ..tiny import tiny_model
from .directories import maps_of, plain_directory, rounded

GATE = "model.layers.0.mlp.gate_proj"
GPTQ = Scheme("gptq", 4, 32)


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return plain_directory(tmp_path / "plain", "qwen2")


def stored(path: Path, module: str) -> dict[str, tuple[str, list[int]]]:
    """dtype and shape of a module's tensors, by part."""
    with safe_open(path / "model.safetensors", framework="pt") as file:
        return {
            name.removeprefix(f"{module}."): (
                file.get_slice(name).get_dtype(),
                file.get_slice(name).get_shape(),
            )
            for name in file.keys()  # noqa: SIM118 -- not a mapping
            if name.startswith(f"{module}.")
        }


def settings(path: Path) -> dict[str, object]:
    return json.loads((path / "config.json").read_text())["quantization_config"]


def test_an_awq_directory_is_the_published_format(source: Path, tmp_path: Path) -> None:
    """Names, shapes and dtypes of an AutoAWQ "gemm" checkpoint: gate is 64 in, 96 out."""
    model = rounded(Scheme("awq", 4, 32, symmetric=False), "qwen2")
    write_checkpoint(model, source, tmp_path / "out", "awq")
    assert settings(tmp_path / "out") == {
        "quant_method": "awq",
        "bits": 4,
        "group_size": 32,
        "zero_point": True,
        "version": "gemm",
        "modules_to_not_convert": ["lm_head"],
    }
    assert stored(tmp_path / "out", GATE) == {
        "qweight": ("I32", [64, 12]),
        "qzeros": ("I32", [2, 12]),
        "scales": ("F16", [2, 96]),
    }
    assert stored(tmp_path / "out", "lm_head").keys() == {"weight"}
    q = stored(tmp_path / "out", "model.layers.0.self_attn.q_proj")
    assert q["bias"] == ("F32", [64])
    assert json.loads((tmp_path / "out" / "config.json").read_text())["hidden_size"] == 64
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "config.json",
        "model.safetensors",
        "tokenizer.json",
    ]


def test_a_gptq_directory_is_the_published_format(source: Path, tmp_path: Path) -> None:
    write_checkpoint(rounded(GPTQ, "qwen2"), source, tmp_path / "out", "gptq")
    found = settings(tmp_path / "out")
    writer = found.pop("meta")
    assert found == {
        "quant_method": "gptq",
        "bits": 4,
        "group_size": 32,
        "desc_act": False,
        "sym": True,
        "lm_head": False,
        "checkpoint_format": "gptq",
        "pack_dtype": "int32",
    }
    assert str(writer).startswith("{'quantizer': ['llmbench:")
    assert stored(tmp_path / "out", GATE) == {
        "qweight": ("I32", [8, 96]),
        "qzeros": ("I32", [2, 12]),
        "scales": ("F16", [2, 96]),
        "g_idx": ("I32", [64]),
    }


def test_inputs_in_another_order_are_said_to_be(source: Path, tmp_path: Path) -> None:
    model = rounded(GPTQ, "qwen2")
    maps = dict(model.maps)
    maps[GATE] = QuantizedMap(maps[GATE].weight, torch.randperm(64))
    model = QuantizedModel(GPTQ, model.dense, maps)
    write_checkpoint(model, source, tmp_path / "out", "gptq")
    assert settings(tmp_path / "out")["desc_act"] is True
    read = maps_of(read_checkpoint(tmp_path / "out")[1])
    for name, weight in maps_of(model).items():
        assert torch.equal(read[name], weight)


def test_what_is_not_quantised_is_written_as_it_is_and_said(source: Path, tmp_path: Path) -> None:
    for form in FORMATS:
        model = rounded(Scheme("rtn", 4, 32, symmetric=form == "gptq"), "qwen2")
        maps = {name: one for name, one in model.maps.items() if name != GATE}
        left = QuantizedModel(model.scheme, model.dense, maps)
        write_checkpoint(left, source, tmp_path / form, form)
        _, read = read_checkpoint(tmp_path / form)
        assert read.maps.keys() == maps.keys()
        assert torch.equal(read.dense[f"{GATE}.weight"], model.dense[f"{GATE}.weight"])


def test_a_quantised_output_projection_is_written_as_it_was(source: Path, tmp_path: Path) -> None:
    config, weights = tiny_model("qwen2")
    cpu = torch.device("cpu")
    model = rounded_model(config, weights, "w8a8", None, cpu)
    model = with_rounded_head(config, model, "w8a8", cpu)
    assert "lm_head" in model.maps
    write_checkpoint(model, source, tmp_path / "out", "compressed-tensors")
    _, read = read_checkpoint(tmp_path / "out")
    assert "lm_head" not in read.maps
    assert torch.equal(read.dense["lm_head.weight"], weights["lm_head.weight"])
    dense = {name: one for name, one in weights.items() if name != "lm_head.weight"}
    with pytest.raises(ModelError, match=r"'lm_head\.weight' is quantised"):
        write_checkpoint(
            QuantizedModel(model.scheme, dense, model.maps),
            source,
            tmp_path / "no",
            "compressed-tensors",
        )


def data_bytes(file: Path) -> int:
    """Of a safetensors file's tensors, without its header."""
    with file.open("rb") as opened:
        return file.stat().st_size - 8 - int.from_bytes(opened.read(8), "little")


def test_large_models_are_several_files(source: Path, tmp_path: Path) -> None:
    model, out = rounded(GPTQ, "qwen2"), tmp_path / "out"
    told: list[tuple[int, int]] = []
    write_checkpoint(
        model,
        source,
        out,
        "gptq",
        shard_bytes=20_000,
        progress=lambda done, total: told.append((done, total)),
    )
    files = sorted(out.glob("*.safetensors"))
    assert len(files) > 2
    assert files[0].name == f"model-00001-of-{len(files):05}.safetensors"
    assert max(data_bytes(file) for file in files) <= 20_000
    assert told[-1] == (len(tiny_model("qwen2")[1]),) * 2
    index = json.loads((out / "model.safetensors.index.json").read_text())
    assert set(index["weight_map"].values()) == {file.name for file in files}
    read = maps_of(read_checkpoint(out)[1])
    assert all(torch.equal(read[name], weight) for name, weight in maps_of(model).items())


def test_what_quantising_cost_is_kept(source: Path, tmp_path: Path) -> None:
    report = (LayerReport(0, 2.0, 1.0, {"mlp.down_proj": None, "self_attn.q_proj": 0.5}),)
    model = rounded(GPTQ, "qwen2")
    model = QuantizedModel(GPTQ, model.dense, model.maps, report)
    write_checkpoint(model, source, tmp_path / "out", "gptq")
    assert read_checkpoint(tmp_path / "out")[1].report == report


@pytest.mark.parametrize("method", ROUND)
@pytest.mark.parametrize("name", ["model.embed_tokens", "model.norm", "lm_head"])
def test_numbers_that_are_not_finite_are_refused_by_name(
    name: str, method: str, source: Path, tmp_path: Path
) -> None:
    """Of what no method rounds, too: rounding itself would look at its own maps alone."""
    config, weights = tiny_model("qwen2")
    weights[f"{name}.weight"].view(-1)[3] = torch.nan
    group = 32 if method == "rtn" else None
    model = rounded_model(config, weights, method, group, torch.device("cpu"))
    with pytest.raises(ModelError, match=rf"'{name}.weight' holds numbers that are not finite"):
        write_checkpoint(model, source, tmp_path / "out", "compressed-tensors")
    assert not (tmp_path / "out").exists()


class Interrupted(Mapping[str, QuantizedMap]):
    """Maps of which the last cannot be had."""

    def __init__(self, maps: Mapping[str, QuantizedMap], error: BaseException) -> None:
        self._maps = maps
        self._error = error

    def __getitem__(self, name: str) -> QuantizedMap:
        if name == list(self._maps)[-1]:
            raise self._error
        return self._maps[name]

    def __contains__(self, name: object) -> bool:
        return name in self._maps

    def __iter__(self) -> Iterator[str]:
        return iter(self._maps)

    def __len__(self) -> int:
        return len(self._maps)


@pytest.mark.parametrize("error", [KeyboardInterrupt(), ModelError("model", "x", "is broken")])
def test_an_interrupted_write_leaves_what_was_there(
    error: BaseException, source: Path, tmp_path: Path
) -> None:
    out = tmp_path / "deep" / "out"
    model = rounded(GPTQ, "qwen2")
    broken = QuantizedModel(GPTQ, model.dense, Interrupted(model.maps, error))
    with pytest.raises(type(error)):
        write_checkpoint(broken, source, out, "gptq")
    assert not list(out.parent.iterdir())
    write_checkpoint(model, source, out, "gptq")
    before = {path.name: path.read_bytes() for path in out.iterdir()}
    with pytest.raises(type(error)):
        write_checkpoint(broken, source, out, "gptq_v2")
    assert {path.name: path.read_bytes() for path in out.iterdir()} == before
    assert [path.name for path in out.parent.iterdir()] == ["out"]
    write_checkpoint(model, source, out, "gptq_v2")
    assert settings(out)["checkpoint_format"] == "gptq_v2"
    assert [path.name for path in out.parent.iterdir()] == ["out"]


def test_only_a_quantised_model_is_written_over(source: Path, tmp_path: Path) -> None:
    model = rounded(GPTQ, "qwen2")
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "all-of-them.txt").touch()
    plain = plain_directory(tmp_path / "another")
    file = tmp_path / "notes" / "all-of-them.txt"
    for out in (tmp_path / "notes", plain, file):
        with pytest.raises(ConfigError, match="a new or empty directory, or a quantised model's"):
            write_checkpoint(model, source, out, "gptq")
    with pytest.raises(ConfigError, match="a directory other than the model's own"):
        write_checkpoint(model, source, source, "gptq")
    (tmp_path / "empty").mkdir()
    write_checkpoint(model, source, tmp_path / "empty", "gptq")


@pytest.mark.parametrize(
    ("scheme", "form", "message"),
    [
        (GPTQ, "gguf", "format: 'gguf' is not allowed"),
        (Scheme("gptq", 8, 32), "awq", "format: 'awq' is not .* holds gptq in 8 bits"),
        (Scheme("fp8", 8), "gptq", "format: 'gptq' is not .* holds fp8 in 8 bits"),
        (Scheme("nvfp4", 4), "gptq_v2", "holds nvfp4 in 4 bits"),
    ],
)
def test_a_format_that_has_no_such_scheme_is_refused(
    scheme: Scheme, form: str, message: str, source: Path, tmp_path: Path
) -> None:
    model = rounded(scheme, "qwen2")
    with pytest.raises(ConfigError, match=message):
        write_checkpoint(model, source, tmp_path / "out", form)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("group", "form", "message"),
    [
        (48, "awq", "groups of 48 do not divide 64"),
        (48, "compressed-tensors", "groups of 48 do not divide 64"),
        (32, "gptq", "zero point of 0"),
    ],
)
def test_a_map_that_a_format_cannot_hold_is_named(
    group: int, form: str, message: str, source: Path, tmp_path: Path
) -> None:
    model = rounded(Scheme("rtn", 4, group, symmetric=False), "qwen2")
    if form == "gptq":
        weights = {name: one.abs() for name, one in model.dense.items()}
        config, _ = tiny_model("qwen2")
        model = rounded_model(config, weights, "rtn", 32, torch.device("cpu"))
    problem = rf"'model.layers.0.self_attn.q_proj' cannot be written as {form}: .*{message}"
    with pytest.raises(ModelError, match=problem):
        write_checkpoint(model, source, tmp_path / "out", form)


@pytest.mark.parametrize(
    ("scheme", "format"),
    [
        (Scheme("gptq", 4, 32), "gptq"),
        (Scheme("gptq", 8, None, symmetric=False), "gptq_v2"),
        (Scheme("awq", 4, 32, symmetric=False), "awq"),
        # 64 inputs and 96: groups of 40 leave a shorter one, which only GPTQ's format holds.
        (Scheme("awq", 4, 40, symmetric=False), "gptq_v2"),
        (Scheme("rtn", 4, 40), "gptq"),
        *((Scheme(one, 8), "compressed-tensors") for one in ("rtn", "int8", "w8a8", "fp8")),
        *((Scheme(one, 8), "compressed-tensors") for one in ("smoothquant", "fp8-static")),
        *((Scheme(one, 4), "compressed-tensors") for one in ("nvfp4", "mxfp4")),
    ],
    ids=str,
)
def test_the_format_that_a_methods_own_tools_write(scheme: Scheme, format: str) -> None:
    assert default_format(tiny_model("qwen2")[0], scheme) == format


@pytest.mark.parametrize("format", ["awq", "compressed-tensors"])
def test_a_shorter_group_is_refused_before_there_is_one(format: str, tmp_path: Path) -> None:
    source, scheme = plain_directory(tmp_path / "plain"), Scheme("awq", 4, 40, symmetric=False)
    with pytest.raises(ConfigError, match=r"group_size: 40 .* divisor of the model's width 64"):
        check_writable(source, tmp_path / "out", format, scheme)
    check_writable(source, tmp_path / "out", "gptq_v2", scheme)
