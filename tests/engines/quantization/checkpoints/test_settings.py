"""Settings in config.json, in a file beside it, and in both."""

from __future__ import annotations

import json
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
import torch
from llmbench.engines.errors import ModelError
from llmbench.engines.quantization.checkpoints.layout import KV_CACHE
from llmbench.engines.quantization.checkpoints.read import (
    read_checkpoint,
    read_published,
    read_scheme,
)
from llmbench.engines.quantization.checkpoints.settings import (
    AWQ_FILE,
    GPTQ_FILE,
    MODELOPT_FILE,
    read_settings,
)
from llmbench.engines.quantization.checkpoints.write import write_checkpoint
from llmbench.engines.quantization.scheme import Scheme

from .directories import WEIGHTS, change_config, maps_of, plain_directory, rounded

# As AutoGPTQ wrote it before there was a quant_method, and AutoAWQ.
AUTO_GPTQ = {
    "bits": 4,
    "group_size": 32,
    "damp_percent": 0.01,
    "desc_act": False,
    "static_groups": False,
    "sym": True,
    "true_sequential": True,
    "model_name_or_path": None,
    "model_file_base_name": None,
}
AUTO_AWQ = {"zero_point": True, "q_group_size": 32, "w_bit": 4, "version": "GEMM"}
GPTQ, AWQ = Scheme("gptq", 4, 32), Scheme("awq", 4, 32, symmetric=False)


def written(tmp_path: Path, scheme: Scheme = GPTQ) -> Path:
    source, out = plain_directory(tmp_path / "plain"), tmp_path / "out"
    write_checkpoint(rounded(scheme), source, out, scheme.method)
    return out


def taken_out(path: Path) -> dict[str, Any]:
    """config.json's settings, which it then lacks."""
    config = json.loads((path / "config.json").read_text())
    settings = config.pop("quantization_config")
    (path / "config.json").write_text(json.dumps(config))
    return settings


def put(path: Path, file: str, settings: object) -> None:
    (path / file).write_text(json.dumps(settings))


@pytest.mark.parametrize(
    ("file", "settings", "scheme", "weights"),
    [
        (GPTQ_FILE, AUTO_GPTQ, GPTQ, "gptq_model-4bit-32g.safetensors"),
        (GPTQ_FILE, {**AUTO_GPTQ, "quant_method": "gptq", "checkpoint_format": "gptq"}, GPTQ, ""),
        (AWQ_FILE, AUTO_AWQ, AWQ, "awq_model_w4_g32.safetensors"),
        (GPTQ_FILE, AUTO_AWQ, AWQ, ""),
        (AWQ_FILE, {**AUTO_AWQ, "quant_method": "awq"}, AWQ, ""),
    ],
    ids=["auto-gptq, older", "auto-gptq", "auto-awq, older", "awq under gptq's name", "auto-awq"],
)
def test_settings_beside_config_json(
    file: str, settings: dict[str, Any], scheme: Scheme, weights: str, tmp_path: Path
) -> None:
    out = written(tmp_path, scheme)
    expected = maps_of(read_checkpoint(out)[1])
    taken_out(out)
    assert read_scheme(out) is None
    put(out, file, settings)
    if weights:  # the only safetensors file, whatever its name
        (out / WEIGHTS).rename(out / weights)
    found = read_published(out)
    assert found is not None
    assert found.scheme == scheme
    assert found.format.notes == ()
    read = maps_of(read_checkpoint(out)[1])
    assert read.keys() == expected.keys()
    assert all(torch.equal(read[name], weight) for name, weight in expected.items())


@pytest.mark.reference("gptqmodel")
def test_what_gptqmodel_saves_is_read(tmp_path: Path) -> None:
    quantization = import_module("gptqmodel.quantization")
    out = written(tmp_path)
    taken_out(out)
    quantization.QuantizeConfig(bits=4, group_size=32, desc_act=False).save_pretrained(out)
    assert read_scheme(out) == GPTQ


def test_two_that_agree(tmp_path: Path) -> None:
    """What only one of them says, or how a weight was found, is no contradiction."""
    out = written(tmp_path)
    put(out, GPTQ_FILE, {**AUTO_GPTQ, "damp_percent": 0.5})
    assert read_scheme(out) == GPTQ
    out = written(tmp_path / "awq", AWQ)
    put(out, AWQ_FILE, AUTO_AWQ)
    assert read_scheme(out) == AWQ


def test_what_only_one_of_two_says_holds(tmp_path: Path) -> None:
    """A rule, of the weights; and of ModelOpt, that keys and values are quantised."""
    out, q = written(tmp_path), "model.layers.0.self_attn.q_proj"
    put(out, GPTQ_FILE, {**AUTO_GPTQ, "dynamic": {"-:.*self_attn.*": {}}})
    found = read_published(out)
    assert found is not None
    assert q not in found.layouts
    assert len(found.layouts) == 6
    put(out, GPTQ_FILE, {**AUTO_GPTQ, "dynamic": {"+:.*": {"bits": 2}}})
    with pytest.raises(ModelError, match=r"quantize_config.json.dynamic.\+:.\*.bits: 2 is not"):
        read_published(out)
    source = plain_directory(tmp_path / "modelopt")
    config = json.loads((source / "config.json").read_text())
    config["quantization_config"] = {"quant_method": "modelopt", "quant_algo": "FP8"}
    put(source, "config.json", config)
    modelopt = {"quant_algo": "FP8", "kv_cache_quant_algo": "FP8"}
    put(source, MODELOPT_FILE, {"quantization": modelopt})
    found = read_published(source)
    assert found is not None
    assert found.format.notes == (KV_CACHE,)


