"""A model whose work is counted: what its steps cost on one device."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import takewhile
from typing import TYPE_CHECKING

from ...engines.cost.work import ModelWork, model_work
from ...engines.models.config import ModelConfig

if TYPE_CHECKING:
    from ...engines.cost.weights import WeightChoice
    from ...engines.models.decoder import Decoder, DecoderConfig
    from ...engines.resolved import ResolvedEngine


# Of logits that are asked for in turn; with more an output projection is read whole.
_MOST_ROWS = 64


@dataclass(frozen=True)
class CountedModel:
    """window: of its attention, if it slides."""

    work: ModelWork
    window: int | None = None


def count_model(
    config: DecoderConfig,
    engine: ResolvedEngine,
    weights: WeightChoice,
    tensor_parallel: int = 1,
) -> CountedModel | str:
    """The model with an engine's dtype and KV cache; or why its work is not counted."""
    if not isinstance(config, ModelConfig):
        return "the work of a model that transformers computes is not counted"
    work = model_work(
        replace(config, dtype=engine.dtype),
        weights,
        tensor_parallel=tensor_parallel,
        kv_dtype=engine.kv_dtype,
    )
    return CountedModel(work, config.sliding_window)


def as_it_runs(work: ModelWork, model: Decoder) -> ModelWork:
    """The work of a model that is loaded: what its greedy steps read of the output projection."""
    greedy = [model.head_bytes(rows, True) for rows in range(1, _MOST_ROWS + 1)]
    fewer = takewhile(lambda read: read < model.head_bytes(1), greedy)
    return replace(
        work, greedy_head_bytes=tuple(min(float(read), work.head_bytes) for read in fewer)
    )
