"""The quant axis: from a model directory to weights in the form a method asks for.

What takes long is done once: calibrated weights are kept in the cache as a published-format
checkpoint, under a name made of everything they depend on.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from ..errors import ConfigError, ModelError
from ..models.bundled import calibration_text
from ..models.catalogue import cache_directory
from ..models.config import ModelConfig
from ..models.loader import load_config, load_model_directory
from ..models.tokenizer import load_tokenizer
from .calibration import DEFAULT_SIZES, calibration_windows
from .checkpoints.read import load_published, read_checkpoint, read_published
from .checkpoints.write import default_format, write_checkpoint
from .finite import Finite
from .identity import quantization_identity
from .linear import WeightSource
from .methods import find_method, head_method
from .quantize import quantize_model
from .quantized import LayerReport, PackedSource
from .resume import LayerStore
from .rounding import plain_model, rounded_model, with_rounded_head
from .scheme import Scheme, default_scheme

Report = Callable[[str], None]


@dataclass(frozen=True)
class LoadedWeights:
    """A model's config, and its weights as a source."""

    config: ModelConfig
    source: WeightSource


def load_weights(
    directory: Path,
    method: str,
    *,
    group_size: int | None,
    head: str = "auto",
    activations: str = "auto",
    dtype: torch.dtype,
    device: torch.device,
    report: Report = lambda _: None,
    force: Mapping[str, str] | None = None,
) -> LoadedWeights:
    """Weights for `method`, or of a quantised checkpoint as it is; calibrated ones are quantised
    now or read from the cache.

    group_size: as `resolve_group_size` gave it. head: how the output projection is rounded, one of
    HEADS; of a checkpoint that brings it quantised, auto. activations: one of ACTIVATIONS. report:
    told what a long stage is doing. force: operation -> implementation, for the linear maps.

    Weights that are not finite raise ModelError by name when they are asked for.
    """
    published = read_published(directory)
    if published is not None:
        for note in published.format.notes:
            report(f"{published.format.name}: {note}")
        config, quantized = published.config, load_published(published)
        head = "none" if head == "auto" else head
    elif method != "none" and find_method(method).calibrated:
        config = load_config(directory)
        scheme = default_scheme(config, method, group_size)
        # Always read back from disk, so that a first run computes with what later ones will.
        _, quantized = read_checkpoint(cached_checkpoint(directory, scheme, device, report))
    elif method == "none":
        config, weights = load_model_directory(directory)
        quantized = plain_model(weights)
    else:
        config, weights = load_model_directory(directory)
        quantized = rounded_model(config, weights, method, group_size, device)
    if published is None:
        head = head_method(method, head)
    quantized = with_rounded_head(config, quantized, head, device)
    quantized = replace(quantized, dense=Finite(quantized.dense))
    return LoadedWeights(config, PackedSource(quantized, dtype, device, force, activations))


def cached_checkpoint(
    directory: Path, scheme: Scheme, device: torch.device, report: Report = lambda _: None
) -> Path:
    """The model as a published checkpoint of a calibrated method, without tokenizer files:
    quantised now, on the text that ships, or found in the cache. Of several processes that need it
    at once each uses the layers that any has finished, and the model of the first.

    Raises ConfigError where the cache cannot be written."""
    calibration = f"{DEFAULT_SIZES[scheme.method]} {calibration_text()}"
    identity = quantization_identity(directory, scheme, calibration.encode())
    kept = cache_directory() / scheme.method / f"{directory.name}-{identity}"
    if not _is_whole(kept):
        try:
            kept.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            # Before the work, not after it.
            allowed = f"a directory to write in ({error.strerror})"
            raise ConfigError("LLMBENCH_CACHE", str(cache_directory()), allowed) from error
        _quantize_into(kept, directory, scheme, device, report)
    return kept


class _MadeMeanwhileError(Exception):
    """Another process has finished the same model."""


def _is_whole(kept: Path) -> bool:
    return (kept / "config.json").is_file()


def _quantize_into(
    kept: Path, directory: Path, scheme: Scheme, device: torch.device, report: Report
) -> None:
    config, weights = load_model_directory(directory)
    name = scheme.method
    report(f"quantising with {name}, once: {config.num_layers} layers")

    def progress(layer: LayerReport, layers: int) -> None:
        report(f"{name}: layer {layer.layer + 1} of {layers}")
        if _is_whole(kept):
            raise _MadeMeanwhileError

    store = LayerStore(kept.with_name(f".{kept.name}.layers"), kept.name, report)
    try:
        quantized = quantize_model(
            config,
            weights,
            scheme,
            _calibration(directory, config, name),
            device=device,
            progress=progress,
            store=store,
        )
        write_checkpoint(quantized, directory, kept, default_format(config, scheme), keep=True)
    except (_MadeMeanwhileError, ModelError):
        # Whoever finishes first removes the layers that all of them keep, under the others' hands.
        if not _is_whole(kept):
            raise
    store.forget()


def _calibration(directory: Path, config: ModelConfig, method: str) -> torch.Tensor:
    """Token ids [samples, length] from the front of the public-domain text that ships."""
    size = DEFAULT_SIZES[method]
    size = replace(size, length=min(size.length, config.max_position_embeddings))
    return calibration_windows([calibration_text()], load_tokenizer(directory), size)
