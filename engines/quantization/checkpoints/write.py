"""A quantised model as a directory that other engines load, too."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

from torch import Tensor

from ....kernels.registry import KernelError
from ...errors import ConfigError, ModelError, unknown_name
from ...models.config import LAYERS, ModelConfig
from ...models.json_file import read_json
from ...models.loader import load_config
from ..finite import check_finite
from ..methods import FORMS
from ..quantized import QuantizedMap, QuantizedModel
from ..resume import writing
from ..scheme import Scheme, quantized_maps, ragged_width
from . import awq, compressed_tensors, gptq
from .layout import Writable
from .place import place_for, replacing
from .report import write_report
from .settings import CONFIG_FILE, QUANTIZATION
from .shards import header_room, write_shards

FORMATS = ("gptq", "gptq_v2", "awq", "compressed-tensors")
# Of weights; compressed-tensors has all.
_FORMS = {"gptq": ("int4", "int8"), "gptq_v2": ("int4", "int8"), "awq": ("int4",)}
SHARD_BYTES = 4 * 2**30
# What a model needs beside its weights; globs.
_COMPANIONS = (
    "tokenizer*",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.json",
    "merges.txt",
    "chat_template*",
    "generation_config.json",
)


def default_format(config: ModelConfig, scheme: Scheme) -> str:
    """The format that a method's own tools write; compressed-tensors for one that has none. A
    shorter last group, which of all formats GPTQ's alone has a place for, is written in that."""
    ragged = ragged_width(config, scheme) is not None
    if scheme.method == "awq" and not ragged:
        return "awq"
    if scheme.method == "gptq" or ragged:
        # Readers of version 1 disagree about a zero point of 0, which only version 2 can store.
        return "gptq" if scheme.symmetric else "gptq_v2"
    return "compressed-tensors"


def write_checkpoint(
    model: QuantizedModel,
    source_directory: Path,
    out: Path,
    format: str,
    *,
    shard_bytes: int = SHARD_BYTES,
    progress: Callable[[int, int], None] | None = None,
    keep: bool = False,
    overwrite: bool = True,
) -> None:
    """The model at `out`, with the config, tokenizer and generation files of `source_directory`.

    The output projection is written as it is in `dense`: few readers take another. All is written
    beside `out` and takes its place at the end, so an interrupted write leaves what was there.
    Another command that writes there is waited for.

    Holds one parameter in memory. progress: called with (parameters done, parameters). keep: leave
    a model that is there by then, since it is the same. overwrite: replace one that is another.
    Raises ConfigError for an unknown format or an `out` that holds something else, and ModelError
    for numbers that are not finite, a model that the format cannot hold, and where it cannot be
    written.
    """
    config = load_config(source_directory)
    encoder = _Encoder(format, model.scheme)
    _check_target(out, source_directory)
    with writing(out), place_for(out):
        if keep and (out / CONFIG_FILE).is_file():
            return
        _check_target(out, source_directory)  # which may have come since
        check_overwrite(out, overwrite)
        with replacing(out) as fresh:
            parameters = _parameters(config, model, encoder)
            total = len(config.parameter_shapes())
            room = header_room(_longest_names(config, model))
            write_shards(fresh, _told(parameters, total, progress), shard_bytes, room)
            write_report(fresh, model.report)
            _copy_companions(source_directory, fresh)
            kept = [name for name in quantized_maps(config) if name not in model.maps]
            settings = {
                **read_json(source_directory / CONFIG_FILE),
                QUANTIZATION: encoder.settings(kept),
            }
            (fresh / CONFIG_FILE).write_text(json.dumps(settings, indent=2), encoding="utf-8")


def check_overwrite(out: Path, overwrite: bool) -> None:
    """Raises ConfigError where a model is there and may not be replaced."""
    if out.exists() and any(out.iterdir()) and not overwrite:
        raise ConfigError("out", str(out), "a new directory; --overwrite replaces this one")


def check_writable(source_directory: Path, out: Path, format: str, scheme: Scheme) -> None:
    """Raises the ConfigError that `write_checkpoint` would, before there are weights to write."""
    _Encoder(format, scheme)
    width = ragged_width(load_config(source_directory), scheme)
    if width is not None and not format.startswith("gptq"):
        allowed = f"a divisor of the model's width {width} in {format}; gptq_v2 has shorter groups"
        raise ConfigError("group_size", scheme.group_size, allowed)
    _check_target(out, source_directory)


