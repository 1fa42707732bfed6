"""Which methods a frontier has, by the engine's own list."""

from __future__ import annotations

import pytest
from llmbench.engines.config import QUANT_METHODS
from llmbench.engines.errors import ConfigError
from llmbench.harness.frontier.methods import (
    PLAIN,
    baseline_of,
    is_list,
    parse_methods,
    weight_bits,
    words,
)


def test_every_method_that_an_engine_computes_has_words_and_bits() -> None:
    labels = [words(method).label for method in QUANT_METHODS]
    assert not set(labels) & set(QUANT_METHODS), "a method is called by its name alone"
    assert len(set(labels)) == len(labels)
    for method in QUANT_METHODS:
        family = words(method).family
        bits = weight_bits(method, "bfloat16")
        assert family != "other"
        expected = {"unquantised": 16, "int4": 4, "fp4": 4, "int8": 8, "fp8": 8}[family]
        assert bits == expected


def test_a_list_keeps_its_order() -> None:
    assert is_list("a,b")
    assert not is_list("a")
    backwards = tuple(reversed(QUANT_METHODS))
    assert parse_methods(", ".join(backwards)) == backwards


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        (f"{PLAIN},{QUANT_METHODS[-1]}x", f"did you mean '{QUANT_METHODS[-1]}'?"),
        (f"{PLAIN},", "quant: '' is not allowed"),
        (f"{PLAIN},{PLAIN}", "each method once"),
    ],
)
def test_a_list_that_cannot_be_is_refused(asked: str, words: str) -> None:
    with pytest.raises(ConfigError) as error:
        parse_methods(asked)
    assert words in str(error.value)
    assert error.value.field == "quant"


def test_ratios_are_to_the_unquantised_model_or_the_first() -> None:
    assert baseline_of(("awq", PLAIN)) == PLAIN
    assert baseline_of(("awq", "int8")) == "awq"
