"""A setting that is refused would have changed no step of any load; another changes some."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import replace
from itertools import product

import pytest
from llmbench.engines.api import Request
from llmbench.engines.config import EngineConfig, engine_config, with_choices
from llmbench.engines.core import EngineCore
from llmbench.engines.errors import ConfigError
from llmbench.engines.presets import ADMISSION, BATCHING, KV, MIXING, PRESETS
from llmbench.engines.reads import READ_UNDER, why_unread
from llmbench.engines.resolved import ResolvedEngine
from llmbench.engines.step import Limits
from llmbench.engines.strategy import build_kv, compose
from llmbench.engines.trace import StepTrace

from .drive import CountingExecutor, drive, make_request
from .resolved import DECIDED

# Of each setting one that has another.
OTHERS: dict[str, tuple[object, ...]] = {
    "delay_factor": (3.0,),
    "mixing": ("inflight", "unified"),
    "chunked_prefill": (True, False),
    "long_prefill_tokens": (5,),
    "chunking": ("equal",),
    "chunk_unit": (3,),
    "whole_prompt_fits": (True, False),
    "watermark": (0.4,),
    "preemption": ("recompute", "swap"),
    "swap_memory_bytes": (8,),
    "block_size": (2,),
    "prefix_cache": (True, False),
    "kv_reservation": ("oracle",),
    "arena": ("buddy", "first-fit"),
}
LIMITS = Limits(max_num_seqs=6, max_num_batched_tokens=12, max_model_len=30)
LOADS = range(12)
POOLS = (52, 80, 240)


def requests_of(seed: int) -> dict[int, list[Request]]:
    """By the step before which they come: samples, priorities, prompts that begin alike."""
    draw = random.Random(seed)
    found: dict[int, list[Request]] = {}
    for name in "abcdefgh":
        shared, step = draw.choice((0, 8)), draw.randrange(0, 8)
        found.setdefault(step, []).append(
            make_request(
                name,
                shared + draw.randint(1, 8),
                draw.randint(1, 14),
                float(step),
                n=draw.choice((1, 1, 2, 3)),
                priority=draw.choice((0, 0, 1)),
                shared=shared,
            )
        )
    return found


def steps_of(engine: EngineConfig, seed: int) -> list[StepTrace]:
    """Of a pool that does not hold all. A byte a token."""
    pool = POOLS[seed % len(POOLS)]
    resolved = ResolvedEngine.of(engine, limits=LIMITS, kv_memory_bytes=pool, **DECIDED)
    executor = CountingExecutor()
    strategy = compose(resolved, LIMITS, build_kv(resolved, LIMITS, pool, resolved.host_tokens(1)))
    core = EngineCore(strategy, executor, executor.clock)
    return drive(core, arrivals=requests_of(seed)).steps


def told(engine: EngineConfig) -> Iterator[tuple[str, object]]:
    """Each setting of the table with a value that this engine has not."""
    for name, values in OTHERS.items():
        own = getattr(engine, name) or {"arena": "first-fit"}.get(name)
        yield name, next(value for value in values if value != own)


def engines() -> Iterator[tuple[str, dict[str, object]]]:
    """Every preset, and every combination of axes."""
    yield from ((preset.name, {}) for preset in PRESETS)
    for batching, mixing, admission, kv in product(BATCHING, MIXING, ADMISSION, KV):
        if batching != "mixed" and mixing != "unified":
            continue  # it is not read, as the combinations with `unified` show
        axes = {"batching": batching, "admission": admission, "kv": kv}
        if batching == "mixed":
            axes["mixing"] = mixing
        for chunked in (True, False) if batching == "mixed" and mixing != "sarathi" else (True,):
            preempts = (admission, kv) == ("optimistic", "paged")
            swap = {"preemption": "swap"} if preempts else {}
            yield "paged", {**axes, "chunked_prefill": chunked, **swap}


def cannot_be(engine: EngineConfig) -> dict[str, bool]:
    """What not even a cell of a factorial may have: it has nothing to do it with."""
    contiguous = engine.kv == "contiguous"
    return {
        "prefix_cache": contiguous,
        "kv_reservation": not contiguous,
        "arena": not contiguous,
        "preemption": contiguous or engine.admission == "reserve",
        "long_prefill_tokens": not engine.chunked_prefill,
    }


def test_every_setting_of_the_table_is_tried() -> None:
    assert OTHERS.keys() == READ_UNDER.keys()


@pytest.mark.parametrize(("preset", "choices"), list(engines()), ids=lambda one: str(one))
def test_what_is_refused_changes_nothing_and_what_is_not_something(
    preset: str, choices: dict[str, object]
) -> None:
    base = engine_config(preset, **choices)
    units = {name: 4 for name in ("block_size", "chunk_unit") if not why_unread(name, vars(base))}
    engine = engine_config(preset, **choices, **units)
    plain = {seed: steps_of(engine, seed) for seed in LOADS}
    for name, value in told(engine):
        try:
            other = engine_config(preset, **{**choices, **units, name: value})
        except ConfigError as refused:
            if refused.field != name:
                continue  # with this value another one is not read, which has its own turn
            try:
                other = replace(engine, **{name: value})
            except ConfigError:
                assert cannot_be(engine)[name]
                continue
            assert all(steps_of(other, seed) == steps for seed, steps in plain.items()), name
        else:
            assert any(steps_of(other, seed) != steps for seed, steps in plain.items()), name


@pytest.mark.parametrize(("preset", "choices"), list(engines()), ids=lambda one: str(one))
def test_auto_is_refused_where_it_only_recomputes(preset: str, choices: dict[str, object]) -> None:
    engine = engine_config(preset, **choices)
    if (engine.admission, engine.kv) != ("optimistic", "paged"):
        return  # nobody makes room there, which the table says of any preemption
    small = replace(engine, preemption="recompute", block_size=4)
    auto = replace(small, preemption="auto")
    alike = all(steps_of(auto, seed) == steps_of(small, seed) for seed in LOADS)
    assert alike == bool(why_unread("preemption", vars(auto)))
    assert not why_unread("preemption", vars(small))


def test_what_a_preset_says_of_groups_falls_away_where_there_are_none() -> None:
    mixed = engine_config("paged", batching="mixed")
    assert mixed.preemption == "recompute"
    assert with_choices(engine_config("paged"), batching="mixed") == mixed
    assert engine_config("paged", batching="mixed", preemption="swap").preemption == "swap"
