"""One run's settings: which model, which engine, which load, what is measured beside time."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from ..engines.config import EngineConfig, engine_config
from ..engines.errors import ConfigError, unknown_name
from ..engines.presets import find_preset
from ..engines.quantization.methods import QuantParts, join_quant
from ..reports.glossary import setting_text

Arrival = Literal["poisson", "constant", "own"]
_MOST = 1_000_000_000  # warm-up requests, or tokens of a text


def parse_arrival(text: str) -> Arrival:
    """Raises ConfigError for another word."""
    if text == "poisson" or text == "constant" or text == "own":
        return text
    raise unknown_name("arrival", text, ("poisson", "constant", "own"))


def check_price(price_per_hour: float | None) -> None:
    """Raises ConfigError for what is no price."""
    if price_per_hour is not None and not 0 < price_per_hour < math.inf:
        raise ConfigError("price_per_hour", price_per_hour, "a finite number above 0, such as 2.5")


@dataclass(frozen=True)
class LoadConfig:
    """What is sent. None keeps the workload's own value.

    workload: a built-in name or a YAML file; trace: one to replay instead, a file
    of a known format, a stored run or a name.
    time_scale: factor on a trace's gaps. samples: replies asked for each prompt.
    shared_prefix_tokens: tokens that all prompts begin with.
    max_input_len, max_output_len: clip longer requests.
    corpus: a text file that prompts are cut from; None is the held-out text that ships.
    """

    workload: str = "quick"
    trace: Path | None = None
    time_scale: float | None = None
    num_requests: int | None = None
    request_rate: float | None = None
    max_concurrency: int | None = None
    arrival: Arrival | None = None
    max_input_len: int | None = None
    max_output_len: int | None = None
    samples: int | None = None
    shared_prefix_tokens: int | None = None
    corpus: Path | None = None


@dataclass(frozen=True)
class RunConfig:
    """Everything that decides a run.

    warmup_requests: sent and forgotten before the measured ones; prompts of another seed.
    slo_s: limits in seconds by metric id, for goodput.
    quality_tokens: tokens that perplexity, and KL and agreement, are computed over; 0: none.
    quality_reference: the unquantised model that a quantised directory's are taken beside; None:
    the model itself, if it is not quantised.
    threads: CPU threads for the model; None: torch's choice.
    price_per_hour: of all that serves, in any currency; None: no cost is worked out.
    verify_kernels: try the kernels that the engine will use before it runs.
    """

    model: str
    engine: EngineConfig
    load: LoadConfig = field(default_factory=LoadConfig)
    seed: int = 0
    warmup_requests: int = 2
    slo_s: Mapping[str, float] = field(default_factory=dict)
    quality_tokens: int = 4096
    quality_reference: str | None = None
    threads: int | None = None
    verify_kernels: bool = False
    price_per_hour: float | None = None
    command: str = ""

    def __post_init__(self) -> None:
        if self.seed < 0:
            raise ConfigError("seed", self.seed, "0 or more")
        for name in ("warmup_requests", "quality_tokens"):
            if not 0 <= getattr(self, name) <= _MOST:
                raise ConfigError(name, getattr(self, name), f"0 or more, at most {_MOST:,}")
        check_price(self.price_per_hour)
        if self.threads is not None:
            check_threads(self.threads)

    @property
    def label(self) -> str:
        """`paged + awq`, with what was changed from the preset."""
        return describe_engine(self.engine)


def check_threads(threads: int) -> None:
    """Raises ConfigError."""
    cores = os.cpu_count() or 1
    if not 1 <= threads <= cores:
        raise ConfigError("threads", threads, f"1 to {cores}, this machine's cores")


# What else decides a schedule; how much room it has is in the settings, for a column is narrow.
_POLICIES = (
    *("mixing", "chunked_prefill", "chunking", "chunk_unit", "long_prefill_tokens"),
    *("whole_prompt_fits", "delay_factor", "watermark", "preemption", "prefix_cache"),
    *("kv_reservation", "arena"),
)


def _changed_policies(engine: EngineConfig) -> list[str]:
    """Of the rest, in words, what differs from the preset under the same three choices."""
    usual = engine_config(
        engine.engine, batching=engine.batching, admission=engine.admission, kv=engine.kv
    )
    return [
        setting_text(name, getattr(engine, name))
        for name in _POLICIES
        if getattr(engine, name) not in (None, getattr(usual, name))
    ]


def describe_engine(engine: EngineConfig) -> str:
    """A short name for a table's column: the preset, its quantisation, what was overridden."""
    preset = find_preset(engine.engine)
    changed = [
        getattr(engine, axis)
        for axis in ("batching", "admission", "kv")
        if getattr(engine, axis) != getattr(preset, axis)
    ]
    if engine.kv == "paged" and engine.block_size != preset.block_size:
        changed.append(f"block {engine.block_size}")
    changed += _changed_policies(engine)
    if engine.model_impl == "transformers":
        changed.append("transformers")
    for choice in engine.force_kernels:
        # Of a file, its name is enough in a column.
        op, _, what = choice.partition("=")
        changed.append(f"{op}={what.rpartition('/')[2]}")
    if engine.load_format == "dummy":
        changed.append("random weights")
    name = f"{preset.name} ({', '.join(changed)})" if changed else preset.name
    if engine.quant not in ("none", "auto") or engine.quant_activations != "auto":
        bits = "" if engine.quant_bits is None else f" ({engine.quant_bits} bits)"
        weights = join_quant(QuantParts(engine.quant, engine.quant_activations))
        name += f" + {weights}{bits}"
    if engine.quant_head != "auto":
        name += f" + {'plain' if engine.quant_head == 'none' else engine.quant_head} head"
    return name if engine.kv_dtype == "auto" else f"{name} + {engine.kv_dtype} KV"
