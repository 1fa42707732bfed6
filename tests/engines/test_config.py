from __future__ import annotations

import math
from typing import Any

import pytest
from llmbench.engines.config import engine_config, with_choices
from llmbench.engines.errors import ConfigError
from llmbench.engines.presets import ADMISSION, BATCHING, KV, PRESETS
from llmbench.engines.quantization.methods import join_quant, split_quant
from llmbench.engines.reads import READ_UNDER


@pytest.mark.parametrize("preset", PRESETS, ids=lambda preset: preset.name)
def test_any_axis_of_any_preset_can_be_overridden(preset) -> None:
    for batching in BATCHING:
        for admission in ADMISSION:
            for kv in KV:
                config = engine_config(preset.name, batching=batching, admission=admission, kv=kv)
                assert (config.batching, config.admission, config.kv) == (batching, admission, kv)


def test_step_budgets_follow_the_model_length() -> None:
    short = engine_config("paged").limits_for(model_len=1024)
    assert (short.max_model_len, short.max_num_batched_tokens) == (1024, 2048)
    long = engine_config("paged").limits_for(model_len=8192)
    assert (long.max_model_len, long.max_num_batched_tokens) == (8192, 8192)
    cut = engine_config("paged", max_model_len=4096).limits_for(model_len=8192)
    assert (cut.max_model_len, cut.max_num_batched_tokens) == (4096, 4096)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"engine": "vllm"}, "engine: 'vllm' is not allowed.*did you mean 'vllm-v"),
        ({"batching": "seperate"}, "did you mean 'separate'"),
        ({"admission": "reserved"}, "did you mean 'reserve'"),
        ({"kv": "contigous"}, "did you mean 'contiguous'"),
        (
            {"quant": "int4"},
            "quant: 'int4' is not allowed; expected one of auto, awq, fp8, fp8-block",
        ),
        ({"dtype": "fp16"}, "dtype: 'fp16'"),
        ({"kv_dtype": "int4"}, "kv_dtype: 'int4' is not allowed; expected one of auto, fp8, int8"),
        ({"kv_dtype": "in8"}, "did you mean 'int8'"),
        ({"device": "gpu"}, "device: 'gpu'"),
        ({"block_size": 0}, "block_size: 0 is not allowed; expected at least 1"),
        ({"kv_memory_bytes": -5}, "kv_memory_bytes: -5"),
        (
            {"engine": "trtllm", "preemption": "swap"},
            "preemption: 'swap' is not allowed; expected recompute with reserve admission",
        ),
        (
            {"engine": "paged", "admission": "reserve", "preemption": "swap"},
            "preemption: 'swap' is not allowed; expected recompute with reserve admission",
        ),
        (
            {"kv": "contiguous", "preemption": "swap"},
            "preemption: 'swap' is not allowed; expected recompute with a contiguous KV cache",
        ),
        (
            {"kv": "contiguous", "prefix_cache": True},
            "prefix_cache: True is not allowed; expected False with a contiguous KV cache",
        ),
        (
            {"engine": "inflight", "block_size": 32},
            "block_size: 32 is not allowed; expected unset with a contiguous KV cache",
        ),
        (
            {"engine": "paged", "kv": "contiguous", "block_size": 16},
            "block_size: 16 is not allowed; expected unset with a contiguous KV cache",
        ),
        (
            {"kv": "paged", "kv_reservation": "pow2"},
            "kv_reservation: 'pow2' is not allowed; expected unset with a paged KV cache",
        ),
        (
            {"engine": "vllm-v1", "arena": "buddy"},
            "arena: 'buddy' is not allowed; expected unset with a paged KV cache",
        ),
        (
            {"engine": "inflight", "chunked_prefill": False, "long_prefill_tokens": 64},
            "long_prefill_tokens: 64 is not allowed; expected 0 without chunked prefill",
        ),
        (
            {"engine": "paged", "mixing": "sarathi"},
            "mixing: 'sarathi' is not allowed; expected unset with separate batching",
        ),
        (
            {"engine": "static", "chunked_prefill": False},
            "chunked_prefill: False is not allowed; expected unset with static batching",
        ),
        (
            {"engine": "inflight", "batching": "separate", "chunking": "equal"},
            "chunking: 'equal' is not allowed; expected unset with separate batching",
        ),
        (
            {"engine": "vllm-v1", "chunk_unit": 64},
            "chunk_unit: 64 is not allowed; expected unset with unified mixing",
        ),
        (
            {"engine": "trtllm", "whole_prompt_fits": True},
            "whole_prompt_fits: True is not allowed; expected unset with inflight mixing",
        ),
        (
            {"engine": "paged", "whole_prompt_fits": True},
            "whole_prompt_fits: True is not allowed; expected unset with separate batching",
        ),
        (
            {"engine": "vllm-v1", "delay_factor": 2.0},
            "delay_factor: 2.0 is not allowed; expected unset with mixed batching",
        ),
        (
            {"engine": "trtllm", "watermark": 0.2},
            "watermark: 0.2 is not allowed; expected unset with reserve admission",
        ),
        (
            {"engine": "paged", "kv": "contiguous", "watermark": 0.2},
            "watermark: 0.2 is not allowed; expected unset with a contiguous KV cache",
        ),
        (
            {"engine": "trtllm", "preemption": "auto"},
            "preemption: 'auto' is not allowed; expected unset with reserve admission",
        ),
        (
            {"engine": "vllm-v1", "preemption": "auto"},
            "preemption: 'auto' is not allowed; expected unset with mixed batching, where samples "
            "make room one by one",
        ),
        (
            {"engine": "vllm-v1", "swap_memory_bytes": 2**20},
            "swap_memory_bytes: 1048576 is not allowed; expected unset with recompute preemption",
        ),
        (
            {"engine": "orca", "chunking": "equal"},
            "chunking: 'equal' is not allowed; expected unset without chunked prefill",
        ),
        (
            {"engine": "sarathi", "chunked_prefill": False},
            "chunked_prefill: False is not allowed; expected unset with sarathi mixing",
        ),
        ({"engine": "vllmv1"}, "did you mean 'vllm-v1'"),
        ({"preempt": "swap"}, "setting: 'preempt' is not allowed.*did you mean 'preemption'"),
        ({"watermark": 1.0}, "watermark: 1.0 is not allowed; expected 0 or more and less than 1"),
        (
            {"delay_factor": math.inf},
            "delay_factor: inf is not allowed; expected 0 or more, at",
        ),
        (
            {"delay_factor": math.nan},
            "delay_factor: nan is not allowed; expected 0 or more, at",
        ),
    ],
)
def test_what_cannot_work_is_said_in_one_line(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message) as raised:
        engine_config(**changes)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("changes", [{"batching": "separate"}, {"mixing": "inflight"}])
