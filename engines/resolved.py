"""An engine with nothing left to decide: what `EngineConfig` asks for, on one model and machine."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import Any

from .config import EngineConfig
from .errors import ConfigError
from .kv.contiguous import DEFAULT_ARENA, DEFAULT_RESERVATION
from .reads import why_unread
from .step import Limits

# TensorRT-LLM's is its block size, and so it is of every paged cache; a contiguous one has none.
CONTIGUOUS_CHUNK_UNIT = 64
MOST_SWAP_MEMORY_BYTES = 4 * 2**30  # vLLM's default
_DECIDED = (
    *("max_num_batched_tokens", "max_model_len", "kv_memory_bytes", "async_scheduling"),
    *("quant", "dtype", "model_impl", "cuda_graphs"),
)


@dataclass(frozen=True, kw_only=True)
class ResolvedEngine(EngineConfig):
    """The settings of an engine that can be built; `of` makes one.

    What None and `auto` are still used for is decided, too. group_size: the method has no groups;
    quant_bits: the usual ones; chunk_unit: prompts are not cut at units; swap_memory_bytes: nothing
    may be swapped out;
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
        decided = [*_DECIDED, *(["chunk_unit"] if not why_unread("chunk_unit", vars(self)) else [])]
        if undecided := [name for name in decided if getattr(self, name) in (None, "auto")]:
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
            **cut_defaults(engine, limits.max_num_batched_tokens),
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


def cut_defaults(engine: EngineConfig, step_tokens: int | None) -> dict[str, int]:
    """The chunk unit in force, where prompts are cut at units; else none. As asked; else a block,
    or less where a step or a chunk may not be that long. step_tokens: the most of a step; None: not
    known. Raises ConfigError for a unit that no chunk can have."""
    if why_unread("chunk_unit", vars(engine)):
        return {}
    bounds = [bound for bound in (step_tokens, engine.long_prefill_tokens) if bound]
    if engine.chunk_unit is None:
        usual = engine.block_size if engine.kv == "paged" else CONTIGUOUS_CHUNK_UNIT
        return {"chunk_unit": min([usual, *bounds])}
    if bounds and engine.chunk_unit > min(bounds):
        allowed = f"at most {min(bounds)}, the tokens of a step"
        raise ConfigError("chunk_unit", engine.chunk_unit, allowed)
    return {"chunk_unit": engine.chunk_unit}


def _swap_memory_bytes(engine: EngineConfig, kv_memory_bytes: int) -> int | None:
    """Room on the host, where anything may be swapped out."""
    if engine.preemption == "recompute" or why_unread("preemption", vars(engine)):
        return None
    return engine.swap_memory_bytes or min(kv_memory_bytes, MOST_SWAP_MEMORY_BYTES)