def test_two_files_beside_a_silent_config_may_not_disagree(tmp_path: Path) -> None:
    out = written(tmp_path)
    change_config(out, sym=None)
    put(out, GPTQ_FILE, AUTO_GPTQ)
    put(out, AWQ_FILE, {"quant_method": "gptq", "sym": False})
    with pytest.raises(ModelError, match=r"quant_config.json.sym: False .* quantize_config.json"):
        read_published(out)


@pytest.mark.parametrize(
    ("file", "change", "message"),
    [
        (GPTQ_FILE, {"bits": 8}, "quantize_config.json.bits: 8 is not what quantization_config"),
        (GPTQ_FILE, {"group_size": 64}, "quantize_config.json.group_size: 64 is .* has, 32"),
        (GPTQ_FILE, {"sym": False}, "quantize_config.json.sym: False is .* has, True"),
        (GPTQ_FILE, {"checkpoint_format": "gptq_v2"}, "checkpoint_format: 'gptq_v2' is .*'gptq'"),
        (GPTQ_FILE, {"zero_point": True}, "quant_method: 'awq' is .* has, 'gptq'"),
        (AWQ_FILE, {"w_bit": 8}, "quant_config.json.quant_method: 'awq' is .* has, 'gptq'"),
        (MODELOPT_FILE, {}, "quant_method: 'modelopt' is .* has, 'gptq'"),
    ],
    ids=lambda value: "" if isinstance(value, str) and " " in value else str(value),
)
def test_two_that_disagree_are_refused(
    file: str, change: dict[str, Any], message: str, tmp_path: Path
) -> None:
    out = written(tmp_path)
    modelopt = {"quantization": {"quant_algo": "FP8"}}
    data = {GPTQ_FILE: AUTO_GPTQ, AWQ_FILE: {}, MODELOPT_FILE: modelopt}
    put(out, file, {**data[file], **change})
    with pytest.raises(ModelError, match=message) as error:
        read_published(out)
    assert "\n" not in str(error.value)


def test_an_awq_field_is_named_as_its_file_has_it(tmp_path: Path) -> None:
    out = written(tmp_path, AWQ)
    put(out, AWQ_FILE, {**AUTO_AWQ, "q_group_size": 64})
    with pytest.raises(ModelError, match=r"quant_config.json.q_group_size: 64 is .* has, 32"):
        read_published(out)
    taken_out(out)
    put(out, AWQ_FILE, {**AUTO_AWQ, "w_bit": 3})
    with pytest.raises(ModelError, match=r"quant_config.json.w_bit: 3 is not supported"):
        read_published(out)


@pytest.mark.parametrize(
    ("file", "settings", "message"),
    [
        (GPTQ_FILE, [], "quantize_config.json' is not a JSON object"),
        (GPTQ_FILE, {}, "quantize_config.json.bits: None is not supported"),
        (GPTQ_FILE, {**AUTO_GPTQ, "is_marlin_format": True}, "is_marlin_format: True is not"),
        (GPTQ_FILE, {**AUTO_GPTQ, "quant_method": "hqq"}, "quant_method: 'hqq' is not supported"),
        (AWQ_FILE, {**AUTO_AWQ, "version": "GEMV"}, "version: 'GEMV' is not supported"),
        (MODELOPT_FILE, {}, "hf_quant_config.json.quantization: None is not a mapping"),
    ],
    ids=["list", "empty", "marlin", "hqq", "gemv", "modelopt"],
)
def test_a_file_that_cannot_be_used_is_named(
    file: str, settings: object, message: str, tmp_path: Path
) -> None:
    source = plain_directory(tmp_path / "plain")
    put(source, file, settings)
    with pytest.raises(ModelError, match=message):
        read_published(source)


@pytest.mark.parametrize("nothing", [None, {}], ids=["null", "empty"])
def test_settings_that_say_nothing(nothing: object, tmp_path: Path) -> None:
    source = plain_directory(tmp_path / "plain")
    config = json.loads((source / "config.json").read_text())
    put(source, "config.json", {**config, "quantization_config": nothing})
    assert read_settings(source) is None


def test_several_files_and_no_index_are_named(tmp_path: Path) -> None:
    out = written(tmp_path)
    (out / WEIGHTS).rename(out / "a.safetensors")
    (out / "b.safetensors").write_bytes(b"")
    with pytest.raises(ModelError, match=r"has a.safetensors, b.safetensors and no model.safe"):
        read_checkpoint(out)
