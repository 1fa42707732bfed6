"""What `--quant` comes to for a model: a quantised checkpoint runs as what it is, and as nothing
else; a plain one unquantised unless a method is named."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from ..config import EngineConfig
from ..cost.weights import WeightChoice
from ..errors import ConfigError
from ..models.describe import TRANSFORMERS
from .checkpoints.read import Published, read_published
from .methods import check_activations, find_method, head_method
from .scheme import head_of


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
    if head_of(published.config) not in published.layouts:
        return _unusual("none" if asked == "auto" else asked, published.scheme.method)
    if asked != "auto":
        allowed = "auto: the checkpoint's output projection is quantised"
        raise ConfigError("quant_head", asked, allowed)
    return "auto"


def _unusual(head: str, method: str) -> str:
    """auto where a method rounds the output projection like that anyway."""
    return "auto" if head == head_method(method) else head


def settle_quant_of(engine: EngineConfig, directory: Path) -> EngineConfig:
    """`settle_quant` for the model of a directory."""
    return settle_quant(engine, read_published(directory))


def weights_of(engine: EngineConfig, directory: Path) -> WeightChoice:
    """How the weights of a directory's model are stored, map by map where a checkpoint is quantised
    and read. engine: with its method settled."""
    read = engine.load_format != "dummy" and engine.model_impl != TRANSFORMERS
    return WeightChoice.of(engine, read_published(directory) if read else None)
