"""Cells served by the real policies on a clock that a formula moves: no model, no noise."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from llmbench.engines.core import EngineCore
from llmbench.engines.errors import ConfigError
from llmbench.engines.executors.base import StepResult
from llmbench.engines.kv.base import KVPlacement, Move
from llmbench.engines.step import Limits, StepPlan
from llmbench.engines.strategy import Strategy
from llmbench.engines.trace import PhaseTimes
from llmbench.harness.cells.identity import Identity
from llmbench.harness.run.drive import drive
from llmbench.harness.run.experiment import Measured
from llmbench.workloads.api import Plan, PlannedRequest

from ...engines.drive import ADMISSION, BATCHING, StepClock, make_kv
from ..stored import stored_run

LENGTH = 256
MIXED = "sarathi"  # whose way of mixing stands for `mixed`
# Memory for eight requests of the model's length: a contiguous cache holds no more.
POOL_TOKENS = 8 * LENGTH


@dataclass
class FormulaExecutor:
    """A step takes 4 ms, 0.1 ms more for each prompt token and 0.2 ms for each decode."""

    clock: StepClock = field(default_factory=StepClock)

    def execute(self, plan: StepPlan, kv: KVPlacement, moves: Sequence[Move]) -> StepResult:
        del kv, moves
        prompts = sum(chunk.length for chunk in plan.prefills)
        step_s = 0.004 + 0.0001 * prompts + 0.0002 * len(plan.decodes)
        self.clock.time_s += step_s
        sampled = tuple(1 for chunk in plan.chunks if chunk.reaches_tail)
        return StepResult(sampled, PhaseTimes(linear_s=step_s))


def make_plan(count: int, seed: int, rate_per_s: float = 40.0) -> Plan:
    rng = np.random.default_rng(seed)
    due_s = np.cumsum(rng.exponential(1 / rate_per_s, count))
    inputs, outputs = rng.integers(10, 90, count), rng.integers(4, 60, count)
    return Plan(
        tuple(
            PlannedRequest(at, float(due_s[at]), tuple(range(inputs[at])), int(outputs[at]))
            for at in range(count)
        ),
        None,
    )


@dataclass
class VirtualCells:
    """A `CellRunner`.

    served: names of the cells, in the order they were run. raises: what is thrown instead of
    serving, by cell name. invalid: cells whose runs are whole, but not to be believed.
    """

    count: int = 320
    max_num_seqs: int = 32
    pool_tokens: int = POOL_TOKENS
    settings: Mapping[str, Any] = field(default_factory=dict)
    served: list[str] = field(default_factory=list)
    raises: dict[str, BaseException] = field(default_factory=dict)
    invalid: set[str] = field(default_factory=set)

    def identify(self, overrides: Mapping[str, Any], seed: int) -> Identity:
        if overrides.get("batching") == "static" and overrides.get("admission") == "optimistic":
            raise ConfigError("admission", "optimistic", "reserve under static batching")
        return Identity(self._config(overrides, seed), make_plan(self.count, seed).fingerprint())

    def measure(self, overrides: Mapping[str, Any], seed: int) -> Measured:
        name = ",".join(f"{axis}={level}" for axis, level in overrides.items())
        self.served.append(name)
        if name in self.raises:
            raise self.raises[name]
        plan = make_plan(self.count, seed)
        executor = FormulaExecutor()
        config = self._config(overrides, seed)
        strategy = Strategy(
            BATCHING[MIXED if config["batching"] == "mixed" else config["batching"]](),
            ADMISSION[config["admission"]](),
            make_kv(config["kv"], self.pool_tokens, LENGTH, 16),
            Limits(self.max_num_seqs, 512, LENGTH),
        )
        seen = drive(EngineCore(strategy, executor, executor.clock), executor.clock, plan)
        run = stored_run(
            seen.records,
            seen.steps,
            label=name,
            fingerprint=plan.fingerprint(),
            config=config,
            interrupted=name in self.invalid,
        )
        result = run.result
        if name in self.invalid:
            result = result.model_copy(update={"status": "complete"})
        return Measured(result, run.requests, run.steps)

    def _config(self, overrides: Mapping[str, Any], seed: int) -> dict[str, Any]:
        return {
            "batching": "separate",
            "admission": "optimistic",
            "kv": "paged",
            "max_num_seqs": self.max_num_seqs,
            "max_num_batched_tokens": 512,
            "dtype": "none",
            "device": "a formula",
            **self.settings,
            **overrides,
            "seed": seed,
        }
