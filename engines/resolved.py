"""An engine with nothing left to decide: what `EngineConfig` asks for, on one model and machine."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import Any

from .config import EngineConfig
from .kv.contiguous import DEFAULT_ARENA, DEFAULT_RESERVATION
from .reads import why_unread
from .step import Limits

MOST_SWAP_MEMORY_BYTES = 4 * 2**30  # vLLM's default
_DECIDED = (
    *("max_num_batched_tokens", "max_model_len", "kv_memory_bytes", "async_scheduling"),
    *("quant", "dtype", "model_impl", "cuda_graphs"),
)


@dataclass(frozen=True, kw_only=True)
class ResolvedEngine(EngineConfig):
    """The settings of an engine that can be built; `of` makes one.

    What None and `auto` are still used for is decided, too. group_size: the method has no groups;
    quant_bits, chunk_unit: the usual ones; swap_memory_bytes: nothing may be swapped out;
    kv_reservation, arena: the cache is paged. kv_dtype: as dtype; quant_activations,
    quant_head: as the method has them; load_format: weights are read; device: nothing runs, for the
    engine is simulated.
    """

    # `field()`: without it they would inherit None as their default.
    max_num_batched_tokens: int = field()
    max_model_len: int = field()
    kv_memory_bytes: int = field()
    async_scheduling: bool = field()

    def __post_init__(self) -> None:
        super().__post_init__()
        if undecided := [name for name in _DECIDED if getattr(self, name) in (None, "auto")]:
            raise TypeError(f"not decided: {', '.join(undecided)}")

    @classmethod
    def of(
        cls, engine: EngineConfig, *, limits: Limits, kv_memory_bytes: int, **decided: Any
    ) -> ResolvedEngine:
        """The engine with the step budgets and the KV memory that it gets.

        decided: what else the model and the machine decide. Raises ConfigError as `EngineConfig`
        does, and TypeError if something is left open.
        """
        asked = {one.name: getattr(engine, one.name) for one in fields(engine)}
        found = {
            "max_num_seqs": limits.max_num_seqs,
            "max_num_batched_tokens": limits.max_num_batched_tokens,
            "max_model_len": limits.max_model_len,
            "kv_memory_bytes": kv_memory_bytes,
            "swap_memory_bytes": _swap_memory_bytes(engine, kv_memory_bytes),
            **contiguous_defaults(engine),
        }
        return cls(**asked | found | decided)

    @property
    def limits(self) -> Limits:
        """The budgets of a step."""
        return Limits(self.max_num_seqs, self.max_num_batched_tokens, self.max_model_len)

    def pool_tokens(self, bytes_per_token: int) -> int:
        """What the KV pool holds. bytes_per_token: of all its keys and values."""
        return self.kv_memory_bytes // bytes_per_token

    def host_tokens(self, bytes_per_token: int) -> int:
        """What there is room for on the host, for swapping."""
        return (self.swap_memory_bytes or 0) // bytes_per_token


def contiguous_defaults(engine: EngineConfig) -> dict[str, Any]:
    """The settings of a contiguous cache that were left open, filled in; none for a paged one."""
    if engine.kv != "contiguous":
        return {}
    return {
        "kv_reservation": engine.kv_reservation or DEFAULT_RESERVATION,
        "arena": engine.arena or DEFAULT_ARENA,
    }


def _swap_memory_bytes(engine: EngineConfig, kv_memory_bytes: int) -> int | None:
    """Room on the host, where anything may be swapped out."""
    if engine.preemption == "recompute" or why_unread("preemption", vars(engine)):
        return None
    return engine.swap_memory_bytes or min(kv_memory_bytes, MOST_SWAP_MEMORY_BYTES)
