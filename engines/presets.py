"""Engines as rows of a table: a name for a choice on each axis.

What people call "vLLM versus TensorRT-LLM" is a bundle of independent choices. Each preset is one
bundle; any value can be overridden, so that one thing is changed at a time. Other packages add
rows through the entry-point group `llmbench.engines`: each entry names a `Preset`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib.metadata import entry_points

from ..kernels.errors import cause
from .errors import ConfigError, unknown_name

BATCHING = ("separate", "mixed", "static")
ADMISSION = ("optimistic", "reserve")
KV = ("paged", "contiguous")
MIXING = ("unified", "inflight", "sarathi")
_GROUP = "llmbench.engines"


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
    """The built-in engines, then those of installed plug-ins that can be used."""
    return (*PRESETS, *_plugins()[0])


def unusable_plugins() -> tuple[ConfigError, ...]:
    """Why installed plug-ins bring no engine, an error each."""
    return tuple(ConfigError(_GROUP, *why) for why in dict.fromkeys(_plugins()[1].values()))


def find_preset(name: str) -> Preset:
    """The preset of a name or alias. Raises ConfigError with the nearest spelling, or for a plug-in
    that would bring it and cannot be used: no other engine depends on one."""
    built_in = _by_name(PRESETS)
    if name in built_in:
        return built_in[name]
    found, unusable = _plugins()
    if name in unusable:
        raise ConfigError(_GROUP, *unusable[name])
    by_name = built_in | _by_name(found)
    if name not in by_name:
        raise unknown_name("engine", name, by_name)
    return by_name[name]


def _by_name(found: Iterable[Preset]) -> dict[str, Preset]:
    return {known: preset for preset in found for known in (preset.name, *preset.aliases)}


@cache
def _plugins() -> tuple[tuple[Preset, ...], Mapping[str, tuple[str, str]]]:
    """Those that can be used, and of the others, by the names that they would have, what they are
    and what is allowed. A name that two bring is neither's."""
    taken = set(_by_name(PRESETS))
    found: list[Preset] = []
    unusable: dict[str, tuple[str, str]] = {}
    for entry in entry_points(group=_GROUP):
        what = f"{entry.value} of {entry.dist.name}" if entry.dist else entry.value
        try:
            preset = entry.load()
        except (Exception, SystemExit) as error:  # noqa: BLE001 -- another package's
            unusable[entry.name] = (what, f"an entry point that imports ({cause(error)})")
            continue
        if not isinstance(preset, Preset):
            unusable[entry.name] = (what, "an entry point that is a Preset")
            continue
        names = {preset.name, *preset.aliases}
        if names & taken:
            refused = (preset.name, f"a name that no engine has ({what})")
            unusable |= dict.fromkeys(names, refused)
            continue
        taken |= names
        found.append(preset)
    return tuple(found), unusable
