"""Greedy steps that compute the logits that may be the largest and find it on the way, beside the
same with all of them.

Both take turns, step by step, on the same weights: `kernels/native/screen.py`. With eight sequences
all logits are computed either way.
"""

from __future__ import annotations

from dataclasses import replace
from statistics import median
from typing import Any

import pytest
import torch
from llmbench.engines.config import engine_config
from llmbench.engines.models.catalogue import ModelFiles
from llmbench.engines.models.decoder import Decoder
from llmbench.engines.resolve import resolve
from llmbench.harness.bench.cases import Case
from llmbench.harness.bench.engine_turns import Side, time_by_turns
from torch import Tensor

ROUNDS = 6


class AllLogits:
    """A model that is never told that the argmax alone is wanted."""

    def __init__(self, model: Decoder) -> None:
        self._model = model

    def __getattr__(self, name: str) -> Any:
        return getattr(self._model, name)

    def forward(self, *arguments: Any) -> Tensor:
        *others, _likeliest = arguments
        return self._model.forward(*others)


class Counting(AllLogits):
    """A model whose logits are counted where there are any."""

    def __init__(self, model: Decoder) -> None:
        super().__init__(model)
        self.computed: list[float] = []

    def forward(self, *arguments: Any) -> Tensor:
        logits = self._model.forward(*arguments)
        if len(logits):
            self.computed.append(float((logits != -torch.inf).sum(1).float().mean()))
        return logits


@pytest.mark.benchmark(group="argmax alone")
@pytest.mark.parametrize("sequences", [1, 2, 4, 8])
@pytest.mark.parametrize("method", ["none", "rtn"])
def test_greedy_steps(benchmark, files: ModelFiles, method: str, sequences: int) -> None:
    asked = engine_config("paged", dtype="bfloat16", device="cpu", quant=method)
    screened, whole, counted = (Side(files, resolve(asked, files)) for _ in range(3))
    screened.load(lambda _: None)
    loaded = screened.loaded
    whole.loaded = replace(loaded, model=AllLogits(loaded.model))
    counted.loaded = replace(loaded, model=(counting := Counting(loaded.model)))
    case = Case("decode", sequences, 128)
    taken: list[list[float]] = [[], []]
    for seed in range(ROUNDS):
        for times, one in zip(taken, time_by_turns(case, [screened, whole], seed), strict=True):
            times += one.durations_s
    time_by_turns(case, [counted], 0)
    ratios = [theirs / ours for ours, theirs in zip(*taken, strict=True)]
    found = benchmark.extra_info[method] = {
        "argmax_alone_ms": round(1e3 * median(taken[0]), 2),
        "all_logits_ms": round(1e3 * median(taken[1]), 2),
        "speed_up": round(median(ratios), 2),
        "logits_a_row": median(counting.computed),
    }
    print(f"\n{method}, {sequences}: {found}")
    benchmark.pedantic(time_by_turns, args=(case, [screened], 0), rounds=1, iterations=1)