def test_where_prompts_are_not_cut_as_by_vllm_v1_its_gate_falls_away(
    changes: dict[str, Any],
) -> None:
    assert engine_config("vllm-v1").whole_prompt_fits
    assert not engine_config("vllm-v1", **changes).whole_prompt_fits
    assert not with_choices(engine_config("vllm-v1"), **changes).whole_prompt_fits


@pytest.mark.parametrize(
    ("changes", "tokens"),
    [
        ({}, 512),
        ({"mixing": "unified"}, 512),
        ({"batching": "separate"}, None),
        ({"batching": "static"}, None),
        ({"mixing": "inflight", "chunked_prefill": False}, None),
        ({"batching": "separate", "max_num_batched_tokens": 512}, 512),
    ],
)
def test_where_no_chunks_are_mixed_the_chunk_of_sarathi_falls_away(
    changes: dict[str, Any], tokens: int | None
) -> None:
    assert engine_config("sarathi", **changes).max_num_batched_tokens == tokens
    assert with_choices(engine_config("sarathi"), **changes).max_num_batched_tokens == tokens


def test_a_chunk_of_ones_own_stays_in_an_ablation() -> None:
    asked = engine_config("sarathi", max_num_batched_tokens=4096)
    assert with_choices(asked, batching="separate").max_num_batched_tokens == 4096


def test_a_block_size_goes_with_a_paged_cache_and_with_what_is_ablated() -> None:
    assert engine_config("inflight", kv="paged", block_size=32).block_size == 32
    paged = engine_config("paged", block_size=32)
    assert with_choices(paged, kv="contiguous").kv == "contiguous"
    assert with_choices(paged, kv="contiguous", block_size=8).block_size == 8


def test_a_way_of_mixing_goes_with_mixed_batching_and_with_what_is_ablated() -> None:
    mixed = engine_config("paged", batching="mixed", mixing="inflight", chunking="equal")
    assert (mixed.mixing, mixed.chunking) == ("inflight", "equal")
    apart = with_choices(mixed, batching="separate", chunked_prefill=False, mixing="sarathi")
    assert (apart.batching, apart.mixing) == ("separate", "sarathi")


