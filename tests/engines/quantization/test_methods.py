"""What stands of a form of weights in one place is what the others go by."""

from __future__ import annotations

from typing import get_args

import pytest
from llmbench.engines.cost.weights import weight_format
from llmbench.engines.quantization.methods import FORMS, METHODS, op_of
from llmbench.engines.quantization.quantized import PACKED, PackedWeight
from llmbench.kernels.registry import OPS


def test_each_form_has_operations_and_is_packed_in_a_type_of_its_own() -> None:
    ops = {op for form in FORMS.values() for op in (form.op, form.eight_bit_op) if op}
    assert ops == {op for op in OPS if op.endswith("_linear")}
    assert list(PACKED) == list(FORMS)
    assert {type_ for type_, _ in PACKED.values()} == set(get_args(PackedWeight))
    assert {method.form for method in METHODS.values()} == set(FORMS)


@pytest.mark.parametrize("method", METHODS)
def test_bits_are_those_that_are_paid_for(method: str) -> None:
    assert METHODS[method].bits == weight_format(method, "bf16").bits


def test_activations_are_rounded_on_request_where_they_meet_four_bit_integers() -> None:
    """W4A8 of QServe (arXiv 2405.04532); W8A8 and FP8 have activations of 8 bits by themselves."""
    asked = {form: op_of(form, "int8") for form in FORMS}
    assert asked == {form: op_of(form) for form in FORMS} | {"int4": "w4a8_linear"}
