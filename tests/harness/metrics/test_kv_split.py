"""The fast split of a whole run against the definition of one step, on real schedules."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from llmbench.engines.kv.usage import split
from llmbench.engines.trace import Holding, Holdings
from llmbench.harness.metrics.kv import final_kv_tokens, split_steps
from llmbench.harness.run.drive import drive
from llmbench.workloads.api import Plan, PlannedRequest

from ...engines.drive import CountingExecutor, make_core
from ..observed import make_step

lengths = st.tuples(st.integers(1, 16), st.integers(1, 12), st.sampled_from([1, 1, 2]))


@pytest.mark.parametrize("kv", ["paged", "contiguous"])
@pytest.mark.parametrize("batching", ["separate", "unified", "inflight"])
@settings(max_examples=25, deadline=None)
@given(load=st.lists(lengths, min_size=1, max_size=6))
def test_all_steps_at_once_are_each_step_by_itself(batching, kv, load) -> None:
    core = make_core(batching, "optimistic", kv, pool_tokens=64)
    assert isinstance(core._executor, CountingExecutor)
    plan = Plan(
        tuple(
            PlannedRequest(index, 0.0, tuple(range(prompt)), output, samples)
            for index, (prompt, output, samples) in enumerate(load)
        ),
        None,
    )
    seen = drive(core, core._executor.clock, plan)
    final = final_kv_tokens(seen.records, seen.steps)
    assert split_steps(seen.records, seen.steps) == tuple(
        split(step.kv, final) for step in seen.steps
    )


def test_no_steps_have_no_splits() -> None:
    assert split_steps([], []) == ()
    assert split_steps([], [make_step([])])[0].useful_tokens == 0


def test_a_contradiction_is_found_here_too() -> None:
    step = make_step([], holdings=(Holding("r0", 30, 20),))
    assert isinstance(step.kv.holdings, Holdings)
    with pytest.raises(ValueError, match="r0: 30 tokens used, but 20 held"):
        split_steps([], [step])
