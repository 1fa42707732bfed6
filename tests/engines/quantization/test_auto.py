"""`--quant auto`: a quantised checkpoint runs as what it is, and as nothing else."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from llmbench.engines.assemble import kernels_of, load_model
from llmbench.engines.config import EngineConfig, engine_config
from llmbench.engines.cost.work import model_work
from llmbench.engines.errors import ConfigError
from llmbench.engines.models.catalogue import ModelFiles, resolve_dummy
from llmbench.engines.models.dense import dense_logits
from llmbench.engines.models.loader import load_config
from llmbench.engines.quantization.auto import weights_of
from llmbench.engines.quantization.checkpoints.write import default_format, write_checkpoint
from llmbench.engines.quantization.scheme import Scheme
from llmbench.engines.resolve import resolve

from .checkpoints.directories import change_config, plain_directory, rounded

SCHEMES = {
    "gptq": Scheme("gptq", 4, 32),
    "gptq, 8 bits": Scheme("gptq", 8, 32, symmetric=False),
    "awq": Scheme("awq", 4, 32, symmetric=False),
    "w4a16": Scheme("rtn", 4, 32),
    "int8": Scheme("int8", 8),
    "w8a8": Scheme("smoothquant", 8),
    "fp8": Scheme("fp8", 8),
    "fp8-static": Scheme("fp8-static", 8),
    "fp8-block": Scheme("fp8-block", 8),
}
OPS = {4: "w4a16_linear", 8: "w8a16_linear"}


def engine(**settings: Any) -> EngineConfig:
    return engine_config(device="cpu", dtype="float32", max_model_len=64, **settings)


def checkpoint(tmp_path: Path, scheme: Scheme) -> ModelFiles:
    source, out = plain_directory(tmp_path / "plain"), tmp_path / "out"
    format = default_format(load_config(source), scheme)
    write_checkpoint(rounded(scheme), source, out, format)
    return ModelFiles("out", out)


@pytest.mark.parametrize("name", SCHEMES)
def test_a_checkpoint_runs_as_what_it_is(name: str, tmp_path: Path) -> None:
    """Named or not, with the operations of its maps, which are known before a weight is read."""
    scheme, method = SCHEMES[name], name.partition(",")[0]
    files = checkpoint(tmp_path, scheme)
    found = resolve(engine(), files)
    assert found.quant == method
    assert found.group_size == scheme.group_size
    assert found.quant_bits == (8 if name == "gptq, 8 bits" else None)
    assert resolve(engine(quant=method), files) == found
    assert resolve(found, files) == found
    kernels = kernels_of(found, files)
    op = f"{scheme.form}_linear" if scheme.form in ("w8a8", "fp8") else OPS[scheme.bits]
    assert {one for one in kernels if one.endswith("linear")} == {"linear", op}
    loaded = load_model(files, found)
    assert kernels.items() <= loaded.kernels.items()
    assert dense_logits(loaded.model, [1, 2, 3]).isfinite().all()
    whole = load_model(ModelFiles("plain", tmp_path / "plain"), replace(found, quant="none"))
    assert 0 < loaded.model.weight_bytes < whole.model.weight_bytes


def test_a_plain_model_runs_unquantised_unless_a_method_is_named(tmp_path: Path) -> None:
    files = ModelFiles("plain", plain_directory(tmp_path / "plain"))
    assert engine().quant == "auto"
    assert resolve(engine(), files).quant == "none"
    assert resolve(engine(quant="rtn"), files).quant == "rtn"


@pytest.mark.parametrize("name", [name for name in SCHEMES if name != "gptq, 8 bits"])
def test_random_weights_are_like_the_checkpoint_unless_a_method_is_named(
    name: str, tmp_path: Path
) -> None:
    files = checkpoint(tmp_path, SCHEMES[name])
    dummy = resolve_dummy(str(files.directory))
    read, drawn = (resolve(engine(load_format=how), files) for how in ("auto", "dummy"))
    assert drawn == replace(read, load_format="dummy")
    assert resolve(drawn, dummy) == drawn
    assert load_model(dummy, drawn).model.weight_bytes == load_model(files, read).model.weight_bytes
    for other in ("none", "fp8"):
        assert resolve(engine(load_format="dummy", quant=other), dummy).quant == other


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"bits": 8}, "none are drawn of gptq in 8 bits, as the checkpoint is"),
        ({"group_size": -1}, "the checkpoint has a scale for a row"),
        ({"desc_act": True}, "the checkpoint's inputs have an order of their own"),
        ({"dynamic": {"-:.*self_attn.*": {}}}, "some of the checkpoint's maps are not quantised"),
        ({"dynamic": {".*self_attn.*": {"bits": 8}}}, "maps are quantised in several ways"),
        ({"lm_head": True}, "the checkpoint's output projection is quantised"),
    ],
)
def test_weights_that_cannot_be_drawn_are_refused(
    changes: dict[str, Any], why: str, tmp_path: Path
) -> None:
    files = checkpoint(tmp_path, SCHEMES["gptq"])
    change_config(files.directory, **changes)
    if "lm_head" in changes:
        config = files.directory / "config.json"
        config.write_text(config.read_text().replace('_embeddings": true', '_embeddings": false'))
    with pytest.raises(ConfigError, match=f"load_format: 'dummy' is not allowed.*{why}") as caught:
        resolve(engine(load_format="dummy"), files)
    assert "\n" not in str(caught.value)
    assert resolve(engine(load_format="dummy", quant="gptq"), files).quant == "gptq"


def in_one_group(form: str, weights: dict[str, Any], inputs: Any = None) -> dict[str, Any]:
    """compressed-tensors' settings of all maps."""
    group = {"targets": ["Linear"], "weights": weights, "input_activations": inputs}
    groups = {"config_groups": {"group_0": group}, "ignore": ["lm_head"], "format": form}
    return {"quant_method": "compressed-tensors", **groups}


