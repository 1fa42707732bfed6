"""The methods of a frontier: what was asked for, and what each is called in words.

Which methods there are is `QUANT_METHODS`; how many bits a weight has, `engines/cost/weights.py`.
This file holds only the words, and the families that people's claims are about.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from ...engines.config import QUANT_METHODS
from ...engines.cost.weights import SHORT_DTYPE, weight_format
from ...engines.errors import ConfigError, unknown_name

Family = Literal["unquantised", "int4", "int8", "fp8", "fp4", "other"]

PLAIN = "none"


@dataclass(frozen=True)
class Words:
    """label: of a method, beside its name. family: what its weights are, for claims about all of
    a kind."""

    label: str
    family: Family


WORDS = {
    PLAIN: Words("unquantised", "unquantised"),
    "rtn": Words("4-bit integers, rounded to nearest", "int4"),
    "gptq": Words("4-bit integers, GPTQ", "int4"),
    "awq": Words("4-bit integers, AWQ", "int4"),
    "int8": Words("8-bit integers", "int8"),
    "w8a8": Words("8-bit integers, activations too", "int8"),
    "smoothquant": Words("8-bit integers, activations too, smoothed", "int8"),
    "fp8": Words("8-bit floats", "fp8"),
    "nvfp4": Words("4-bit floats, groups of 16", "fp4"),
    "mxfp4": Words("4-bit floats, groups of 32", "fp4"),
}
# Two 4-bit methods that people set against each other.
RIVALS = ("awq", "gptq")


def words(method: str) -> Words:
    """A method that has no words yet is called by its name."""
    return WORDS.get(method, Words(method, "other"))


def weight_bits(method: str, dtype: str) -> float:
    """Bits of one weight of the linear maps, scales left out. dtype: the model's, a long name."""
    return weight_format(method, SHORT_DTYPE[dtype]).bits


def is_list(asked: str) -> bool:
    """Whether `--quant` names several methods."""
    return "," in asked


def parse_methods(asked: str) -> tuple[str, ...]:
    """`none,awq,fp8` as names, in that order. Raises ConfigError, before anything runs, for one
    that no engine computes and for one that is named twice."""
    names = tuple(name.strip() for name in asked.split(","))
    for name in names:
        if name not in QUANT_METHODS:
            raise unknown_name("quant", name, QUANT_METHODS)
        if names.count(name) > 1:
            raise ConfigError(
                "quant", asked, f"each method once, not {name} {names.count(name)} times"
            )
    return names


def baseline_of(methods: tuple[str, ...]) -> str:
    """What ratios are taken to: the unquantised model, or without it the first method."""
    return PLAIN if PLAIN in methods else methods[0]