class _Encoder:
    """Maps in the tensors of a format, and what config.json then says of them.

    Raises ConfigError for a scheme that the format does not have.
    """

    def __init__(self, name: str, scheme: Scheme) -> None:
        if name not in FORMATS:
            raise unknown_name("format", name, FORMATS)
        if scheme.form not in _FORMS.get(name, FORMS):
            what = f"one that holds {scheme.method} in {scheme.bits} bits, as compressed-tensors"
            raise ConfigError("format", name, what)
        # GPTQ's scales are of 16 bits, and those of rows that are rounded here of 32.
        if name.startswith("gptq") and scheme.method == "int8" and scheme.group_size is None:
            what = "one that holds int8 in 8 bits with a scale a row, as compressed-tensors"
            raise ConfigError("format", name, what)
        self._name = name
        self._scheme = scheme
        self._layout = _layout(name, scheme)
        self._reordered = False

    def parts(self, module: str, map_: QuantizedMap) -> dict[str, Tensor]:
        """The tensors of one map, by their names. Raises ModelError."""
        self._reordered |= map_.order is not None
        try:
            parts = self._layout.write(map_)
        except KernelError as error:
            problem = f"cannot be written as {self._name}: {error}"
            raise ModelError("model", module, problem) from error
        return {f"{module}.{part}": tensor for part, tensor in parts.items()}

    def settings(self, kept: list[str]) -> dict[str, Any]:
        """`quantization_config`, once all maps are written. kept: modules not quantised."""
        if self._name == "awq":
            return awq.quantization_config(self._scheme, kept)
        if self._name == "compressed-tensors":
            return compressed_tensors.quantization_config(self._scheme, kept)
        writer = f"llmbench:{version('llmbench')}"
        return gptq.quantization_config(self._scheme, self._name, kept, self._reordered, writer)


def _layout(name: str, scheme: Scheme) -> Writable:
    if name == "awq":
        return awq.AwqLayout(scheme)
    if name == "compressed-tensors":
        return compressed_tensors.layout_for(scheme)[1]
    return gptq.GptqLayout(scheme, name)


def _parameters(
    config: ModelConfig, model: QuantizedModel, encoder: _Encoder
) -> Iterator[Mapping[str, Tensor]]:
    """The tensors of each parameter, in the order that the config names them."""
    for name in config.parameter_shapes():
        module = name.removesuffix(".weight")
        if module.startswith(LAYERS) and module in model.maps:
            yield encoder.parts(module, model.maps[module])
        elif name in model.dense:
            yield {name: check_finite(name, model.dense[name])}
        else:
            raise ModelError("model", name, "is quantised, and the format has no place for that")


def _longest_names(config: ModelConfig, model: QuantizedModel) -> Iterator[str]:
    """As many as the model's tensors at the most, and as long: no format has more parts."""
    for name in config.parameter_shapes():
        module = name.removesuffix(".weight")
        yield from [f"{module}.weight_global_scale"] * 4 if module in model.maps else [name]


def _told(
    parameters: Iterator[Mapping[str, Tensor]],
    total: int,
    progress: Callable[[int, int], None] | None,
) -> Iterator[Mapping[str, Tensor]]:
    for done, tensors in enumerate(parameters, 1):
        yield tensors
        if progress is not None:
            progress(done, total)


def _copy_companions(source: Path, target: Path) -> None:
    for pattern in _COMPANIONS:
        for file in source.glob(pattern):
            if file.is_file():
                shutil.copyfile(file, target / file.name)


def _check_target(out: Path, source: Path) -> None:
    """Only what a write like this one made is written over."""
    if out.exists() and out.resolve() == source.resolve():
        raise ConfigError("out", str(out), "a directory other than the model's own")
    _check_place(out)
    if not out.exists() or (out.is_dir() and not any(out.iterdir())):
        return
    config = out / CONFIG_FILE
    if not (config.is_file() and read_json(config).get(QUANTIZATION)):
        raise ConfigError("out", str(out), "a new or empty directory, or a quantised model's")


def _check_place(out: Path) -> None:
    """Before there is something to write: whether it could be, next to `out`."""
    place = out.parent
    while not place.exists():
        place = place.parent
    if not place.is_dir() or not os.access(place, os.W_OK | os.X_OK):
        raise ConfigError("out", str(out), f"a place that can be written; {place} cannot")
