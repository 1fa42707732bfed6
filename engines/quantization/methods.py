"""Every quantisation method by name, and what is true of it. How it makes its weights stands in a
file of its own, which `rounding.py` or, of a calibrated one, `quantize.py` names; what they cost in
`cost/weights.py`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from ..errors import ConfigError, unknown_name


@dataclass(frozen=True)
class Form:
    """What weights are once they are quantised; what packs it stands in PACKED of `quantized.py`.

    op: the operation that multiplies them. bits: of a weight, when nothing else is said.
    eight_bit_op: the one that first rounds activations to eight bits; empty: they are not rounded
    on request.
    """

    name: str
    op: str
    bits: int
    eight_bit_op: str = ""


_FORMS = (
    Form("int4", "w4a16_linear", bits=4, eight_bit_op="w4a8_linear"),
    Form("int8", "w8a16_linear", bits=8),
    Form("w8a8", "w8a8_linear", bits=8),
    Form("fp8", "fp8_linear", bits=8),
    Form("fp4", "fp4_linear", bits=4),
)
FORMS = {form.name: form for form in _FORMS}


@dataclass(frozen=True)
class Method:
    """form: of its weights, a key of FORMS. grouped: inputs share scales in groups of a size
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

    @property
    def bits(self) -> int:
        """Of a weight, when nothing else is said."""
        return FORMS[self.form].bits


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
# What may be asked of activations; auto: as the method has them.
ACTIVATIONS = ("auto", "int8")
_EIGHT_BIT_ACTIVATIONS = "a8"


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


@dataclass(frozen=True)
class QuantParts:
    """What `awq+a8+int8-head` says: the method, activations (one of ACTIVATIONS) and how the output
    projection is rounded (one of HEADS)."""

    method: str
    activations: str = "auto"
    head: str = "auto"


def split_quant(quant: str) -> QuantParts:
    """Without `a8` or a head, either is auto. Raises ConfigError for another word behind a plus."""
    method, *words = quant.split("+")
    parts = QuantParts(method)
    for word in words:
        head = word.removesuffix("-head")
        if word == _EIGHT_BIT_ACTIVATIONS and parts.activations == "auto":
            parts = replace(parts, activations="int8")
        elif head in HEADS[1:] and head != word and parts.head == "auto":
            parts = replace(parts, head=head)
        else:
            heads = (f"{method}+{one}-head" for one in HEADS[1:])
            allowed = " or ".join((method, f"{method}+{_EIGHT_BIT_ACTIVATIONS}", *heads))
            raise ConfigError("quant", quant, f"{allowed}, or both")
    return parts


def quant_of(settings: Mapping[str, Any]) -> str:
    """What an engine's settings, all of them, come to, as one writes it."""
    names = ("quant", "quant_activations", "quant_head")
    return join_quant(QuantParts(*(settings[name] for name in names)))


def join_quant(parts: QuantParts) -> str:
    """As `split_quant` reads it."""
    activations = "" if parts.activations == "auto" else f"+{_EIGHT_BIT_ACTIVATIONS}"
    head = "" if parts.head == "auto" else f"+{parts.head}-head"
    return f"{parts.method}{activations}{head}"


def op_of(form: str, activations: str = "auto") -> str:
    """The operation that multiplies weights of a form. activations: one of ACTIVATIONS; what can
    only be multiplied as it is stays so."""
    found = FORMS[form]
    return found.eight_bit_op if activations == "int8" and found.eight_bit_op else found.op


def check_activations(method: str, bits: int | None, asked: str) -> None:
    """bits: of a weight, where they are not the method's usual. Raises ConfigError where a method's
    activations cannot be rounded."""
    if asked == "auto":
        return
    takes = method != "none" and FORMS[find_method(method).form].eight_bit_op
    if not takes or bits not in (None, 4):
        allowed = f"{method}: only what meets 4-bit integer weights is rounded on request"
        raise ConfigError("quant", join_quant(QuantParts(method, asked)), allowed)


def linear_ops(method: str, head: str = "auto", activations: str = "auto") -> tuple[str, ...]:
    """The operations that the linear maps of a model are made of, the output projection's first.
    head: one of HEADS, activations: of ACTIVATIONS."""
    ops = _op(head_method(method, head), "auto"), _op(method, activations)
    return tuple(dict.fromkeys(ops))


def _op(method: str, activations: str) -> str:
    return "linear" if method == "none" else op_of(find_method(method).form, activations)
