"""The quant axis: from a model directory to weights in the form a method asks for.

What takes long is done once: quantised weights are kept in the cache as a published-format
checkpoint, under a name made of everything they depend on.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch

from ..errors import ConfigError
from ..models.bundled import calibration_text
from ..models.catalogue import cache_directory
from ..models.config import ModelConfig
from ..models.loader import load_config, load_model_directory
from ..models.tokenizer import load_tokenizer
from .awq import quantize
from .checkpoints.read import load_published, read_checkpoint, read_published
from .checkpoints.write import write_checkpoint
from .dense import DenseSource
from .linear import WeightSource
from .methods import find_method
from .quantized import PackedSource, QuantizedModel
from .rounding import rounded_model

Report = Callable[[str], None]

CALIBRATION_SAMPLES = 8
CALIBRATION_TOKENS = 512
# Part of a cached checkpoint's name: raise it when the same inputs would give other weights.
AWQ_REVISION = 1


@dataclass(frozen=True)
class LoadedWeights:
    """A model's weights as a source, and what was decided on the way."""

    config: ModelConfig
    source: WeightSource


def linear_ops(method: str) -> tuple[str, ...]:
    """The operations that the linear maps of a model in a method are made of."""
    return ("linear",) if method == "none" else find_method(method).linear_ops


def load_weights(
    directory: Path,
    method: str,
    *,
    group_size: int | None,
    dtype: torch.dtype,
    device: torch.device,
    report: Report = lambda _: None,
    force_kernels: Mapping[str, str] | None = None,
) -> LoadedWeights:
    """Weights for `method`, or of a quantised checkpoint as it is; calibrated ones are quantised
    now or read from the cache.

    group_size: as `resolve_group_size` gave it. report: told what a long stage is doing.
    force_kernels: operation -> implementation, for the linear maps.
    """
    published = read_published(directory)
    if published is not None:
        for note in published.format.notes:
            report(f"{published.format.name}: {note}")
        quantized = load_published(published)
        return LoadedWeights(
            published.config, PackedSource(quantized, dtype, device, force_kernels)
        )
    if method == "none":
        config, weights = load_model_directory(directory)
        return LoadedWeights(config, DenseSource(weights, dtype, device, force_kernels))
    if find_method(method).calibrated:
        assert group_size is not None
        quantized = _cached_awq(directory, group_size, device, report)
        config = load_config(directory)
    else:
        config, weights = load_model_directory(directory)
        quantized = rounded_model(config, weights, method, group_size, device)
    return LoadedWeights(config, PackedSource(quantized, dtype, device, force_kernels))


def _cached_awq(
    directory: Path, group_size: int, device: torch.device, report: Report
) -> QuantizedModel:
    """Always read back from disk, so that a first run computes with what later ones will."""
    return read_checkpoint(awq_checkpoint(directory, group_size, device, report))[1]


def awq_checkpoint(
    directory: Path, group_size: int, device: torch.device, report: Report = lambda _: None
) -> Path:
    """The model as an AWQ checkpoint, as they are published: quantised now or found in the
    cache. Raises ConfigError where the cache cannot be written."""
    kept = cache_directory() / "awq" / _identity(directory, group_size)
    if not (kept / "config.json").is_file():
        try:
            kept.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            # Before the work, not after it.
            allowed = f"a directory to write in ({error.strerror})"
            raise ConfigError("LLMBENCH_CACHE", str(cache_directory()), allowed) from error
        _quantize_into(kept, directory, group_size, device, report)
    return kept


def _quantize_into(
    kept: Path, directory: Path, group_size: int, device: torch.device, report: Report
) -> None:
    config, weights = load_model_directory(directory)
    report(f"quantising to 4 bits with AWQ, once: {config.num_layers} layers")
    quantized = quantize(
        config,
        weights,
        _calibration(directory, config),
        group_size=group_size,
        device=device,
        progress=lambda done, layers: report(f"AWQ: layer {done} of {layers}"),
    )
    write_checkpoint(quantized, directory, kept, "awq")


def _calibration(directory: Path, config: ModelConfig) -> torch.Tensor:
    """Token ids [samples, length] from the front of the public-domain text that ships."""
    length = min(CALIBRATION_TOKENS, config.max_position_embeddings)
    ids = load_tokenizer(directory).encode(calibration_text(), add_special_tokens=False)
    samples = min(CALIBRATION_SAMPLES, len(ids) // length)
    return torch.tensor(ids[: samples * length]).view(samples, length)


def _identity(directory: Path, group_size: int) -> str:
    """A name that changes with whatever the quantised weights depend on."""
    digest = hashlib.sha256()
    digest.update(f"awq {AWQ_REVISION} {group_size} {CALIBRATION_SAMPLES} ".encode())
    digest.update(f"{CALIBRATION_TOKENS}\n{calibration_text()}".encode())
    for name in ("config.json", "tokenizer.json"):
        path = directory / name
        digest.update(path.read_bytes() if path.exists() else b"")
    for path in sorted(directory.glob("*.safetensors")):
        state = path.stat()
        # The path itself tells apart models whose files happen to agree in size and time.
        digest.update(f"{path.resolve()} {state.st_size} {state.st_mtime_ns}\n".encode())
    return f"{directory.name}-g{group_size}-{digest.hexdigest()[:16]}"
