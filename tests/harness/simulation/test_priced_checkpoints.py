"""A quantised checkpoint is priced map by map, as each is stored."""

from __future__ import annotations

import json
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import huggingface_hub
import pytest
from llmbench.engines.cost.roofline import Roofline
from llmbench.engines.cost.shapes import shape_file
from llmbench.engines.errors import ConfigError
from llmbench.harness.machine.counted_model import CountedModel
from llmbench.harness.simulation.simulate import (
    _resources,
    _weight_bytes,
    prepare_simulation,
)
from llmbench.harness.simulation.simulated_machine import Machine

from .test_simulate import config


def test_a_quantised_checkpoint_is_priced_as_what_it_is(tmp_path: Path) -> None:
    """GPTQ in 8 bits and groups of 128: twice the codes of 4 bits, and the same scales."""
    source = shape_file("smollm2-135m").read_text()
    found = {}
    for bits in (4, 8):
        directory = tmp_path / str(bits)
        directory.mkdir()
        data = json.loads(source)
        data["quantization_config"] = {"quant_method": "gptq", "bits": bits, "group_size": 128}
        (directory / "config.json").write_text(json.dumps(data))
        found[bits] = prepare_simulation(config(str(directory)), Machine())
    assert [one.engine.quant for one in found.values()] == ["gptq", "gptq"]
    assert found[8].engine.quant_bits == 8
    stored = {}
    for bits, one in found.items():
        assert isinstance(one.cost, Roofline)
        stored[bits] = one.cost.work.linear_bytes
    weights = 30 * (576 * (2 * 576 + 2 * 192) + 3 * 576 * 1536)
    assert stored[8] - stored[4] == weights / 2
    with pytest.raises(ConfigError, match="quant: 'none'"):
        prepare_simulation(config(str(tmp_path / "4"), quant="none"), Machine())
    assert prepare_simulation(config("smollm2-135m"), Machine()).engine.quant == "none"


def gptq_llama(directory: Path, **settings: Any) -> str:
    """Llama-3-8B in 4 bits and groups of 128, by its config.json alone."""
    directory.mkdir()
    data = json.loads(shape_file("llama-3-8b").read_text())
    gptq = {"quant_method": "gptq", "bits": 4, "group_size": 128}
    data["quantization_config"] = gptq | settings
    (directory / "config.json").write_text(json.dumps(data))
    return str(directory)


# Of a layer's attention and of its MLP, and the output projection.
ATTENTION, MLP, HEAD = 4096 * (2 * 4096 + 2 * 1024), 3 * 4096 * 14336, 128256 * 4096
FOUR_BITS = 0.5 + 2 / 128


@pytest.mark.parametrize(
    ("settings", "layer_bytes", "head_bytes"),
    [
        ({}, FOUR_BITS * (ATTENTION + MLP), 2 * HEAD),
        ({"lm_head": True}, FOUR_BITS * (ATTENTION + MLP), FOUR_BITS * HEAD),
        ({"dynamic": {"-:.*self_attn.*": {}}}, 2 * ATTENTION + FOUR_BITS * MLP, 2 * HEAD),
        (
            {"dynamic": {"+:.*self_attn.*": {"bits": 8, "group_size": -1}}},
            ATTENTION + 2 * (2 * 4096 + 2 * 1024) + FOUR_BITS * MLP,
            2 * HEAD,
        ),
    ],
    ids=["all layers", "and the output projection", "not attention", "attention in 8 bits, a row"],
)
def test_every_map_of_a_checkpoint_is_priced_as_it_is_stored(
    settings: dict[str, Any], layer_bytes: float, head_bytes: float, tmp_path: Path
) -> None:
    prepared = prepare_simulation(config(gptq_llama(tmp_path / "q", **settings)), Machine("h100"))
    assert isinstance(prepared.cost, Roofline)
    work = prepared.cost.work
    assert work.linear_bytes == 32 * layer_bytes
    assert work.head_bytes == head_bytes
    assert work.stored_bytes == 32 * layer_bytes + 2 * HEAD + head_bytes
    counted = _resources(prepared).model
    assert isinstance(counted, CountedModel)
    assert counted.work == work
    assert _weight_bytes(prepared) == int(work.linear_bytes + work.head_bytes)


