"""What contradicts itself only once limits and pool are known."""

from __future__ import annotations

from typing import Any

import pytest
from llmbench.engines.config import engine_config
from llmbench.engines.errors import ConfigError
from llmbench.engines.presets import BATCHING, PRESETS
from llmbench.engines.resolved import ResolvedEngine
from llmbench.engines.step import Limits
from llmbench.engines.strategy import Strategy, build_strategy

from .resolved import DECIDED

WHOLE = {"chunked_prefill": False}
CONTIGUOUS = {"kv": "contiguous"}


def strategy(preset: str, limits: Limits, **choices: Any) -> Strategy:
    engine = engine_config(preset, **choices)
    resolved = ResolvedEngine.of(engine, limits=limits, kv_memory_bytes=2**20, **DECIDED)
    return build_strategy(resolved, 1)


@pytest.mark.parametrize(
    ("preset", "choices"),
    [
        ("paged", {}),
        ("vllm-v1", WHOLE),
        ("trtllm-max-util", WHOLE),
        # In flight a request of higher priority takes a run from one that has it.
        ("trtllm-max-util", WHOLE | CONTIGUOUS),
    ],
)
def test_a_step_recomputes_the_longest_request_whole(preset: str, choices: dict[str, Any]) -> None:
    short = Limits(max_num_seqs=4, max_num_batched_tokens=127, max_model_len=128)
    with pytest.raises(ConfigError, match=r"max_num_batched_tokens: 127 .* max_model_len \(128\)"):
        strategy(preset, short, **choices)
    enough = Limits(max_num_seqs=4, max_num_batched_tokens=128, max_model_len=128)
    assert strategy(preset, enough, **choices).limits == enough


@pytest.mark.parametrize(
    ("preset", "choices"),
    [
        ("paged", {"admission": "reserve"}),
        ("paged", {"batching": "static"}),
        ("orca", {}),
        ("trtllm", WHOLE),
        ("vllm-v1", {}),
        ("trtllm-max-util", {}),
        ("sarathi", {}),
        ("paged", CONTIGUOUS),
        ("vllm-v1", WHOLE | CONTIGUOUS),
    ],
)
def test_a_step_may_be_shorter_where_prompts_are_cut_or_nobody_is_preempted(
    preset: str, choices: dict[str, Any]
) -> None:
    short = Limits(max_num_seqs=4, max_num_batched_tokens=16, max_model_len=128)
    assert strategy(preset, short, **choices).limits == short


@pytest.mark.parametrize("preset", [preset.name for preset in PRESETS])
@pytest.mark.parametrize("model_len", [128, 4096, 131072])
def test_what_is_derived_when_nothing_is_said_is_enough(preset: str, model_len: int) -> None:
    limits = engine_config(preset).limits_for(model_len)
    assert strategy(preset, limits).limits == limits


@pytest.mark.parametrize("preset", [preset.name for preset in PRESETS])
@pytest.mark.parametrize("batching", BATCHING)
def test_what_a_preset_says_is_enough_under_other_batching(preset: str, batching: str) -> None:
    limits = engine_config(preset, batching=batching).limits_for(4096)
    assert strategy(preset, limits, batching=batching).limits == limits
