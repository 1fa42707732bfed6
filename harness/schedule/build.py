"""From a scenario to an engine with an empty cache, and to its requests."""

from __future__ import annotations

from dataclasses import replace
from itertools import count

from ...engines.api import Request, SamplingParams
from ...engines.config import DEFAULT_MAX_NUM_SEQS, EngineConfig, engine_config
from ...engines.errors import ConfigError
from ...engines.kv.base import KVCache
from ...engines.resolved import contiguous_defaults, cut_defaults
from ...engines.step import Limits
from ...engines.strategy import Strategy, build_kv, compose
from .result import Setting
from .scenario import EngineChoice, Scenario

# Token ids of one prefix or prompt are a range of their own, so nothing is equal by accident.
_STRIDE = 2**32


def resolve(scenario: Scenario) -> EngineConfig:
    """Every setting in force. Raises ConfigError for an unknown preset, or choices that contradict
    each other."""
    choice = scenario.engine.model_dump()
    preset = choice.pop("preset")
    limits = scenario.limits
    config = engine_config(
        preset,
        **choice,
        max_num_seqs=limits.max_num_seqs,
        max_num_batched_tokens=limits.max_num_batched_tokens,
        max_model_len=_max_model_len(scenario),
    )
    if scenario.block_size is not None:  # of a contiguous cache, too: what a pool is counted in
        config = replace(config, block_size=scenario.block_size)
    batched = config.max_num_batched_tokens
    if limits.max_num_seqs is None and batched is not None and batched < DEFAULT_MAX_NUM_SEQS:
        config = replace(config, max_num_seqs=min(config.max_num_seqs, batched))
    step_tokens = config.limits_for(_max_model_len(scenario)).max_num_batched_tokens
    return replace(config, **contiguous_defaults(config), **cut_defaults(config, step_tokens))


def build_strategy(scenario: Scenario, engine: EngineConfig) -> Strategy:
    """Policies and an empty cache. engine: as `resolve` returned it.

    Requests that the pool can never hold are refused by the policies, one by one. Raises
    ConfigError for a pool that no request at all could use.
    """
    limits = engine.limits_for(_max_model_len(scenario))
    return compose(engine, limits, _pool(scenario, engine, limits))


def settings_of(strategy: Strategy, engine: EngineConfig) -> dict[str, Setting]:
    """What a schedule says was in force."""
    names = [name for name in EngineChoice.model_fields if name != "preset"]
    limits = strategy.limits
    return {
        **{name: getattr(engine, name) for name in (*names, "block_size")},
        "max_num_seqs": limits.max_num_seqs,
        "max_num_batched_tokens": limits.max_num_batched_tokens,
        "max_model_len": limits.max_model_len,
    }


def requests_of(scenario: Scenario) -> dict[str, Request]:
    """The requests by id, in the scenario's order; `arrival_s` is not known yet."""
    starts = count(0, _STRIDE)
    prefixes = {name: next(starts) for name in sorted({r.shared_prefix for r in scenario.requests})}
    requests: dict[str, Request] = {}
    for row in scenario.requests:
        prefix, own = prefixes[row.shared_prefix], next(starts)
        shared = row.shared_prefix_tokens
        tokens = (*range(prefix, prefix + shared), *range(own, own + row.prompt_tokens - shared))
        sampling = SamplingParams(max_tokens=row.output_tokens, n=row.n)
        requests[row.id] = Request(row.id, tokens, sampling, priority=row.priority)
    return requests


def _max_model_len(scenario: Scenario) -> int:
    """As it says; else its longest request."""
    longest = max(row.prompt_tokens + row.output_tokens for row in scenario.requests)
    return scenario.limits.max_model_len or longest


def _pool(scenario: Scenario, engine: EngineConfig, limits: Limits) -> KVCache:
    if scenario.pool_blocks is not None:
        field, asked = "pool_blocks", scenario.pool_blocks
        tokens = asked * engine.block_size
    else:
        assert scenario.pool_tokens is not None
        field, asked = "pool_tokens", scenario.pool_tokens
        tokens = asked
    try:
        return build_kv(engine, limits, tokens, scenario.host_blocks * engine.block_size)
    except ConfigError as error:
        if error.field != "kv_memory":
            raise
        raise ConfigError(
            field, asked, f"{_room(engine, limits)}; NEVER with {tokens} tokens"
        ) from error


def _room(engine: EngineConfig, limits: Limits) -> str:
    """The least a pool must hold."""
    if engine.kv == "paged":
        return f"at least one block of {engine.block_size} tokens"
    longest = limits.max_model_len
    rounded = (
        f", which a buddy arena rounds up to {1 << (longest - 1).bit_length()}"
        if engine.arena == "buddy"
        else ""
    )
    return f"one piece of max_model_len ({longest} tokens{rounded})"