def test_what_a_setting_is_anyway_may_be_said() -> None:
    """As a script does that hands on every setting of an engine."""
    for preset in PRESETS:
        asked = engine_config(preset.name)
        said = {
            name: getattr(asked, name)
            for name in READ_UNDER.keys() - {"mixing", "block_size"}
            if name not in preset.settings
        }
        assert engine_config(preset.name, **said) == asked


def test_a_prompt_that_is_cut_whatever_is_said_has_the_budget_of_one() -> None:
    mixed = engine_config("paged", batching="mixed", mixing="sarathi")
    told = with_choices(mixed, chunked_prefill=False)
    budgets = [one.limits_for(131072).max_num_batched_tokens for one in (mixed, told)]
    assert budgets == [8192, 8192]


def test_a_length_beyond_the_model_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"max_model_len: 4096.*at most the model's 2048"):
        engine_config(max_model_len=4096).limits_for(model_len=2048)


def test_a_quant_may_say_what_becomes_of_the_output_projection() -> None:
    both = engine_config("paged", quant="awq+int8-head")
    assert (both.quant, both.quant_head) == ("awq", "int8")
    assert both == engine_config("paged", quant="awq", quant_head="int8")
    # Another method alone is that method as it is.
    assert with_choices(both, quant="gptq").quant_head == "auto"
    assert with_choices(both, quant="gptq+w8a8-head").quant_head == "w8a8"
    with pytest.raises(
        ConfigError, match=r"quant: 'awq\+int8' .* awq or awq\+a8 or awq\+none-head or"
    ):
        engine_config("paged", quant="awq+int8")
    with pytest.raises(ConfigError, match="quant: 'awk' is not allowed"):
        engine_config("paged", quant="awk+int8-head")


def test_a_quant_may_say_what_becomes_of_activations() -> None:
    all_three = engine_config("paged", quant="awq+a8+w8a8-head")
    assert all_three == engine_config("paged", quant="awq+w8a8-head+a8")
    said = all_three.quant, all_three.quant_activations, all_three.quant_head
    assert said == ("awq", "int8", "w8a8")
    assert with_choices(all_three, quant="gptq").quant_activations == "auto"
    assert with_choices(all_three, kv="contiguous").quant_activations == "int8"
    for twice in ("awq+a8+a8", "awq+int8-head+int8-head", "awq+a4", "awq+"):
        with pytest.raises(ConfigError, match=r"awq\+a8 or awq\+none-head .*, or both"):
            engine_config("paged", quant=twice)
    with pytest.raises(ConfigError, match="quant_activations: 'int4' is not allowed"):
        engine_config("paged", quant_activations="int4")


def test_a_quant_is_written_as_it_is_read() -> None:
    for quant in ("none", "awq+a8", "gptq+w8a8-head", "rtn+a8+none-head"):
        assert join_quant(split_quant(quant)) == quant


@pytest.mark.parametrize(
    ("engine", "overrides", "tokens"),
    [
        # vLLM v0 computes prompts whole: a step has room for the longest.
        ("paged", {}, 131072),
        ("orca", {}, 131072),
        ("static", {}, 131072),
        # Where prompts may be cut, vLLM v1's and TensorRT-LLM's budget.
        ("vllm-v1", {}, 8192),
        ("trtllm", {}, 8192),
        ("paged", {"batching": "mixed"}, 8192),
        ("sarathi", {}, 512),
        ("trtllm", {"chunked_prefill": False}, 131072),
        ("trtllm", {"max_num_batched_tokens": 20000}, 20000),
    ],
)
def test_a_step_on_a_model_with_a_long_context(
    engine: str, overrides: dict[str, Any], tokens: int
) -> None:
    """Llama 3.1's 131072 positions: mixed batching that may compute them at once mixes nothing."""
    assert engine_config(engine, **overrides).limits_for(131072).max_num_batched_tokens == tokens


def test_a_step_on_a_model_with_a_short_context() -> None:
    for engine in ("paged", "vllm-v1"):
        assert engine_config(engine).limits_for(1024).max_num_batched_tokens == 2048
        assert engine_config(engine).limits_for(4096).max_num_batched_tokens == 4096
