from __future__ import annotations

from typing import Any

import pytest
from llmbench.engines.config import engine_config
from llmbench.engines.errors import ConfigError
from llmbench.engines.presets import PRESETS
from llmbench.harness.config import RunConfig, describe_engine


@pytest.mark.parametrize(
    ("changes", "label"),
    [
        ({}, "paged"),
        ({"quant": "awq"}, "paged + awq"),
        ({"batching": "mixed"}, "paged (mixed)"),
        ({"admission": "reserve", "block_size": 32}, "paged (reserve, block 32)"),
        ({"kv": "contiguous", "quant": "awq"}, "paged (contiguous) + awq"),
        ({"kv_dtype": "fp8"}, "paged + fp8 KV"),
        ({"quant": "awq", "quant_head": "int8"}, "paged + awq + int8 head"),
        ({"quant": "gptq", "quant_bits": 8}, "paged + gptq (8 bits)"),
        ({"quant": "auto+a8"}, "paged + auto+a8"),
        ({"quant": "gptq+a8+w8a8-head"}, "paged + gptq+a8 + w8a8 head"),
        ({"quant": "w8a8", "quant_head": "none"}, "paged + w8a8 + plain head"),
        ({"quant": "awq", "kv_dtype": "int8"}, "paged + awq + int8 KV"),
        ({"prefix_cache": True}, "paged (prefix cache)"),
        (
            {"watermark": 0.05, "preemption": "swap", "quant": "awq"},
            "paged (watermark 0.05, swap preemption) + awq",
        ),
        ({"batching": "mixed", "chunked_prefill": False}, "paged (mixed, whole prompts)"),
        ({"kv": "contiguous", "arena": "buddy"}, "paged (contiguous, buddy arena)"),
        ({"max_num_batched_tokens": 512, "max_num_seqs": 8}, "paged"),
    ],
)
def test_a_label_says_what_was_changed(changes: dict[str, Any], label: str) -> None:
    assert describe_engine(engine_config("paged", **changes)) == label


@pytest.mark.parametrize("name", [preset.name for preset in PRESETS])
def test_an_engine_as_it_is_has_its_own_name(name: str) -> None:
    assert describe_engine(engine_config(name)) == name


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("seed", -1),
        ("warmup_requests", -1),
        ("warmup_requests", 10**400),
        ("quality_tokens", -1),
        ("quality_tokens", 10**400),
        ("threads", 0),
    ],
)
def test_settings_are_checked(field: str, value: Any) -> None:
    with pytest.raises(ConfigError, match=field):
        RunConfig("bundled", engine_config("paged"), **{field: value})
