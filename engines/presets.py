"""Engines as rows of a table: a name for a choice on each axis.

What people call "vLLM versus TensorRT-LLM" is a bundle of independent choices. Each preset is one
bundle; any value can be overridden, so that one thing is changed at a time. Other packages add
rows through the entry-point group `llmbench.engines`: each entry names a `Preset`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib.metadata import entry_points

from .errors import ConfigError, unknown_name

BATCHING = ("separate", "mixed", "static")
ADMISSION = ("optimistic", "reserve")
KV = ("paged", "contiguous")
MIXING = ("unified", "inflight", "sarathi")


@dataclass(frozen=True)
class Preset:
    """One engine.

    stands_for: which real system's behaviour this is, said wherever the name is shown.
    block_size: tokens a KV block, for paged caches. mixing: whose way of mixing, when its
    batching is `mixed`. settings: any other field of `EngineConfig` that it sets.
    """

    name: str
    batching: str
    admission: str
    kv: str
    stands_for: str
    block_size: int = 16
    mixing: str = "inflight"
    settings: Mapping[str, object] = field(default_factory=dict)
    aliases: tuple[str, ...] = ()

    @property
    def row(self) -> dict[str, object]:
        """Every setting that the preset decides."""
        axes = ("batching", "admission", "kv", "block_size", "mixing")
        return {name: getattr(self, name) for name in axes} | dict(self.settings)


# What a row does not say is EngineConfig's default (config.py), or is not read (reads.py).
# `llmbench engines vllm-v1 trtllm` prints where two differ; `batching/__init__.py` sets their rules
# side by side.
PRESETS = (
    Preset(
        "paged",
        batching="separate",
        admission="optimistic",
        kv="paged",
        mixing="unified",
        settings={"watermark": 0.01, "preemption": "auto"},
        stands_for="vLLM's original (v0) default scheduler with PagedAttention; "
        "vLLM v1 batches prompts and decodes together",
        aliases=("vllm-v0",),
    ),
    Preset(
        "inflight",
        batching="mixed",
        admission="reserve",
        kv="contiguous",
        stands_for="TensorRT-LLM's in-flight batching over a contiguous KV cache, which it has for "
        "static batches only: “trtllm” less paging",
    ),
    Preset(
        "trtllm",
        batching="mixed",
        admission="reserve",
        kv="paged",
        block_size=32,
        stands_for="TensorRT-LLM's executor: in-flight batching, GUARANTEED_NO_EVICT, paged KV, "
        "chunked context; without its block reuse (--enable-prefix-caching)",
    ),
    Preset(
        "trtllm-max-util",
        batching="mixed",
        admission="optimistic",
        kv="paged",
        block_size=32,
        settings={"watermark": 0.0},
        stands_for="TensorRT-LLM with the MAX_UTILIZATION capacity scheduler",
    ),
    Preset(
        "vllm-v1",
        batching="mixed",
        admission="optimistic",
        kv="paged",
        mixing="unified",
        settings={"watermark": 0.0, "prefix_cache": True, "whole_prompt_fits": True},
        stands_for="vLLM v1's unified scheduler with its prefix cache",
    ),
    Preset(
        "sarathi",
        batching="mixed",
        admission="optimistic",
        kv="paged",
        mixing="sarathi",
        settings={"watermark": 0.01, "max_num_batched_tokens": 512},
        stands_for="Sarathi-Serve's stall-free chunked prefills, with its chunk of 512",
    ),
    Preset(
        "orca",
        batching="mixed",
        admission="reserve",
        kv="contiguous",
        settings={"chunked_prefill": False, "arena": "buddy"},
        stands_for="Orca's iteration-level batching as the PagedAttention paper measures it; "
        "--kv-reservation max, pow2 or oracle are its three baselines",
    ),
    Preset(
        "static",
        batching="static",
        admission="reserve",
        kv="contiguous",
        stands_for="FasterTransformer-style request batching",
    ),
)


def presets() -> tuple[Preset, ...]:
    """The built-in engines, then those of installed plug-ins."""
    return (*PRESETS, *_plugins())


def find_preset(name: str) -> Preset:
    """The preset of a name or alias. Raises ConfigError with the nearest spelling."""
    by_name = _by_name()
    if name not in by_name:
        raise unknown_name("engine", name, by_name)
    return by_name[name]


def _by_name() -> dict[str, Preset]:
    return {known: preset for preset in presets() for known in (preset.name, *preset.aliases)}


@cache
def _plugins() -> tuple[Preset, ...]:
    """Raises ConfigError for an entry point that is no preset or takes a built-in's name."""
    taken = {name for preset in PRESETS for name in (preset.name, *preset.aliases)}
    found: list[Preset] = []
    for entry in entry_points(group="llmbench.engines"):
        preset = entry.load()
        if not isinstance(preset, Preset):
            raise ConfigError("llmbench.engines", entry.value, "an entry point that is a Preset")
        names = {preset.name, *preset.aliases}
        if names & taken:
            raise ConfigError("llmbench.engines", preset.name, "a name that no engine has")
        taken |= names
        found.append(preset)
    return tuple(found)
