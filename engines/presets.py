"""Engines as rows of a table: a name for a choice on each axis. Names appear here and nowhere else.

What people call "vLLM versus TensorRT-LLM" is a bundle of independent choices. Each preset is one
bundle; any value can be overridden, so that one thing is changed at a time.
"""

from __future__ import annotations

from dataclasses import dataclass

from .errors import unknown_name

BATCHING = ("separate", "mixed", "static")
ADMISSION = ("optimistic", "reserve")
KV = ("paged", "contiguous")


@dataclass(frozen=True)
class Preset:
    """One engine.

    stands_for: which real system's behaviour this is, said wherever the name is shown.
    block_size: tokens a KV block, for paged caches.
    """

    name: str
    batching: str
    admission: str
    kv: str
    stands_for: str
    block_size: int = 16
    aliases: tuple[str, ...] = ()


PRESETS = (
    Preset(
        "paged",
        batching="separate",
        admission="optimistic",
        kv="paged",
        stands_for="vLLM's original (v0) default scheduler with PagedAttention; "
        "vLLM v1 batches prompts and decodes together",
        aliases=("vllm-v0",),
    ),
    Preset(
        "inflight",
        batching="mixed",
        admission="reserve",
        kv="contiguous",
        stands_for="TensorRT-LLM in-flight batching with a contiguous KV cache; "
        "its default cache is paged",
    ),
    Preset(
        "static",
        batching="static",
        admission="reserve",
        kv="contiguous",
        stands_for="FasterTransformer-style request batching",
    ),
)


def find_preset(name: str) -> Preset:
    """The preset of a name or alias. Raises ConfigError with the nearest spelling."""
    by_name = {known: preset for preset in PRESETS for known in (preset.name, *preset.aliases)}
    if name not in by_name:
        raise unknown_name("engine", name, by_name)
    return by_name[name]