E4M3 = {"num_bits": 8, "type": "float", "symmetric": True}
STATIC = {**E4M3, "strategy": "tensor", "dynamic": False}


@pytest.mark.parametrize(
    ("settings", "why"),
    [
        (
            in_one_group("pack-quantized", {"num_bits": 8, "strategy": "group", "group_size": 32}),
            "a scale for a group, and those that are drawn one for a row",
        ),
        (
            {"quant_method": "fp8", "weight_block_size": [64, 128]},
            "a scale for a block of 64 x 128, and those that are drawn one for a block of 128 x",
        ),
        ({"quant_method": "fp8"}, "a scale for a tensor, and those that are drawn one for a row"),
        (
            in_one_group("float-quantized", {**E4M3, "strategy": "channel"}, STATIC),
            "a scale for a row, and those that are drawn one for a tensor",
        ),
        ({"quant_method": "fp8", "weight_block_size": [128, 128]}, ""),
        ({"quant_method": "fp8", "activation_scheme": "static"}, ""),
        (in_one_group("pack-quantized", {"num_bits": 8, "strategy": "channel"}), ""),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_weights_are_drawn_with_the_checkpoints_scales_or_refused(
    settings: dict[str, Any], why: str, tmp_path: Path
) -> None:
    directory = plain_directory(tmp_path / "q")
    config = json.loads((directory / "config.json").read_text())
    (directory / "config.json").write_text(json.dumps(config | {"quantization_config": settings}))
    asked, files = engine(load_format="dummy"), resolve_dummy(str(directory))
    if not why:
        assert load_model(files, resolve(asked, files)).model.weight_bytes > 0
        return
    with pytest.raises(ConfigError, match=f"'dummy' is not allowed.*the checkpoint has {why}"):
        resolve(asked, files)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (
            {"quant": "none"},
            r"quant: 'none' is not .* auto or gptq: the checkpoint is GPTQ \(gptq\)",
        ),
        ({"quant": "awq"}, "quant: 'awq' is not allowed; expected auto or gptq"),
        (
            {"group_size": 64},
            "group_size: 64 is not allowed; expected unset: the checkpoint has 32",
        ),
        ({"quant_bits": 8}, "quant_bits: 8 is not allowed; expected unset: the checkpoint has 4"),
    ],
)
def test_what_a_checkpoint_is_not_is_refused(
    settings: dict[str, Any], message: str, tmp_path: Path
) -> None:
    files = checkpoint(tmp_path, SCHEMES["gptq"])
    with pytest.raises(ConfigError, match=message):
        resolve(engine(**settings), files)


@pytest.mark.parametrize("name", ["awq", "w8a8"])
def test_a_checkpoints_output_projection_is_rounded_when_that_is_asked(
    name: str, tmp_path: Path
) -> None:
    """It is stored as it was, which is not what `--quant w8a8` makes of a plain model."""
    files = checkpoint(tmp_path, SCHEMES[name])
    found = resolve(engine(), files)
    assert found.quant_head == ("none" if name == "w8a8" else "auto")
    asked = resolve(engine(quant_head="int8"), files)
    assert asked.quant_head == "int8"
    assert "w8a16_linear" in kernels_of(asked, files)
    assert "linear" not in kernels_of(asked, files)
    loaded, smaller = load_model(files, found), load_model(files, asked)
    assert smaller.model.weight_bytes < loaded.model.weight_bytes
    ids = list(range(1, 9))
    exact, near = (dense_logits(one.model, ids) for one in (loaded, smaller))
    assert 0 < float((exact - near).norm() / exact.norm()) < 0.02


