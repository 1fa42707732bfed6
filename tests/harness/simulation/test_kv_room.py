"""A simulated engine has the KV blocks that the same engine gives itself on such a GPU."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest
import torch
from llmbench.engines.config import EngineConfig, engine_config
from llmbench.engines.cost.hardware import resolve_hardware
from llmbench.engines.cost.weights import WeightChoice
from llmbench.engines.errors import ConfigError
from llmbench.engines.models.catalogue import resolve_dummy
from llmbench.engines.models.describe import describe_model
from llmbench.engines.resolve import _default_kv_memory
from llmbench.engines.resolved import ResolvedEngine
from llmbench.engines.strategy import build_strategy
from llmbench.harness.config import LoadConfig, RunConfig
from llmbench.harness.simulation.simulate import PreparedSimulation, prepare_simulation
from llmbench.harness.simulation.simulated_machine import Machine

MODEL = "llama-3.1-8b"
H100 = Machine("h100")


def simulated(
    preset: str, machine: Machine = H100, model: str = MODEL, **settings: Any
) -> PreparedSimulation:
    load = LoadConfig(workload="azure-conv", num_requests=4, request_rate=50.0)
    return prepare_simulation(RunConfig(model, engine_config(preset, **settings), load), machine)


def real_units(preset: str, settings: Mapping[str, Any], patch: pytest.MonkeyPatch) -> int:
    """Of the engine that runs, on a GPU that has an H100's memory free and captures graphs."""
    free = int(resolve_hardware("h100").memory_bytes)
    patch.setattr(torch.cuda, "mem_get_info", lambda _device: (free, free))
    described = describe_model(resolve_dummy(MODEL).directory, "native")
    asked: EngineConfig = engine_config(preset, **settings)
    engine = replace(
        asked,
        device="cuda",
        dtype="bfloat16" if asked.dtype == "auto" else asked.dtype,
        quant="none" if asked.quant == "auto" else asked.quant,
        cuda_graphs="on" if asked.cuda_graphs == "auto" else asked.cuda_graphs,
        model_impl="native",
        async_scheduling=True,
    )
    limits = engine.limits_for(described.config.max_position_embeddings)
    weights = WeightChoice.of(engine)
    room = _default_kv_memory(torch.device("cuda"), described, engine, weights, limits)
    resolved = ResolvedEngine.of(engine, limits=limits, kv_memory_bytes=room)
    each = described.config.kv_bytes_per_token(engine.dtype, engine.kv_dtype)
    return build_strategy(resolved, each).kv.total_units


@pytest.mark.parametrize("preset", ["paged", "vllm-v1", "trtllm", "inflight"])
@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"max_num_batched_tokens": 2048, "max_model_len": 2048},
        {"max_num_seqs": 1024, "max_num_batched_tokens": 8192, "max_model_len": 8192},
        # Widened for as long as a product takes: the layers' weights, and the head's.
        {"quant": "awq"},
        {"quant": "int8", "max_num_seqs": 512},
        {"quant": "gptq", "quant_bits": 8},
        {"quant": "awq", "quant_activations": "int8", "quant_head": "int8"},
        {"dtype": "float32", "max_model_len": 8192},
        {"cuda_graphs": "off"},
        {"kv_dtype": "fp8"},
        {"kv_dtype": "int8", "dtype": "float32", "max_model_len": 8192},
    ],
    ids=lambda settings: " ".join(f"{name}={value}" for name, value in settings.items()),
)
def test_the_pool_is_that_of_the_engine_that_runs(
    preset: str, settings: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    prepared = simulated(preset, **settings)
    found = build_strategy(prepared.engine, prepared.kv_bytes_per_token).kv.total_units
    assert found == real_units(preset, settings, monkeypatch) > 0


def test_each_of_two_devices_has_half_the_layers_in_a_step() -> None:
    """Llama-3.1-8B in bfloat16 on two H100, by hand: of 8192 tokens hidden 4096 twice and a head's
    128 whole, half of gate, up and their product; 256 rows of 128256 logits of 11 bytes, whole."""
    each = 2 * 32 * 4 * 128 * 2
    layer = (2 * 4096 * 4096 + 2 * 1024 * 4096 + 3 * 14336 * 4096) // 2
    weights = 2 * (32 * layer + 2 * 64128 * 4096)  # tables are halved, too
    step = 8192 * (2 * 4096 + 128 + 3 * 7168) * 2 + 256 * 128256 * 11
    widest = 2 * 128256 + 4 * 4096 + 2 * 2048 + 2 * 512 + 3 * 7168
    graphs = 256 * widest * 2 + 35 * 8 * 2**20  # of 1, 2, 4, 8, 16, …, 256 sequences
    tokens = int(0.9 * (79.65 * 2**30 - weights - step - graphs)) // each
    assert simulated("vllm-v1", Machine("h100", devices=2)).pool_tokens == tokens


def test_what_captures_no_graphs_keeps_no_room_for_them() -> None:
    without = simulated("vllm-v1", Machine("trainium2")).pool_tokens
    assert simulated("vllm-v1", Machine("trainium2"), cuda_graphs="off").pool_tokens == without
    there = simulated("vllm-v1").pool_tokens
    assert simulated("vllm-v1", cuda_graphs="off").pool_tokens > there


def test_a_step_without_room_is_refused_with_the_numbers() -> None:
    """Prompts computed whole, 131072 tokens at once, beside 70.6 GB of weights a device."""
    with pytest.raises(ConfigError) as raised:
        simulated("paged", Machine("a100", devices=2), model="llama-3.1-70b")
    assert str(raised.value) == (
        "tensor_parallel: 2 is not allowed; expected 4 or more devices, or fewer bits a weight "
        "(--quant): of each a100's 85.9 GB, 70.6 GB for weights, 0.5 GB for graphs, 16.0 GB for a "
        "step of 131072 tokens leave nothing; or lower --max-num-batched-tokens or "
        "--max-model-len"
    )
