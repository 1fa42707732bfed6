"""Which methods a frontier has, by the engine's own list."""

from __future__ import annotations

import pytest
from llmbench.engines.errors import ConfigError
from llmbench.harness.frontier.methods import (
    FRONTIER_METHODS,
    PLAIN,
    baseline_of,
    family,
    is_list,
    parse_methods,
    says,
    weight_bits,
)


def test_every_method_has_words_and_the_bits_of_its_family() -> None:
    assert len({says(method) for method in FRONTIER_METHODS}) == len(FRONTIER_METHODS)
    for method in FRONTIER_METHODS:
        bits = {"unquantised": 16, "int4": 4, "fp4": 4, "int8": 8, "fp8": 8}[family(method)]
        assert weight_bits(method, "bfloat16") == bits
    assert not {"auto", "w4a16"} & set(FRONTIER_METHODS)


def test_a_method_with_a_head_of_its_own_is_of_the_methods_family() -> None:
    names = ("none", "none+int8-head", "awq", "awq+int8-head", "w8a8+none-head")
    assert parse_methods(",".join(names)) == names
    assert [family(name) for name in names] == ["unquantised"] * 2 + ["int4"] * 2 + ["int8"]
    assert weight_bits("awq+int8-head", "bfloat16") == 4
    assert says("awq+int8-head") == f"{says('awq')}; the output projection is rounded to int8"
    assert says("w8a8+none-head").endswith("; the output projection is not rounded")
    for asked in ("awq+int8", "awq+int4-head", "awq+auto-head", "awq+", "awq+-head"):
        with pytest.raises(ConfigError, match=r"awq\+a8 or awq\+none-head or awq\+int8-head"):
            parse_methods(f"none,{asked}")
    with pytest.raises(ConfigError, match="quant: 'wq' is not allowed"):
        parse_methods("none,wq+int8-head")


def test_activations_are_said_and_belong_to_four_bits() -> None:
    assert parse_methods("none,awq+a8,gptq+a8+int8-head") == ("none", "awq+a8", "gptq+a8+int8-head")
    with pytest.raises(ConfigError, match="each method once"):
        parse_methods("none,awq+a8+int8-head,awq+int8-head+a8")
    assert (family("awq+a8"), weight_bits("awq+a8", "bfloat16")) == ("int4", 4)
    assert says("awq+a8") == f"{says('awq')}; 8-bit activations"
    assert says("awq+a8+int8-head").endswith(
        "activations; the output projection is rounded to int8"
    )
    for method in ("none", "fp8", "w8a8"):
        with pytest.raises(ConfigError, match=rf"quant: '{method}\+a8' .* 4-bit integer weights"):
            parse_methods(f"awq,{method}+a8")


def test_a_list_keeps_its_order() -> None:
    assert is_list("a,b")
    assert not is_list("a")
    backwards = tuple(reversed(FRONTIER_METHODS))
    assert parse_methods(", ".join(backwards)) == backwards


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        (f"{PLAIN},{FRONTIER_METHODS[-1]}x", f"did you mean '{FRONTIER_METHODS[-1]}'?"),
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
