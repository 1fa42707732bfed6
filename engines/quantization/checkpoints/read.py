"""A published checkpoint: which format it is in, what it needs to run, its weights when asked."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property, partial
from math import prod
from pathlib import Path

from torch import Tensor

from ....kernels.registry import KernelError
from ...errors import ModelError
from ...models.config import ModelConfig
from ...models.loader import Checkpoint, check_tensor, is_tied_copy, load_config
from ..finite import check_finite
from ..lazy import Lazy
from ..methods import linear_ops, op_of
from ..quantized import QuantizedMap, QuantizedModel, Unquantized
from ..scheme import Scheme, quantized_maps
from . import auto_round, awq, compressed_tensors, fine_grained_fp8, gptq, modelopt
from .fields import Fields
from .layout import FLOATS, Format, Layout
from .report import read_report
from .settings import read_settings

# Settings of a quantised KV cache, and tables that are computed: not read, and not a mistake.
_UNUSED = (
    *(f".{one}_{what}" for one in "qkv" for what in ("scale", "zero_point")),
    ".kv_scale",
    ".output_scale",
    ".rotary_emb.inv_freq",
)


@dataclass(frozen=True)
class Published:
    """A quantised checkpoint, by its JSON files alone."""

    directory: Path
    config: ModelConfig
    format: Format

    @cached_property
    def layouts(self) -> dict[str, Layout]:
        """How each map that is quantised is stored, by its module."""
        modules = quantized_maps(self.config)
        if not self.config.tie_word_embeddings:
            modules = (*modules, self.config.head_name)
        found = {module: self.format.layout_of(module) for module in modules}
        return {module: layout for module, layout in found.items() if layout is not None}

    @property
    def scheme(self) -> Scheme:
        """That of most of the weights."""
        shapes = self.config.parameter_shapes()
        weights: Counter[Scheme] = Counter()
        for module, layout in self.layouts.items():
            weights[layout.scheme] += prod(shapes[f"{module}.weight"])
        return weights.most_common(1)[0][0]

    def linear_ops(self, head: str = "auto", activations: str = "auto") -> tuple[str, ...]:
        """The operations that the linear maps of the model are made of. head: how its output
        projection is rounded; auto: as it is. activations: one of ACTIVATIONS."""
        ops = {op_of(layout.scheme.form, activations) for layout in self.layouts.values()}
        plain = {*quantized_maps(self.config), self.config.head_name} - self.layouts.keys()
        if head not in ("auto", "none"):
            ops.update(linear_ops("none", head)[:1])
            plain.discard(self.config.head_name)
        return (*(("linear",) if plain else ()), *sorted(ops))


def read_published(directory: Path) -> Published | None:
    """None for a checkpoint that is not quantised. Reads JSON files only.

    Raises ModelError for a format that is not known, or that quantises no map of the model.
    """
    settings = read_settings(directory)
    if settings is None:
        return None
    config = load_config(directory)
    published = Published(directory, config, _parse(settings, config))
    if not published.layouts:
        raise ModelError(settings.place, published.format.name, "quantises no map of the model")
    return published


def read_scheme(directory: Path) -> Scheme | None:
    """What a quantised checkpoint is, from its JSON files alone; None where it is plain."""
    published = read_published(directory)
    return None if published is None else published.scheme


def read_checkpoint(directory: Path) -> tuple[ModelConfig, QuantizedModel]:
    """A quantised checkpoint, checked against its config; maps are read as they are asked for.

    Raises ModelError, naming the tensor or the field, and for a checkpoint that is plain.
    """
    published = read_published(directory)
    if published is None:
        raise ModelError("model", str(directory), "is not quantised")
    return published.config, load_published(published)


def load_published(published: Published) -> QuantizedModel:
    """As `read_checkpoint`."""
    checkpoint = Checkpoint(published.directory)
    maps = StoredMaps(published, checkpoint)
    dense = _dense(published, checkpoint)
    _check_nothing_else(published, checkpoint, {*maps.tensors, *dense})
    return QuantizedModel(published.scheme, dense, maps, read_report(published.directory))


class StoredMaps(Lazy[QuantizedMap]):
    """Quantised maps by module, each read and repacked when it is asked for. Names, shapes and
    dtypes are checked at once, from the files' headers."""

    def __init__(self, published: Published, checkpoint: Checkpoint) -> None:
        self._layouts = published.layouts
        self._checkpoint = checkpoint
        shapes = published.config.parameter_shapes()
        matrices = {module: shapes[f"{module}.weight"] for module in self._layouts}
        self._sizes = {module: (shape[0], shape[1]) for module, shape in matrices.items()}
        self._stored = {
            module: self._parts(published, module, layout)
            for module, layout in self._layouts.items()
        }
        super().__init__(self._stored)

    @property
    def tensors(self) -> Iterator[str]:
        """Names of the tensors that the maps are made of."""
        return (name for names in self._stored.values() for name in names.values())

    def _parts(self, published: Published, module: str, layout: Layout) -> dict[str, str]:
        """Names of a module's tensors, by their part."""
        outputs, inputs = self._sizes[module]
        try:
            parts = layout.parts(outputs, inputs)
        except KernelError as error:
            size = layout.scheme.group_size
            raise ModelError("group_size", size, f"does not fit {module!r}: {error}") from error
        stored = {}
        for name, one in parts.items():
            full, other = f"{module}.{name}", f"{module}.{one.also}"
            if full not in self._checkpoint:
                if one.also and other in self._checkpoint:
                    full = other
                elif one.optional:
                    continue
            check_tensor(self._checkpoint, published.directory, full, one.shapes, one.dtypes)
            stored[name] = full
        return stored

    def make(self, name: str) -> QuantizedMap:
        parts = {part: self._read(tensor) for part, tensor in self._stored[name].items()}
        try:
            return self._layouts[name].read(parts, self._sizes[name])
        except KernelError as error:
            raise ModelError("model", name, f"cannot be read: {error}") from error

    def _read(self, name: str) -> Tensor:
        tensor = self._checkpoint[name]
        # NaN among e4m3's codes is looked for where they are put in one form.
        wide = tensor.is_floating_point() and tensor.element_size() > 1
        return check_finite(name, tensor) if wide else tensor


