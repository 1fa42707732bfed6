"""Every field of every format as everything that JSON has: read, or refused in one line."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from llmbench.engines.errors import ModelError
from llmbench.engines.models.config import parse_config
from llmbench.engines.quantization.checkpoints import auto_round
from llmbench.engines.quantization.checkpoints.compressed_tensors import quantization_config
from llmbench.engines.quantization.checkpoints.fields import Fields
from llmbench.engines.quantization.checkpoints.read import read_checkpoint, read_published
from llmbench.engines.quantization.scheme import Scheme

from ..tiny import tiny_json
from .directories import plain_directory, problem_of
from .test_auto_round import BASE
from .test_hostile import NAN, SCHEMES, Q

# One setting of each kind that a format may state; each is then replaced by what it cannot be.
SETTINGS: dict[str, dict[str, Any]] = {
    "gptq": {
        "quant_method": "gptq",
        "bits": 4,
        "group_size": 32,
        "sym": True,
        "desc_act": False,
        "lm_head": False,
        "checkpoint_format": "gptq",
        "pack_dtype": "int32",
        "dynamic": {"-:.*q_proj": {}, ".*k_proj": {"bits": 8, "group_size": 64, "sym": True}},
        "modules_in_block_to_quantize": [["mlp.up_proj"]],
    },
    "awq": {
        "quant_method": "awq",
        "bits": 4,
        "group_size": 32,
        "zero_point": True,
        "version": "gemm",
        "modules_to_not_convert": ["lm_head"],
    },
    "fp8": {
        "quant_method": "fp8",
        "fmt": "e4m3",
        "activation_scheme": "dynamic",
        "weight_block_size": [32, 32],
        "modules_to_not_convert": ["lm_head"],
        "scale_fmt": "ue8m0",
    },
    "modelopt": {
        "quant_method": "modelopt",
        "quant_algo": "NVFP4",
        "group_size": 16,
        "kv_cache_quant_algo": "FP8",
        "exclude_modules": ["lm_head"],
    },
    "auto-round": {
        **BASE,
        "extra_config": {Q: {"bits": 8, "group_size": 64, "sym": True, "data_type": "int"}},
        "modules_to_not_convert": ["lm_head"],
    },
    **{
        f"compressed {name}": quantization_config(SCHEMES[name], ["lm_head"])
        for name in ("int4", "fp8", "nvfp4")
    },
    "compressed fp8-block": quantization_config(Scheme("fp8-block", 8), ["lm_head"]),
}
STRANGE = (
    None,
    True,
    0,
    -2,
    3,
    1.5,
    NAN,
    10**30,
    "",
    "4",
    "re:(",
    [],
    [5],
    [None],
    [[]],
    {},
    {"": 1},
)


def places(data: object, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Where a value stands, however deep."""
    entries: Any = ()
    if isinstance(data, dict):
        entries = data.items()
    elif isinstance(data, list):
        entries = enumerate(data)
    for key, value in entries:
        yield (*path, key)
        yield from places(value, (*path, key))


def with_value(data: dict[str, Any], path: tuple[Any, ...], value: object) -> dict[str, Any]:
    changed: Any = copy.deepcopy(data)
    within = changed
    for key in path[:-1]:
        within = within[key]
    within[path[-1]] = value
    return changed


@pytest.mark.parametrize("name", SETTINGS)
def test_settings_of_any_value_are_read_or_refused(name: str, tmp_path: Path) -> None:
    """Every field of a format, at every depth, as everything that JSON has."""
    path = plain_directory(tmp_path / "plain")
    config = json.loads((path / "config.json").read_text())
    tried = 0
    for place in places(SETTINGS[name]):
        for value in STRANGE:
            settings = with_value(SETTINGS[name], place, value)
            (path / "config.json").write_text(
                json.dumps({**config, "quantization_config": settings})
            )
            # A number may fit the settings and not the tensors.
            read = read_checkpoint if isinstance(value, int) else read_published
            problem_of(lambda read=read: read(path))
            tried += 1
    assert tried >= 5 * len(STRANGE)


def test_a_config_of_any_value_is_read_or_refused() -> None:
    for shape in ("grouped heads, tied", "qwen3", "mistral"):
        data = {
            **tiny_json(shape),
            "rope_scaling": {"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0},
            "layer_types": ["full_attention", "full_attention"],
            "use_sliding_window": False,
            "hidden_act": "silu",
            "partial_rotary_factor": 1.0,
            "eos_token_id": [1, 2],
            "bos_token_id": 1,
        }
        for place in places(data):
            for value in STRANGE:
                if place == ("num_hidden_layers",) and value == 10**30:
                    continue  # a list of its layers is longer than any memory
                changed = with_value(data, place, value)
                problem_of(lambda changed=changed: parse_config(changed))


def test_auto_rounds_bits_are_named_in_full() -> None:
    settings = with_value(SETTINGS["auto-round"], ("extra_config", Q, "bits"), 3)
    with pytest.raises(ModelError, match=rf"q.extra_config.{Q}.bits: 3 is not supported"):
        auto_round.parse(Fields(settings, "q"))