def test_a_head_that_is_what_the_method_makes_is_not_said(tmp_path: Path) -> None:
    files = ModelFiles("plain", plain_directory(tmp_path / "plain"))
    assert resolve(engine(quant="w8a8", quant_head="w8a8"), files) == resolve(
        engine(quant="w8a8"), files
    )
    assert resolve(engine(quant_head="none"), files).quant_head == "auto"
    assert resolve(engine(quant="int8", quant_head="none"), files).quant_head == "none"
    with pytest.raises(ConfigError, match="quant_head: 'int4' is not allowed"):
        engine(quant_head="int4")


@pytest.mark.parametrize("name", ["gptq", "awq", "w4a16"])
def test_a_checkpoints_activations_are_rounded_when_that_is_asked(
    name: str, tmp_path: Path
) -> None:
    files = checkpoint(tmp_path, SCHEMES[name])
    asked = resolve(engine(quant="auto", quant_activations="int8"), files)
    assert {"linear", "w4a8_linear"} <= set(kernels_of(asked, files))
    assert "w4a16_linear" not in kernels_of(asked, files)
    ids = list(range(1, 9))
    exact, near = (
        dense_logits(load_model(files, one).model, ids) for one in (resolve(engine(), files), asked)
    )
    assert 0 < float((exact - near).norm() / exact.norm()) < 0.05


@pytest.mark.parametrize("quant", ["none", "int8", "w8a8", "fp8"])
def test_activations_belong_to_four_bits(quant: str, tmp_path: Path) -> None:
    files = ModelFiles("plain", plain_directory(tmp_path / "plain"))
    with pytest.raises(ConfigError, match=r"quant: '\w+\+a8' .* 4-bit integer weights"):
        resolve(engine(quant=quant, quant_activations="int8"), files)


def test_activations_belong_to_weights_of_four_bits_not_eight(tmp_path: Path) -> None:
    files = checkpoint(tmp_path, Scheme("gptq", 8, 32))
    with pytest.raises(ConfigError, match=r"quant: '\w+\+a8' .* 4-bit integer weights"):
        resolve(engine(quant_activations="int8"), files)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"quant": "w4a16"}, "quant: 'w4a16' .* the checkpoint is not quantised"),
        ({"quant_bits": 8}, "quant_bits: 8 .* the checkpoint is not quantised"),
    ],
)
def test_what_only_checkpoints_have_is_refused_of_a_plain_model(
    settings: dict[str, Any], message: str, tmp_path: Path
) -> None:
    files = ModelFiles("plain", plain_directory(tmp_path / "plain"))
    with pytest.raises(ConfigError, match=message):
        resolve(engine(**settings), files)
    with pytest.raises(ConfigError, match="quant_bits: 3"):
        engine(quant_bits=3)


def test_what_a_checkpoint_asks_for_and_does_not_get_is_said(tmp_path: Path) -> None:
    from .checkpoints.directories import change_config

    files = checkpoint(tmp_path, SCHEMES["w4a16"])
    change_config(files.directory, kv_cache_scheme={"num_bits": 8, "type": "float"})
    said: list[str] = []
    load_model(files, resolve(engine(), files), said.append)
    assert [line for line in said if "KV cache" in line and "--kv-dtype" in line]


def test_what_a_checkpoint_leaves_out_is_counted_as_it_is(tmp_path: Path) -> None:
    """What is counted of a run, and what room is left for keys, go by every map's own."""
    files = checkpoint(tmp_path, SCHEMES["gptq"])
    engine_ = resolve(engine(), files)
    assert engine_.quant == "gptq"
    every = weights_of(engine_, files.directory)
    change_config(files.directory, dynamic={"-:.*self_attn.*": {}})
    some = weights_of(engine_, files.directory)
    model = load_config(files.directory)
    saved = sum(
        rows * columns * (4 - 0.5) - rows * columns / 32 * 2
        for name, (rows, columns) in model.map_shapes().items()
        if "self_attn" in name
    )
    more = model_work(model, some).linear_bytes - model_work(model, every).linear_bytes
    assert more == saved
    assert every.layer_ops(model) == ("w4a16_linear",)
    assert some.layer_ops(model) == ("linear", "w4a16_linear")
    # Of weights that are drawn, no checkpoint is read.
    drawn = replace(engine_, load_format="dummy")
    assert weights_of(drawn, files.directory).stored is None
