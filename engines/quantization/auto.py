"""What `--quant` comes to for a model: a quantised checkpoint runs as what it is, and as nothing
else; a plain one unquantised unless a method is named."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from ..config import EngineConfig
from ..errors import ConfigError
from .checkpoints.read import Published, read_published
from .methods import find_method
from .scheme import bits_of


def settle_quant(engine: EngineConfig, published: Published | None) -> EngineConfig:
    """The engine with the method that is run. published: the checkpoint, if it is quantised.

    Raises ConfigError for another method, or another group size, than a checkpoint has.
    """
    if published is None:
        return replace(engine, quant="none") if engine.quant == "auto" else engine
    scheme = published.scheme
    if engine.quant not in ("auto", scheme.method):
        what = f"auto or {scheme.method}: the checkpoint is {published.format.name}"
        raise ConfigError("quant", engine.quant, what)
    bits = None if scheme.bits == bits_of(find_method(scheme.method)) else scheme.bits
    for name, asked, found in (
        ("group_size", engine.group_size, scheme.group_size),
        ("quant_bits", engine.quant_bits, scheme.bits),
    ):
        if asked is not None and asked != found:
            raise ConfigError(name, asked, f"unset: the checkpoint has {found or 'one a row'}")
    return replace(engine, quant=scheme.method, group_size=scheme.group_size, quant_bits=bits)


def settle_quant_of(engine: EngineConfig, directory: Path) -> EngineConfig:
    """`settle_quant` for the model of a directory."""
    return settle_quant(engine, read_published(directory))
