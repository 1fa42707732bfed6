"""Every setting of an engine, from a preset and overrides, checked before any weight is read."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

from .errors import ConfigError, unknown_name
from .presets import ADMISSION, BATCHING, KV, find_preset
from .step import Limits

QUANT_METHODS = ("none", "awq")
DTYPES = ("auto", "float32", "bfloat16", "float16")
DEVICES = ("auto", "cpu", "cuda")

DEFAULT_MAX_NUM_SEQS = 256  # vLLM's default
DEFAULT_MAX_NUM_BATCHED_TOKENS = 2048  # vLLM's floor; the model's length when that is longer


@dataclass(frozen=True)
class EngineConfig:
    """What an engine is made of. None means: decided by the model or the machine, see `assemble`.

    kv_memory_bytes: room for keys and values. max_model_len: prompt and output of one request.
    group_size: input features that share a 4-bit scale; None picks the largest that divides.
    chunked_prefill: whether mixed batching may split a prompt over steps. delay_factor: how many
    prompt-step latencies separate batching waits for more prompts to gather.
    """

    engine: str
    stands_for: str
    batching: str
    admission: str
    kv: str
    block_size: int
    quant: str = "none"
    group_size: int | None = None
    max_num_seqs: int = DEFAULT_MAX_NUM_SEQS
    max_num_batched_tokens: int | None = None
    max_model_len: int | None = None
    kv_memory_bytes: int | None = None
    chunked_prefill: bool = True
    delay_factor: float = 0.0
    dtype: str = "auto"
    device: str = "auto"

    def __post_init__(self) -> None:
        _one_of("batching", self.batching, BATCHING)
        _one_of("admission", self.admission, ADMISSION)
        _one_of("kv", self.kv, KV)
        _one_of("quant", self.quant, QUANT_METHODS)
        _one_of("dtype", self.dtype, DTYPES)
        if self.device not in DEVICES and not self.device.startswith("cuda:"):
            raise unknown_name("device", self.device, DEVICES)
        if not self.delay_factor >= 0:
            raise ConfigError("delay_factor", self.delay_factor, "0 or more")
        for field in (
            "block_size",
            "group_size",
            "max_num_seqs",
            "max_num_batched_tokens",
            "max_model_len",
            "kv_memory_bytes",
        ):
            value = getattr(self, field)
            if value is not None and value < 1:
                raise ConfigError(field, value, "at least 1")

    def limits(self, model_len: int) -> Limits:
        """The step budgets for a model of at most `model_len` positions."""
        max_model_len = self.max_model_len or model_len
        if max_model_len > model_len:
            raise ConfigError("max_model_len", max_model_len, f"at most the model's {model_len}")
        batched = self.max_num_batched_tokens or max(max_model_len, DEFAULT_MAX_NUM_BATCHED_TOKENS)
        return Limits(
            max_num_seqs=self.max_num_seqs,
            max_num_batched_tokens=batched,
            max_model_len=max_model_len,
        )


def engine_config(engine: str = "paged", **overrides: Any) -> EngineConfig:
    """A preset with overrides: any field of EngineConfig by name; None keeps what is there.

    Raises ConfigError for an unknown preset, setting or value, with the nearest spelling.

    >>> engine_config("paged", batching="mixed").batching
    'mixed'
    """
    preset = find_preset(engine)
    settings = {field.name for field in fields(EngineConfig)} - {"engine", "stands_for"}
    for name in overrides:
        if name not in settings:
            raise unknown_name("setting", name, settings)
    chosen = {name: value for name, value in overrides.items() if value is not None}
    row = {name: getattr(preset, name) for name in ("batching", "admission", "kv", "block_size")}
    return EngineConfig(engine=preset.name, stands_for=preset.stands_for, **(row | chosen))


def _one_of(field: str, value: str, allowed: tuple[str, ...]) -> None:
    if value not in allowed:
        raise unknown_name(field, value, allowed)
