"""AWQ checkpoints ("gemm" version) as they are published: a Hugging Face directory."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from safetensors.torch import save_file

from ...kernels.packing import PackedInt4
from ..errors import ModelError
from ..models.loader import SINGLE_FILE, Checkpoint
from .formats import from_awq, to_awq
from .quantized import LayerReport, QuantizedMap, QuantizedModel
from .scheme import Scheme

CONFIG_FILE = "config.json"
REPORT_FILE = "awq_report.json"
_METHOD = {"quant_method": "awq", "bits": 4, "zero_point": True, "version": "gemm"}


def save_awq(weights: QuantizedModel, directory: Path, model_config: Mapping[str, Any]) -> None:
    """Write safetensors, config.json and the report; each file appears whole or not at all.

    model_config: the original model's config.json; `quantization_config` is added to it. The
    tokenizer's files are the caller's to copy.
    """
    directory.mkdir(parents=True, exist_ok=True)
    tensors = {name: tensor.contiguous() for name, tensor in weights.dense.items()}
    for module, quantized in weights.maps.items():
        assert isinstance(quantized.weight, PackedInt4)
        for part, tensor in to_awq(quantized.weight).items():
            tensors[f"{module}.{part}"] = tensor
    quantization = {
        **_METHOD,
        "group_size": weights.scheme.group_size,
        "modules_to_not_convert": ["lm_head"],
    }
    config = {**model_config, "quantization_config": quantization}
    report = [asdict(layer) for layer in weights.report]
    _write(directory / SINGLE_FILE, lambda path: save_file(tensors, path, {"format": "pt"}))
    _write(directory / REPORT_FILE, lambda path: path.write_text(json.dumps(report, indent=1)))
    # Last: a directory without a config is not a model.
    _write(directory / CONFIG_FILE, lambda path: path.write_text(json.dumps(config, indent=2)))


def load_awq(directory: Path) -> QuantizedModel:
    """Read a 4-bit AWQ directory, ours or another's. Raises ModelError for any other directory."""
    group_size = _check_method(directory)
    checkpoint = Checkpoint(directory)
    modules = [name.removesuffix(".qweight") for name in checkpoint if name.endswith(".qweight")]
    parts = ("qweight", "qzeros", "scales")
    packed_names = {f"{module}.{part}" for module in modules for part in parts}
    missing = sorted(packed_names - set(checkpoint))
    if missing:
        raise ModelError("model", str(directory), f"lacks the tensor {missing[0]!r}")
    packed = {
        module: from_awq(*(checkpoint[f"{module}.{part}"] for part in parts)) for module in modules
    }
    for module, weight in packed.items():
        if weight.group_size != group_size:
            raise ModelError(
                "group_size", group_size, f"of config.json is {weight.group_size} in {module!r}"
            )
    dense = {name: checkpoint[name] for name in checkpoint if name not in packed_names}
    scheme = Scheme("awq", 4, group_size, symmetric=False)
    maps = {module: QuantizedMap(weight) for module, weight in packed.items()}
    return QuantizedModel(scheme, dense, maps, _read_report(directory / REPORT_FILE))


def _check_method(directory: Path) -> int:
    """The group size that config.json declares."""
    path = directory / CONFIG_FILE
    try:
        method = json.loads(path.read_text(encoding="utf-8")).get("quantization_config") or {}
    except (OSError, ValueError, AttributeError) as error:
        raise ModelError("model", str(path), f"cannot be read ({error})") from error
    for key, expected in _METHOD.items():
        found = method.get(key)
        if str(found).lower() != str(expected).lower():
            raise ModelError(f"quantization_config.{key}", found, f"is not {expected!r}")
    group_size = method.get("group_size")
    if not isinstance(group_size, int) or group_size < 1:
        raise ModelError("quantization_config.group_size", group_size, "is not a number above 0")
    return group_size


def _read_report(path: Path) -> tuple[LayerReport, ...]:
    if not path.exists():
        return ()
    return tuple(LayerReport(**layer) for layer in json.loads(path.read_text(encoding="utf-8")))


def _write(path: Path, write: Callable[[Path], object]) -> None:
    partial = path.with_name(f".{path.name}.partial")
    write(partial)
    os.replace(partial, path)
