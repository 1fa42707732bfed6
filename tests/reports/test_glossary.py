"""Settings in words, and every setting that may be an axis has some."""

from __future__ import annotations

import pytest
from llmbench.reports.glossary import change_text, setting_text


@pytest.mark.parametrize(
    ("name", "before", "after", "words"),
    [
        ("batching", "separate", "mixed", "batching separate → mixed"),
        ("kv", "paged", "contiguous", "kv paged → contiguous"),
        ("chunked_prefill", True, False, "chunked prefill → whole prompts"),
        ("prefix_cache", False, True, "no prefix cache → prefix cache"),
        ("block_size", 16, 32, "block 16 → 32"),
        ("max_num_seqs", 8, 64, "up to 8 → 64 at once"),
        ("max_num_batched_tokens", 512, 2048, "steps of 512 → 2048 tokens"),
        ("delay_factor", 0.0, 0.5, "delay factor 0 → 0.5"),
        ("kv_memory_bytes", 2**20, 24 * 2**20, "kv memory 1 MiB → 24 MiB"),
        ("async_scheduling", True, False, "async scheduling → no async scheduling"),
    ],
)
def test_a_change_is_said_in_words_and_not_as_a_setting_is_stored(
    name: str, before: object, after: object, words: str
) -> None:
    """Known wrong here: "chunked_prefill yes → no", "kv_memory_bytes 1048576 → 25165824"."""
    assert change_text(name, before, after) == words


def test_a_setting_alone() -> None:
    assert setting_text("kv_memory_bytes", 2**20) == "kv memory 1 MiB"
    assert setting_text("async_scheduling", False) == "no async scheduling"
    assert setting_text("chunked_prefill", False) == "whole prompts"
