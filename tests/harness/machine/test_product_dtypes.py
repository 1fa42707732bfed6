"""What each kind of product is computed in, by method and device."""

from __future__ import annotations

import pytest
from llmbench.engines.config import engine_config
from llmbench.engines.cost.weights import WeightChoice
from llmbench.engines.quantization.methods import split_quant
from llmbench.engines.resolved import ResolvedEngine
from llmbench.harness.machine.product_dtypes import product_dtypes

from ...engines.resolved import resolved


def engine(quant: str, device: str = "cpu") -> ResolvedEngine:
    asked = split_quant(quant)
    return resolved(
        engine_config("paged"),
        quant=asked.method,
        quant_activations=asked.activations,
        quant_head=asked.head,
        device=device,
    )


@pytest.mark.parametrize(
    ("quant", "emulated", "linear", "head"),
    [
        ("none", False, "bf16", "bf16"),
        ("awq", False, "bf16", "bf16"),
        ("int8", False, "bf16", "bf16"),
        ("awq+int8-head", False, "bf16", "bf16"),
        ("w8a8", False, "int8", "int8"),
        ("w8a8+none-head", False, "int8", "bf16"),
        ("awq+a8", False, "w4a8", "bf16"),
        ("awq+a8+w8a8-head", False, "w4a8", "int8"),
        ("awq+a8", True, "bf16", "bf16"),  # through PyTorch: no integers are multiplied
        ("fp8", False, "fp8", "bf16"),
        ("fp8", True, "bf16", "bf16"),
        ("fp8+w8a8-head", True, "bf16", "int8"),
    ],
)
def test_every_kind_of_product_has_its_own(
    quant: str, emulated: bool, linear: str, head: str
) -> None:
    asked = engine(quant)
    found = product_dtypes(asked, WeightChoice.of(asked), emulated=emulated)
    assert found == (linear, head, "bf16")


def test_a_gpu_multiplies_four_bit_codes_as_bytes() -> None:
    asked = engine("awq+a8", "cuda")
    assert product_dtypes(asked, WeightChoice.of(asked), emulated=False).linear == "int8"
