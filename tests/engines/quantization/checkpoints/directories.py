"""Small model directories, plain and quantised, and changes to what lies in them."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from llmbench.engines.errors import ModelError
from llmbench.engines.models.config import ModelConfig
from llmbench.engines.quantization.quantized import QuantizedMap, QuantizedModel
from llmbench.engines.quantization.rounding import ROUND
from llmbench.engines.quantization.scheme import Scheme, quantized_maps
from llmbench.kernels.fp8 import Fp8Weight, quantize_fp8
from safetensors.torch import load_file, save_file
from torch import Tensor

from ..dequantized import dequantized_weight
from ..tiny import tiny_json, tiny_model


def plain_directory(path: Path, shape: str = "grouped heads, tied") -> Path:
    """A model with random weights."""
    path.mkdir(parents=True)
    config, weights = tiny_model(shape)
    save_file(weights, path / WEIGHTS)
    data = tiny_json(shape) | {"model_type": config.family}
    (path / "config.json").write_text(json.dumps(data))
    (path / "tokenizer.json").write_text("{}")
    return path


def rounded(scheme: Scheme, shape: str = "grouped heads, tied") -> QuantizedModel:
    """The same model, its layers' maps rounded as the scheme says."""
    config, weights = tiny_model(shape)
    how = {"gptq": "rtn", "awq": "rtn", "w4a16": "rtn", "smoothquant": "w8a8"}
    round_ = ROUND.get(how.get(scheme.method, scheme.method), static_fp8)
    maps = {
        name: QuantizedMap(round_(weights[f"{name}.weight"], scheme))
        for name in quantized_maps(config)
    }
    return QuantizedModel(scheme, weights, maps)


def static_fp8(weight: Tensor, _scheme: Scheme) -> Fp8Weight:
    """As if calibration had seen inputs of up to 224."""
    return replace(quantize_fp8(weight, len(weight)), input_scale=torch.tensor(0.5))


def maps_of(model: QuantizedModel) -> dict[str, Tensor]:
    """Every map's weight, float32, its inputs in the model's order."""
    return {name: in_order(map_) for name, map_ in model.maps.items()}


def in_order(map_: QuantizedMap) -> Tensor:
    """[out_features, in_features], as the unquantised weight lies."""
    weight = dequantized_weight(map_.weight)
    return weight if map_.order is None else weight[:, torch.argsort(map_.order)]


def checkpoint(
    path: Path,
    settings: Mapping[str, Any],
    parts: Mapping[str, Mapping[str, Tensor]],
    shape: str = "grouped heads, tied",
    file: str = "",
) -> ModelConfig:
    """A directory whose modules are stored as `parts` says, the others as they are.

    settings: quantization_config, or with `file` what lies in that file.
    """
    config, weights = tiny_model(shape)
    path.mkdir(parents=True)
    tensors = {name: value for name, value in weights.items() if name[:-7] not in parts}
    tensors |= {f"{m}.{part}": value for m, of in parts.items() for part, value in of.items()}
    save_file({name: value.contiguous() for name, value in tensors.items()}, path / WEIGHTS)
    data = tiny_json(shape) | {"model_type": config.family}
    if file:
        (path / file).write_text(json.dumps(settings))
    else:
        data["quantization_config"] = settings
    (path / "config.json").write_text(json.dumps(data))
    return config


WEIGHTS = "model.safetensors"


def problem_of(read: Callable[[], object]) -> str:
    """What is said of it, one line; empty where it can be read."""
    try:
        read()
    except ModelError as error:
        said = str(error)
    else:
        return ""
    assert "\n" not in said
    return said


def change_config(path: Path, **changes: Any) -> None:
    """Of quantization_config."""
    file = path / "config.json"
    data = json.loads(file.read_text())
    data["quantization_config"] |= changes
    file.write_text(json.dumps(data))


def change_tensors(path: Path, **changes: Tensor | None) -> None:
    """By name, its dots written as two underscores; None takes a tensor away."""
    tensors = load_file(path / WEIGHTS)
    for name, value in changes.items():
        full = name.replace("__", ".")
        tensors.pop(full, None)
        if value is not None:
            tensors[full] = value.contiguous()
    save_file(tensors, path / WEIGHTS)
