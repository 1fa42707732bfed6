"""Cells on the real model: what is loaded anew, and what is not."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

import pytest
from llmbench.engines.config import EngineConfig, engine_config
from llmbench.harness.ablation import real
from llmbench.harness.ablation.real import RealCells
from llmbench.harness.config import LoadConfig, RunConfig
from llmbench.harness.experiment import Prepared

from .test_run import Told

SETTINGS = RunConfig("bundled", engine_config("paged"), LoadConfig(num_requests=4))


@pytest.fixture
def measured(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Prepared, Any]]:
    """What would have been served, with which weights; nothing is loaded or served."""
    seen: list[tuple[Prepared, Any]] = []
    monkeypatch.setattr(real, "load", lambda *_: object())
    monkeypatch.setattr(
        real, "measure", lambda prepared, _, loaded: seen.append((prepared, loaded))
    )
    return seen


def test_weights_are_loaded_when_they_differ_and_only_then(
    measured: list[tuple[Prepared, Any]],
) -> None:
    runner = RealCells(SETTINGS, Told())
    for overrides in (
        {"kv": "paged", "quant": "none"},
        {"kv": "contiguous", "quant": "none"},
        {"kv": "contiguous", "quant": "awq"},
        {"kv": "paged", "quant": "awq"},
        {"model_impl": "native", "quant": "none"},
        {"model_impl": "transformers", "quant": "none"},
        {"model_impl": "transformers", "kv_dtype": "int8"},
        {"quant": "awq+int8-head"},
        {"quant": "awq+w8a8-head"},
    ):
        runner.measure(overrides, seed=0)

    weights = [loaded for _, loaded in measured]
    assert weights[0] is weights[1]
    assert weights[2] is weights[3]
    assert weights[1] is not weights[2]
    assert weights[4] is not weights[5]
    assert weights[5] is weights[6]
    assert len({id(one) for one in weights[6:]}) == 3
    engines = [(prepared.engine.kv, prepared.engine.quant) for prepared, _ in measured]
    assert engines[2] == ("contiguous", "awq")


def test_no_setting_that_decides_weights_is_taken_for_one_around_them() -> None:
    """The other way round costs a load, and this one a wrong number."""
    around = real._AROUND_WEIGHTS
    every = {one.name for one in fields(EngineConfig)}
    assert around < every
    assert every - around == {
        *("quant", "group_size", "quant_bits", "quant_head", "dtype", "device", "model_impl"),
        *("force_kernels", "load_format", "max_model_len"),
    }


def test_a_cell_is_prepared_once_and_shares_its_requests(
    measured: list[tuple[Prepared, Any]],
) -> None:
    runner = RealCells(SETTINGS, Told())
    first = runner.identify({"kv": "paged"}, seed=0)
    second = runner.identify({"kv": "contiguous"}, seed=0)
    other = runner.identify({"kv": "paged"}, seed=1)
    runner.measure({"kv": "paged"}, seed=0)
    runner.measure({"kv": "contiguous"}, seed=0)

    assert first.fingerprint == second.fingerprint != other.fingerprint
    assert (first.settings["kv"], second.settings["kv"]) == ("paged", "contiguous")
    assert measured[0][0].plan is measured[1][0].plan
    assert first.settings["kv_memory_bytes"] == measured[0][0].engine.kv_memory_bytes
