"""What stands between an engine as asked for and one that can be built."""

from __future__ import annotations

from dataclasses import asdict, fields, replace
from typing import Any

import pytest
from llmbench.engines.config import engine_config
from llmbench.engines.errors import ConfigError
from llmbench.engines.presets import PRESETS
from llmbench.engines.resolved import MOST_SWAP_MEMORY_BYTES, ResolvedEngine
from llmbench.engines.strategy import build_strategy

from .resolved import LIMITS, resolved


@pytest.mark.parametrize("preset", [one.name for one in PRESETS])
def test_it_is_what_was_asked_with_the_rest_decided(preset: str) -> None:
    asked = engine_config(preset, max_num_seqs=8)
    found = resolved(asked)
    assert found.limits == LIMITS
    kept = {one.name for one in fields(asked) if getattr(asked, one.name) not in (None, "auto")}
    kept -= {"max_num_batched_tokens", "max_model_len"}
    assert {name: getattr(found, name) for name in kept} == {
        name: getattr(asked, name) for name in kept
    }
    contiguous = asked.kv == "contiguous"
    assert (found.kv_reservation is not None) == (found.arena is not None) == contiguous


def test_a_result_holds_the_same_keys_in_the_same_order_as_before() -> None:
    asked = engine_config("paged")
    assert list(asdict(resolved(asked))) == list(asdict(asked))
    assert [one.name for one in fields(ResolvedEngine)] == [one.name for one in fields(asked)]


@pytest.mark.parametrize(
    ("left_open", "value"),
    [
        ("quant", "auto"),
        ("dtype", "auto"),
        ("model_impl", "auto"),
        ("cuda_graphs", "auto"),
        ("async_scheduling", None),
        ("max_model_len", None),
    ],
)
def test_nothing_can_be_left_open(left_open: str, value: Any) -> None:
    with pytest.raises(TypeError, match=f"not decided: {left_open}"):
        resolved(engine_config("paged"), **{left_open: value})
    with pytest.raises(TypeError, match=f"not decided: {left_open}"):
        replace(resolved(engine_config("paged")), **{left_open: value})


def test_what_an_engine_may_not_be_is_still_refused() -> None:
    with pytest.raises(ConfigError, match="max_model_len"):
        replace(resolved(engine_config("paged")), max_model_len=0)
    with pytest.raises(ConfigError, match="kv_memory_bytes"):
        resolved(engine_config("paged"), kv_memory_bytes=0)


@pytest.mark.parametrize(
    ("preset", "changes", "room_bytes"),
    [
        ("paged", {"preemption": "swap"}, 2**20),
        ("paged", {"preemption": "swap", "swap_memory_bytes": 4096}, 4096),
        ("trtllm", {}, None),
        ("inflight", {}, None),
    ],
)
def test_there_is_room_on_the_host_only_where_something_may_be_swapped_out(
    preset: str, changes: dict[str, Any], room_bytes: int | None
) -> None:
    found = resolved(engine_config(preset, **changes))
    assert found.swap_memory_bytes == room_bytes
    assert found.pool_tokens(1024) == 1024
    assert found.host_tokens(1024) == (room_bytes or 0) // 1024


def test_room_on_the_host_that_a_cell_of_a_factorial_has_no_use_for_is_none() -> None:
    asked = engine_config("paged", preemption="swap", swap_memory_bytes=4096)
    assert resolved(replace(asked, preemption="recompute")).swap_memory_bytes is None


def test_the_host_gives_no_more_than_vllm_takes_of_it() -> None:
    found = resolved(engine_config("paged", preemption="swap"), kv_memory_bytes=2**40)
    assert found.swap_memory_bytes == MOST_SWAP_MEMORY_BYTES


@pytest.mark.parametrize(
    ("preset", "changes", "unit"),
    [
        ("trtllm", {}, 32),
        ("inflight", {}, 64),
        ("inflight", {"kv": "paged"}, 16),
        ("inflight", {"chunk_unit": 8}, 8),
        ("inflight", {"long_prefill_tokens": 24}, 24),
        # Nothing is cut there, or anywhere.
        ("orca", {}, None),
        ("vllm-v1", {}, None),
        ("paged", {}, None),
    ],
)
def test_the_unit_that_prompts_are_cut_at_is_said(
    preset: str, changes: dict[str, Any], unit: int | None
) -> None:
    """A result had none, whatever was in force, so no report could name it as a difference."""
    found = resolved(engine_config(preset, **changes))
    assert found.chunk_unit == unit
    assert unit is None or vars(build_strategy(found, 1).batching)["chunk_unit"] == unit


def test_a_unit_longer_than_a_step_is_refused_with_the_steps_tokens() -> None:
    with pytest.raises(ConfigError, match=r"chunk_unit: 513 .* at most 512, the tokens of a step"):
        resolved(engine_config("trtllm", chunk_unit=513))
