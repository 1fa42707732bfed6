"""What `--quant` comes to for a model: a quantised checkpoint runs as what it is, and as nothing
else; a plain one unquantised unless a method is named."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from ..config import EngineConfig
from ..cost.weights import WeightChoice
from ..errors import ConfigError
from ..models.describe import TRANSFORMERS
from .checkpoints.compressed_tensors import layout_for
from .checkpoints.fp8_scaled import Fp8Layout
from .checkpoints.layout import Layout
from .checkpoints.read import Published, read_published
from .methods import check_activations, find_method, head_method
from .scheme import quantized_maps


def settle_quant(engine: EngineConfig, published: Published | None) -> EngineConfig:
    """The engine with the method that is run; `quant_head` says something only where it is not what
    the method has. published: the checkpoint, if it is quantised.

    Raises ConfigError for another method or group size than a checkpoint has, for rounding an
    output projection that it brings quantised, and activations that cannot be rounded.
    """
    if published is None:
        quant = "none" if engine.quant == "auto" else engine.quant
        check_activations(quant, engine.quant_bits, engine.quant_activations)
        return replace(engine, quant=quant, quant_head=_unusual(engine.quant_head, quant))
    scheme = published.scheme
    if engine.quant not in ("auto", scheme.method):
        what = f"auto or {scheme.method}: the checkpoint is {published.format.name}"
        raise ConfigError("quant", engine.quant, what)
    bits = None if scheme.bits == find_method(scheme.method).bits else scheme.bits
    for name, asked, found in (
        ("group_size", engine.group_size, scheme.group_size),
        ("quant_bits", engine.quant_bits, scheme.bits),
    ):
        if asked is not None and asked != found:
            raise ConfigError(name, asked, f"unset: the checkpoint has {found or 'one a row'}")
    check_activations(scheme.method, bits, engine.quant_activations)
    return replace(
        engine,
        quant=scheme.method,
        group_size=scheme.group_size,
        quant_bits=bits,
        quant_head=_head(engine.quant_head, published),
    )


def _head(asked: str, published: Published) -> str:
    """A checkpoint's output projection is as it is stored unless it is asked to be rounded."""
    if published.config.head_name not in published.layouts:
        return _unusual("none" if asked == "auto" else asked, published.scheme.method)
    if asked != "auto":
        allowed = "auto: the checkpoint's output projection is quantised"
        raise ConfigError("quant_head", asked, allowed)
    return "auto"


def _unusual(head: str, method: str) -> str:
    """auto where a method rounds the output projection like that anyway."""
    return "auto" if head == head_method(method) else head


def published_for(engine: EngineConfig, directory: Path) -> Published | None:
    """The quantised checkpoint of a directory that an engine's weights are like, if it is one:
    those that are read, and those that are drawn at random where no method is named.

    Raises ConfigError where such weights cannot be drawn.
    """
    drawn = engine.load_format == "dummy"
    if drawn and engine.quant != "auto":
        return None
    published = read_published(directory)
    if drawn and published is not None and (why := _why_not_drawn(published)):
        raise ConfigError("load_format", "dummy", f"auto, or a method with --quant: {why}")
    return published


def _why_not_drawn(published: Published) -> str:
    """What random weights (`dummy.py`) cannot be of a checkpoint; empty if they can be like it."""
    scheme, maps = published.scheme, quantized_maps(published.config)
    if published.config.head_name in published.layouts:
        return "the checkpoint's output projection is quantised"
    if {layout.scheme for layout in published.layouts.values()} != {scheme}:
        return "the checkpoint's maps are quantised in several ways"
    if len(published.layouts) < len(maps):
        return "some of the checkpoint's maps are not quantised"
    method = find_method(scheme.method)
    if scheme.bits != method.bits:
        return f"none are drawn of {scheme.method} in {scheme.bits} bits, as the checkpoint is"
    if method.grouped and scheme.group_size is None:
        return "the checkpoint has a scale for a row, and those that are drawn one for a group"
    if not method.grouped and scheme.group_size is not None:
        return "the checkpoint has a scale for a group, and those that are drawn one for a row"
    if scheme.act_order:
        return "the checkpoint's inputs have an order of their own, and those that are drawn none"
    return next(filter(None, map(_scaled_otherwise, published.layouts.values())), "")


def _scaled_otherwise(layout: Layout) -> str:
    """What shares a scale in a map of FP8 and not in one that is drawn; empty if they are alike."""
    if not isinstance(layout, Fp8Layout):
        return ""
    drawn = layout_for(layout.scheme)[1]
    assert isinstance(drawn, Fp8Layout)
    found, expected = (_sharing(one) for one in (layout, drawn))
    if found == expected:
        return ""
    return (
        f"the checkpoint has a scale for a {found}, and those that are drawn one for a {expected}"
    )


def _sharing(layout: Fp8Layout) -> str:
    """The weights of a scale."""
    rows, columns = layout.block
    shared = {"tensor": "tensor", "channel": "row", "block": f"block of {rows} x {columns}"}
    return shared[layout.strategy]


def settle_quant_of(engine: EngineConfig, directory: Path) -> EngineConfig:
    """`settle_quant` for the model of a directory."""
    return settle_quant(engine, published_for(engine, directory))


def weights_of(engine: EngineConfig, directory: Path) -> WeightChoice:
    """How the weights of a directory's model are stored, map by map where a checkpoint is quantised
    and read. engine: with its method settled."""
    read = engine.load_format != "dummy" and engine.model_impl != TRANSFORMERS
    return WeightChoice.of(engine, read_published(directory) if read else None)
