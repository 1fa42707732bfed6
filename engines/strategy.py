"""From a configuration to the policies of an engine. No torch: a simulator builds the same."""

from __future__ import annotations

from dataclasses import dataclass

from .admission.base import Admission
from .admission.optimistic import OptimisticAdmission
from .admission.reserve import ReserveAdmission
from .api import Request, SamplingParams
from .batching.base import BatchingPolicy
from .batching.inflight import InflightBatching
from .batching.sarathi import SarathiBatching
from .batching.separate import SeparateBatching
from .batching.static import StaticBatching
from .batching.unified import UnifiedBatching
from .config import EngineConfig
from .errors import ConfigError
from .kv.base import KVCache
from .kv.contiguous import ContiguousKVCache
from .kv.paged import PagedKVCache
from .resolved import ResolvedEngine, contiguous_defaults, cut_defaults
from .state import RequestState
from .step import Limits


@dataclass(frozen=True)
class Strategy:
    """The choices that make an engine."""

    batching: BatchingPolicy
    admission: Admission
    kv: KVCache
    limits: Limits


def build_strategy(engine: ResolvedEngine, kv_bytes_per_token: int) -> Strategy:
    """Policies and an empty KV cache.

    Raises ConfigError where the pool cannot hold one request of `max_model_len`: an engine that may
    serve none of the longest kind may serve none at all. And where one that makes room for others
    may not be recomputed in a step.
    """
    limits = engine.limits
    pool, host = engine.pool_tokens(kv_bytes_per_token), engine.host_tokens(kv_bytes_per_token)
    strategy = compose(engine, limits, build_kv(engine, limits, pool, host))
    check_pool(strategy)
    _check_budget(engine, strategy)
    return strategy


def compose(engine: EngineConfig, limits: Limits, kv: KVCache) -> Strategy:
    """The policies around a KV cache, which may be too small for the longest request: those that
    do not fit are then refused one by one."""
    return Strategy(_batching(engine, limits), _admission(engine), kv, limits)


def build_kv(
    engine: EngineConfig, limits: Limits, pool_tokens: int, host_tokens: int = 0
) -> KVCache:
    """An empty KV cache of the configured kind, of `pool_tokens` tokens. host_tokens: room for
    swapping."""
    if engine.kv == "contiguous":
        if pool_tokens < limits.max_model_len:
            raise _too_small(pool_tokens, limits, "in one piece")
        settings = contiguous_defaults(engine)
        return ContiguousKVCache(
            pool_tokens,
            limits.max_model_len,
            reservation=settings["kv_reservation"],
            arena=settings["arena"],
        )
    if pool_tokens < engine.block_size:
        raise _too_small(pool_tokens, limits, f"in whole blocks of {engine.block_size}")
    return PagedKVCache(
        pool_tokens // engine.block_size,
        engine.block_size,
        prefix_cache=engine.prefix_cache,
        whole_contexts=isinstance(_batching(engine, limits), InflightBatching),
        host_blocks=host_tokens // engine.block_size,
    )


def check_pool(strategy: Strategy) -> None:
    """Raises ConfigError, with the numbers, for a pool too small for the longest request."""
    longest = strategy.limits.max_model_len
    request = Request("longest", range(longest - 1), SamplingParams(max_tokens=1))
    state = RequestState(request)
    state.append(0)
    if not strategy.admission.can_ever_hold(state, strategy.kv):
        why = strategy.admission.why_never(state, strategy.kv)
        raise _too_small(strategy.kv.capacity_tokens, strategy.limits, why)


def _check_budget(engine: EngineConfig, strategy: Strategy) -> None:
    """Raises ConfigError where a prompt that is computed whole may come back with its output longer
    than a step: it would end amid its answer."""
    limits = strategy.limits
    longest, most = limits.max_model_len, limits.max_num_batched_tokens
    if engine.cuts_prompts or longest <= most or not _makes_room(strategy):
        return
    raise ConfigError(
        "max_num_batched_tokens",
        most,
        f"at least max_model_len ({longest}): a request that makes room for others is computed "
        "again in one step; lower --max-model-len, or choose --admission reserve, or mixed "
        "batching with chunked prefill",
    )


def _makes_room(strategy: Strategy) -> bool:
    """Whether a request that runs may lose what was computed of it: where the cache runs out, or
    in flight to one of higher priority."""
    if strategy.admission.guarantees_completion:
        return False
    return strategy.kv.grows or isinstance(strategy.batching, InflightBatching)


def _too_small(pool_tokens: int, limits: Limits, why: str) -> ConfigError:
    return ConfigError(
        "kv_memory",
        f"{pool_tokens} tokens",
        f"room for one request of max_model_len {limits.max_model_len} tokens ({why}); "
        "raise --kv-memory or lower --max-model-len",
    )


def _batching(engine: EngineConfig, limits: Limits) -> BatchingPolicy:
    match engine.batching, engine.mixing:
        case "separate", _:
            return SeparateBatching(engine.delay_factor)
        case "static", _:
            return StaticBatching()
        case _, "unified":
            return UnifiedBatching(
                engine.chunked_prefill, engine.long_prefill_tokens, engine.whole_prompt_fits
            )
        case _, "sarathi":
            return SarathiBatching()
        case _:
            return InflightBatching(
                chunked=engine.chunked_prefill,
                chunking=engine.chunking,
                long_prefill_tokens=engine.long_prefill_tokens,
                **cut_defaults(engine, limits.max_num_batched_tokens),
            )


def _admission(engine: EngineConfig) -> Admission:
    if engine.admission == "reserve":
        return ReserveAdmission()
    return OptimisticAdmission(engine.watermark, engine.preemption)