def _dense(published: Published, checkpoint: Checkpoint) -> Unquantized:
    packed = {f"{module}.weight" for module in published.layouts}
    names = []
    for name, shape in published.config.parameter_shapes().items():
        if name not in packed:
            check_tensor(checkpoint, published.directory, name, [shape])
            names.append(name)
    return Unquantized(checkpoint, names)


def _check_nothing_else(published: Published, checkpoint: Checkpoint, used: set[str]) -> None:
    """A tensor left out would change what the model computes without a word."""
    for name in checkpoint:
        if name in used or name.endswith(_UNUSED):
            continue
        if is_tied_copy(name, published.config, checkpoint, published.directory):
            continue
        # GPTQ's tools gave every map a bias, of zeros where the model has none.
        floats = checkpoint.stored_dtype(name) in FLOATS
        if name.endswith(".bias") and floats and not bool(checkpoint[name].any()):
            continue
        raise ModelError(
            "model",
            str(published.directory),
            f"has the tensor {name!r}, which its config.json does not",
        )


def _parse(settings: Fields, config: ModelConfig) -> Format:
    head = config.head_name
    parsers: dict[str, Callable[[Fields], Format]] = {
        "gptq": partial(gptq.parse, head=head),
        "awq": partial(awq.parse, head=head),
        "compressed-tensors": compressed_tensors.parse,
        "fp8": fine_grained_fp8.parse,
        "modelopt": modelopt.parse,
        "auto-round": auto_round.parse,
        "intel/auto-round": auto_round.parse,  # as it called itself before 0.5
    }
    return parsers[settings.one_of("quant_method", *parsers)](settings)