@pytest.mark.parametrize("named", ["directory", "file", "hub id"])
def test_a_checkpoint_is_priced_alike_however_it_is_named(
    named: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Known wrong of all but a directory: priced in 16 bits."""
    directory = gptq_llama(tmp_path / "q")
    file = Path(directory) / "config.json"
    monkeypatch.setattr("llmbench.engines.cost.shapes._hub_config", lambda _name: file)
    name = {"directory": directory, "file": str(file), "hub id": "some/llama-gptq"}[named]
    prepared = prepare_simulation(config(name), Machine("h100"))
    assert prepared.engine.quant == "gptq"
    assert isinstance(prepared.cost, Roofline)
    assert prepared.cost.work.linear_bytes == 32 * FOUR_BITS * (ATTENTION + MLP)
    with pytest.raises(ConfigError, match="quant: 'none' is not allowed; expected auto or gptq"):
        prepare_simulation(config(name, quant="none"), Machine("h100"))


@pytest.mark.parametrize(
    ("file", "settings"),
    [
        ("quantize_config.json", {"bits": 4, "group_size": 128}),
        ("hf_quant_config.json", {"quantization": {"quant_algo": "FP8"}}),
        ("", {}),
    ],
    ids=["AutoGPTQ's", "ModelOpt's", "not quantised"],
)
def test_what_a_hub_id_says_beside_its_config_is_fetched_too(
    file: str, settings: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Known wrong here: config.json alone was, and such a checkpoint priced in 16 bits."""
    hub, snapshot = tmp_path / "hub", tmp_path / "snapshot"
    hub.mkdir()
    (hub / "config.json").write_text(shape_file("llama-3-8b").read_text())
    (hub / "model.safetensors").write_bytes(b"weights")
    if file:
        (hub / file).write_text(json.dumps(settings))

    def snapshot_download(name: str, *, allow_patterns: list[str]) -> str:
        assert name == "some/llama"
        snapshot.mkdir(exist_ok=True)
        for path in hub.iterdir():
            if any(fnmatch(path.name, pattern) for pattern in allow_patterns):
                (snapshot / path.name).write_bytes(path.read_bytes())
        return str(snapshot)

    monkeypatch.setattr(huggingface_hub, "snapshot_download", snapshot_download)
    found, here = (
        prepare_simulation(config(name), Machine("h100")) for name in ("some/llama", str(hub))
    )
    assert found.weights == here.weights
    assert (found.engine.quant == "none") is not bool(file)
    assert {path.name for path in snapshot.iterdir()} == {"config.json", file} - {""}


def test_a_quantised_config_by_another_name_needs_a_method(tmp_path: Path) -> None:
    file = (Path(gptq_llama(tmp_path / "q")) / "config.json").rename(tmp_path / "llama-gptq.json")
    with pytest.raises(ConfigError, match=r"quant: 'auto' is not allowed; .*--quant.*llama-gptq"):
        prepare_simulation(config(str(file)), Machine("h100"))
    prepared = prepare_simulation(config(str(file), quant="gptq"), Machine("h100"))
    assert prepared.engine.quant == "gptq"


def test_a_smaller_output_projection_leaves_room_for_more_keys(tmp_path: Path) -> None:
    plain, rounded = (
        prepare_simulation(config(gptq_llama(tmp_path / str(head), lm_head=head)), Machine("h100"))
        for head in (False, True)
    )
    saved = (2 - FOUR_BITS) * HEAD
    assert (rounded.pool_tokens - plain.pool_tokens) * 131072 == pytest.approx(
        0.9 * saved, abs=2 * 131072
    )
