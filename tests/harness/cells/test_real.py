"""Cells on the real model: what is loaded anew, and what is not."""

from __future__ import annotations

from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from llmbench.engines.config import EngineConfig, engine_config
from llmbench.harness.cells import real
from llmbench.harness.cells.identity import place_of
from llmbench.harness.cells.real import RealCells
from llmbench.harness.cells.runner import store_measured
from llmbench.harness.config import LoadConfig, RunConfig
from llmbench.harness.run.experiment import Prepared
from llmbench.harness.storage.store import StoreError

from ..ablation.test_run import Told

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
        {"quant": "awq+a8"},
        {"quant": "awq+w8a8-head"},
    ):
        runner.measure(overrides, seed=0)

    weights = [loaded for _, loaded in measured]
    assert weights[0] is weights[1]
    assert weights[2] is weights[3]
    assert weights[1] is not weights[2]
    assert weights[4] is not weights[5]
    assert weights[5] is weights[6]
    assert len({id(one) for one in weights[6:]}) == 4
    engines = [(prepared.engine.kv, prepared.engine.quant) for prepared, _ in measured]
    assert engines[2] == ("contiguous", "awq")


def test_no_setting_that_decides_weights_is_taken_for_one_around_them() -> None:
    """The other way round costs a load, and this one a wrong number."""
    around = real._AROUND_WEIGHTS
    every = {one.name for one in fields(EngineConfig)}
    assert around < every
    assert every - around == {
        *(
            "quant",
            "group_size",
            "quant_bits",
            "quant_activations",
            "quant_head",
            "dtype",
            "device",
            "model_impl",
        ),
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


TINY = RunConfig(
    "bundled",
    engine_config("inflight", device="cpu", max_model_len=128, kv_memory_bytes=2**22),
    LoadConfig(num_requests=2, max_input_len=16, max_output_len=2),
    warmup_requests=0,
    quality_tokens=0,
    threads=1,
)


def test_a_run_says_all_that_its_identity_asks_of_it(tmp_path: Path) -> None:
    """A setting that is stored and not asked for is one that two runs of a mean may differ in."""
    cells = RealCells(replace(TINY, price_per_hour=2.0), Told())
    identity, measured = cells.identify({}, 3), cells.measure({}, 3)
    config = measured.result.config
    # The bundled model is its own reference: the run names none, and no other may.
    stored = {"quality_reference": None, **config}
    assert {name: stored[name] for name in identity.settings} == identity.settings
    assert set(config) - set(identity.settings) == {*identity.load, "command"}
    assert config["threads"] == 1

    place = place_of(tmp_path / "run", identity)
    assert place.run is None
    store_measured(place.directory, measured, place.stood)
    assert place_of(tmp_path / "run", identity).run is not None
    for changed, said in (
        ({"price_per_hour": 3.0}, "price_per_hour is 2.0 there, 3.0 here"),
        ({"price_per_hour": None}, "price_per_hour is 2.0 there, not set here"),
    ):
        other = RealCells(replace(TINY, **changed), Told()).identify({}, 3)
        with pytest.raises(StoreError, match=said):
            place_of(tmp_path / "run", other)


def test_threads_are_a_setting_asked_for_or_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(torch, "get_num_threads", lambda: 7)
    alone = RealCells(replace(TINY, threads=1), Told()).identify({}, 0)
    default = RealCells(replace(TINY, threads=None), Told()).identify({}, 0)
    assert (alone.settings["threads"], default.settings["threads"]) == (1, 7)
