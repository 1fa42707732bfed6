"""What a run may find in a prefix cache, and what only an earlier run can have left there."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from llmbench.engines.trace import Chunks, StepTrace
from llmbench.harness.run.drive import drive
from llmbench.harness.run.planning import asked_of
from llmbench.harness.run.warm_cache import check_prefix_cache
from llmbench.reports.format import count
from llmbench.workloads.api import Plan, PlannedRequest

from ...engines.drive import CountingExecutor, make_core
from ..observed import make_step


def hits(**tokens: int) -> list[StepTrace]:
    """A step a request, whose prompt was found in the cache so far."""
    steps = []
    for name, cached in tokens.items():
        step = make_step([(name, "prefill", cached, 4)])
        chunk = step.chunks[0]._replace(cached_tokens=cached)
        steps.append(replace(step, chunks=Chunks.of([chunk])))
    return steps


def test_what_another_request_begins_with_may_be_found() -> None:
    shared = tuple(range(100, 132))
    prompts = {"r0": (*shared, 1, 2), "r1": (*shared, 3, 4), "r2": (*shared, 1, 2)}
    check = check_prefix_cache(hits(r1=32, r2=34), prompts)
    assert check.ok
    assert check.value == 0.0
    assert check.detail == "66 of 102 prompt tokens were found in the prefix cache"


def test_tokens_are_grouped_as_elsewhere() -> None:
    detail = check_prefix_cache([], {"r0": tuple(range(4774))}).detail
    assert detail == f"0 of {count(4774)} prompt tokens were found in the prefix cache"


def test_what_no_other_request_begins_with_was_there_before() -> None:
    prompts = {"r0": tuple(range(40)), "r1": (*range(8), *range(90, 122))}
    check = check_prefix_cache(hits(r0=32, r1=8), prompts)
    assert (check.ok, check.fatal) == (False, True)
    assert check.value == pytest.approx(24 / 80)
    assert check.detail.endswith(
        "40 of 80 prompt tokens were found in the prefix cache, 24 of them in no other prompt of "
        "the run: it was warm before"
    )


def test_what_was_sent_must_be_known() -> None:
    assert check_prefix_cache(hits(r0=32), None).ok


@pytest.mark.parametrize("shared", [0, 24])
def test_the_second_run_of_one_engine_is_seen(shared: int) -> None:
    """The real step loop and its cache: the first run is cold, the same requests again are not."""
    core = make_core(
        "unified", pool_tokens=4096, max_model_len=64, kv_options={"prefix_cache": True}
    )
    executor = core._executor
    assert isinstance(executor, CountingExecutor)
    rng = np.random.default_rng()
    same = rng.integers(1, 1000, shared).tolist()
    plan = Plan(
        tuple(
            PlannedRequest(i, None, (*same, *rng.integers(1000, 50_000, 24).tolist()), 3)
            for i in range(12)
        ),
        4,
    )
    cold, warm = (
        check_prefix_cache(drive(core, executor.clock, plan).steps, asked_of(plan).prompts)
        for _ in range(2)
    )
    assert cold.ok, cold.detail
    assert cold.detail.startswith("0 of") is (shared == 0)
    assert not warm.ok, warm.detail
