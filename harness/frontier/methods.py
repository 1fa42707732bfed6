"""The methods of a frontier: what was asked for, and the families that people's claims are about.

Which methods there are, and in what words, `engines/quantization/methods.py` says.
"""

from __future__ import annotations

from typing import Literal

from ...engines.cost.weights import SHORT_DTYPE, weight_format
from ...engines.errors import ConfigError, unknown_name
from ...engines.quantization.methods import METHODS, find_method

PLAIN = "none"
# What a frontier can be made of: methods that only checkpoints bring have no unquantised model.
FRONTIER_METHODS = (PLAIN, *(one.name for one in METHODS.values() if not one.published))
Family = Literal["unquantised", "int4", "int8", "fp8", "fp4"]
_FAMILY_OF_FORM: dict[str, Family] = {
    "int4": "int4",
    "int8": "int8",
    "w8a8": "int8",
    "fp8": "fp8",
    "fp4": "fp4",
}
# Two 4-bit methods that people set against each other.
RIVALS = ("awq", "gptq")


def family(method: str) -> Family:
    """What a method's weights are."""
    return "unquantised" if method == PLAIN else _FAMILY_OF_FORM[find_method(method).form]


def says(method: str) -> str:
    """A method in words."""
    return "unquantised" if method == PLAIN else find_method(method).says


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
        if name not in FRONTIER_METHODS:
            raise unknown_name("quant", name, FRONTIER_METHODS)
        if names.count(name) > 1:
            raise ConfigError(
                "quant", asked, f"each method once, not {name} {names.count(name)} times"
            )
    return names


def baseline_of(methods: tuple[str, ...]) -> str:
    """What ratios are taken to: the unquantised model, or without it the first method."""
    return PLAIN if PLAIN in methods else methods[0]
