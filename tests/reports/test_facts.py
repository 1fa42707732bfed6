"""What a run is called in a report."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from llmbench.reports.facts import NOT_SAID, axes, engine_name, hardware
from llmbench.reports.model import Run

from .conftest import make_config, make_run


@pytest.mark.parametrize(
    ("changes", "name"),
    [
        ({}, "paged + awq"),
        ({"quant": "none"}, "paged, unquantised"),
        ({"quant": "none", "kv_dtype": "auto"}, "paged, unquantised"),
        ({"quant": "none", "kv_dtype": "int8"}, "paged + int8 KV"),
        ({"kv_dtype": "fp8"}, "paged + awq + fp8 KV"),
        (
            {"quant_activations": "int8", "quant_head": "w8a8", "kv_dtype": "fp8"},
            "paged + awq+a8 + w8a8 head + fp8 KV",
        ),
    ],
)
def test_the_name_says_what_is_quantised(changes: dict[str, Any], name: str) -> None:
    assert engine_name(_run(**changes)) == name


def test_the_parts_say_what_keys_and_values_are_stored_as() -> None:
    assert " · int8 keys and values · awq weights" in axes(_run(kv_dtype="int8"))
    assert "keys and values" not in axes(_run(kv_dtype="auto"))


def test_the_parts_say_that_activations_are_rounded() -> None:
    assert ", groups of 64 · 8-bit activations" in axes(_run(quant_activations="int8"))
    assert "activations" not in axes(_run())


def test_the_parts_say_who_computes_the_model_if_not_our_own_code() -> None:
    assert axes(_run(model_impl="transformers")).endswith(" · computed by transformers")
    assert "computed by" not in axes(_run(model_impl="native"))


def test_what_a_file_does_not_say_is_said_to_be_unsaid() -> None:
    kept = dict.fromkeys(("batching", "admission", "kv", "quant"), NOT_SAID)
    run = _run(engine="guidellm", dtype=None, device=None, **kept)
    assert engine_name(run) == "guidellm"
    assert axes(run) == "batching, admission, KV cache and weights: not said"
    assert hardware(run) == "on hardware that is not said"


def _run(**changes: Any) -> Run:
    run = make_run()
    return replace(run, result={**run.result, "config": make_config(**changes)})
