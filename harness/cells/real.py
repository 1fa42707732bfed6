"""Cells run on the real model, whose weights stay loaded while they are the same."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from ...engines.config import with_choices
from ..config import RunConfig
from ..run.experiment import Measured, Prepared, load, measure, prepare, settings_of
from ..run.watch import Watch
from .identity import Identity, identity_of
from .runner import Overrides

if TYPE_CHECKING:
    from ...engines.assemble import LoadedModel

# Settings that an engine is built with around weights that are loaded; a cell that differs in any
# other loads anew. What is not listed costs time and never a wrong number.
_AROUND_WEIGHTS = frozenset(
    (
        *("engine", "stands_for", "batching", "admission", "kv", "block_size", "max_num_seqs"),
        *("max_num_batched_tokens", "kv_memory_bytes", "kv_dtype", "mixing", "chunked_prefill"),
        *("chunking", "chunk_unit", "long_prefill_tokens", "whole_prompt_fits"),
        *("delay_factor", "watermark"),
        *("preemption", "swap_memory_bytes", "prefix_cache", "kv_reservation", "arena"),
        *("async_scheduling", "cuda_graphs"),
    )
)


class RealCells:
    """Runs cells as `llmbench run` would, with one model in memory at a time.

    settings: the run that every cell changes.
    """

    def __init__(self, settings: RunConfig, watch: Watch) -> None:
        self._settings = settings
        self._watch = watch
        self._prepared: dict[tuple[object, ...], Prepared] = {}
        self._loaded: tuple[tuple[object, ...], LoadedModel] | None = None

    def identify(self, overrides: Overrides, seed: int) -> Identity:
        prepared = self._prepare(overrides, seed)
        plan = prepared.plan
        return identity_of(settings_of(prepared), prepared.config.load, plan, plan.fingerprint())

    def measure(self, overrides: Overrides, seed: int) -> Measured:
        prepared = self._prepare(overrides, seed)
        return measure(prepared, self._watch, self._weights(prepared))

    def _prepare(self, overrides: Overrides, seed: int) -> Prepared:
        """Once a cell: by the time it runs, loaded weights would have changed what memory is free,
        and with it the KV memory it is given by default."""
        key = (*overrides.items(), seed)
        if key not in self._prepared:
            engine = with_choices(self._settings.engine, **overrides)
            fresh = prepare(replace(self._settings, engine=engine, seed=seed), self._watch)
            self._prepared[key] = self._sharing(fresh)
        return self._prepared[key]

    def _sharing(self, fresh: Prepared) -> Prepared:
        """Cells that are sent the same requests keep them in memory once."""
        for other in self._prepared.values():
            if other.plan == fresh.plan:
                return replace(
                    fresh,
                    plan=other.plan,
                    warmup=other.warmup,
                    corpus_token_ids=other.corpus_token_ids,
                )
        return fresh

    def _weights(self, prepared: Prepared) -> LoadedModel:
        settings = vars(prepared.engine).items()
        key = tuple(value for name, value in settings if name not in _AROUND_WEIGHTS)
        if self._loaded is None or self._loaded[0] != key:
            self._loaded = None  # before the next is loaded: both may not fit
            self._loaded = (key, load(prepared, self._watch))
        return self._loaded[1]
