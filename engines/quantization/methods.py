"""Every quantisation method by name, and what is true of it. How it makes its weights stands in a
file of its own, which `rounding.py` or, of a calibrated one, `quantize.py` names; what they cost in
`cost/weights.py`."""

from __future__ import annotations

from dataclasses import dataclass

from ..errors import ConfigError, unknown_name

# The operation that multiplies weights of each form.
OP_OF_FORM = {
    "int4": "w4a16_linear",
    "int8": "w8a16_linear",
    "w8a8": "w8a8_linear",
    "fp8": "fp8_linear",
    "fp4": "fp4_linear",
}


@dataclass(frozen=True)
class Method:
    """form: of its weights, a key of OP_OF_FORM. grouped: inputs share scales in groups of a size
    that can be asked for. calibrated: it looks at activations, so it takes long and is done once.
    head: how the output projection is rounded when weights are loaded; `none`: it is not.
    asymmetric: its groups have zero points when nothing is said, as its publication and reference
    code have them. eight_bits: its 4-bit weights may be asked for in 8. baseline: of a calibrated
    one, the method that makes its form without looking at anything.
    published: only checkpoints have it; nothing is quantised by it here.
    says: what it is, for a help text.
    """

    name: str
    form: str
    says: str
    grouped: bool = False
    calibrated: bool = False
    head: str = "none"
    asymmetric: bool = False
    eight_bits: bool = False
    baseline: str = ""
    published: bool = False


_METHODS = (
    Method(
        "rtn",
        "int4",
        "4-bit weights, rounded to nearest",
        grouped=True,
        asymmetric=True,
        eight_bits=True,
    ),
    Method(
        "gptq",
        "int4",
        "4-bit weights, each column making up for the last's error",
        grouped=True,
        calibrated=True,
        eight_bits=True,
        baseline="rtn",
    ),
    Method(
        "awq",
        "int4",
        "4-bit weights, scaled by what activations show",
        grouped=True,
        calibrated=True,
        asymmetric=True,
        baseline="rtn",
    ),
    Method("int8", "int8", "8-bit weights", head="int8"),
    Method("w8a8", "w8a8", "8-bit weights and activations", head="w8a8"),
    Method(
        "smoothquant",
        "w8a8",
        "w8a8 after outliers were moved into the weights",
        calibrated=True,
        head="w8a8",
        baseline="w8a8",
    ),
    Method("fp8", "fp8", "e4m3 weights and activations, a scale a row and a token"),
    Method(
        "fp8-static",
        "fp8",
        "a scale a tensor, that of activations calibrated",
        calibrated=True,
        baseline="fp8",
    ),
    Method("fp8-block", "fp8", "a scale for 128 x 128 weights, and for 128 of a token"),
    Method("w4a16", "int4", "4-bit weights that a checkpoint brings", grouped=True, published=True),
    Method("nvfp4", "fp4", "e2m1 weights, an e4m3 scale for 16"),
    Method("mxfp4", "fp4", "e2m1 weights, a power of two for 32"),
)
METHODS = {method.name: method for method in _METHODS}

# What may be asked of the output projection, whatever the method; auto: as the method has it.
HEADS = ("auto", "none", "int8", "w8a8")


def find_method(name: str) -> Method:
    """Raises ConfigError for an unknown name."""
    if name not in METHODS:
        raise unknown_name("quant", name, METHODS)
    return METHODS[name]


def find_quantiser(name: str) -> Method:
    """A method that weights can be quantised by. Raises ConfigError for another name."""
    known = [method.name for method in _METHODS if not method.published]
    if name in METHODS and name not in known:
        raise ConfigError("method", name, "a method that quantises")
    if name not in known:
        raise unknown_name("method", name, known)
    return METHODS[name]


def head_method(method: str, asked: str = "auto") -> str:
    """How the output projection is rounded: as asked (one of HEADS), or as the method has it."""
    if asked != "auto":
        return asked
    return "none" if method == "none" else find_method(method).head


def split_head(quant: str) -> tuple[str, str]:
    """A method and how the output projection is rounded, as one writes both: `awq+int8-head` is awq
    and int8; without a head it is auto. Raises ConfigError for another word behind the plus."""
    method, plus, asked = quant.partition("+")
    if not plus:
        return quant, "auto"
    head = asked.removesuffix("-head")
    if head not in HEADS[1:] or head == asked:
        allowed = " or ".join((method, *(f"{method}+{one}-head" for one in HEADS[1:])))
        raise ConfigError("quant", quant, allowed)
    return method, head


def linear_ops(method: str, head: str = "auto") -> tuple[str, ...]:
    """The operations that the linear maps of a model are made of, the output projection's first.
    head: a value of HEADS."""
    return tuple(dict.fromkeys(_op(one) for one in (head_method(method, head), method)))


def _op(method: str) -> str:
    return "linear" if method == "none" else OP_OF_FORM[find_method(method).form]
