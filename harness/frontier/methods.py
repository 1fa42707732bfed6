"""The methods of a frontier: what was asked for, and the families that people's claims are about.

Which methods there are, and in what words, `engines/quantization/methods.py` says.
"""

from __future__ import annotations

from typing import Literal

from ...engines.cost.weights import SHORT_DTYPE, weight_format
from ...engines.errors import ConfigError, unknown_name
from ...engines.quantization.methods import (
    METHODS,
    check_activations,
    find_method,
    join_quant,
    split_quant,
)

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


def family(name: str) -> Family:
    """What the layers' weights are."""
    method = split_quant(name).method
    return "unquantised" if method == PLAIN else _FAMILY_OF_FORM[find_method(method).form]


def says(name: str) -> str:
    """A method in words."""
    parts = split_quant(name)
    said = ["unquantised" if parts.method == PLAIN else find_method(parts.method).says]
    if parts.activations == "int8":
        said.append("8-bit activations")
    if parts.head != "auto":
        rounded = "is not rounded" if parts.head == PLAIN else f"is rounded to {parts.head}"
        said.append(f"the output projection {rounded}")
    return "; ".join(said)


def weight_bits(name: str, dtype: str) -> float:
    """Bits of one weight of the layers' maps, scales left out. dtype: the model's, a long name."""
    return weight_format(split_quant(name).method, SHORT_DTYPE[dtype]).bits


def is_list(asked: str) -> bool:
    """Whether `--quant` names several methods."""
    return "," in asked


def parse_methods(asked: str) -> tuple[str, ...]:
    """`none,awq,awq+int8-head` as names, in that order, each as `join_quant` has it. Raises
    ConfigError, before anything runs, for one that no engine computes or that is named twice."""
    names = tuple(join_quant(split_quant(name.strip())) for name in asked.split(","))
    for name in names:
        parts = split_quant(name)
        method = parts.method
        if method not in FRONTIER_METHODS:
            raise unknown_name("quant", method, FRONTIER_METHODS)
        check_activations(method, None, parts.activations)
        if names.count(name) > 1:
            raise ConfigError(
                "quant", asked, f"each method once, not {name} {names.count(name)} times"
            )
    return names


def baseline_of(methods: tuple[str, ...]) -> str:
    """What ratios are taken to: the unquantised model, or without it the first method."""
    return PLAIN if PLAIN in methods else methods[0]
