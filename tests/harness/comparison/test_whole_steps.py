"""Runs whose steps were computed two ways are told apart, on a GPU and on a processor."""

from __future__ import annotations

import pytest
from llmbench.harness.comparison.comparability import differences
from llmbench.harness.comparison.whole_steps import whole_step_notes
from llmbench.harness.result import Result

from ..observed import serve_in_turn
from ..stored import stored_run


def replaying(replayed: int | None, steps: int = 200) -> Result:
    result = stored_run(*serve_in_turn(20, step_s=lambda: 0.01)).result
    told = {"steps": steps, "replayed_steps": replayed}
    return result.model_copy(update={"counters": result.counters.model_copy(update=told)})


@pytest.mark.parametrize(
    ("replayed", "told"),
    [
        ((190, 60, 100), ["a replayed 95 % of its steps as graphs and b 30 %"]),
        ((190, 0, None), ["a replayed 95 % of its steps as graphs and b 0 %"]),
        ((190, 175, 180), []),
        # A host computes, and launches nothing.
        ((None, None, None), []),
        ((190, None, None), []),
    ],
)
def test_runs_that_launched_their_steps_otherwise_are_told_apart(
    replayed: tuple[int | None, ...], told: list[str]
) -> None:
    runs = [replaying(one) for one in replayed]
    found = whole_step_notes("abc", runs)
    assert [text.partition(":")[0] for text in found] == told
    assert set(found) <= set(differences("abc", runs))


def computing(fused: int | None, steps: int = 200) -> Result:
    """On a processor. fused: None: none of its calls were counted."""
    calls = {} if fused is None else {"linear": {"native": 10}, "decoder_step": {"native": fused}}
    if fused == 0:
        del calls["decoder_step"]
    return replaying(None, steps).model_copy(update={"kernel_calls": calls})


@pytest.mark.parametrize(
    ("fused", "told"),
    [
        ((194, 38, 100), ["a computed 97 % of its steps in one call and b 19 %"]),
        ((194, 0, None), ["a computed 97 % of its steps in one call and b 0 %"]),
        ((194, 180, 185), []),
        ((None, None, None), []),
        ((194, None, None), []),
    ],
)
def test_runs_of_which_one_computed_its_steps_in_one_call_are_told_apart(
    fused: tuple[int | None, ...], told: list[str]
) -> None:
    """With more than 32 decodes a step, a paged cache's steps went operation by operation and a
    contiguous one's, which holds fewer, did not; the difference was put down to the cache."""
    runs = [computing(one) for one in fused]
    found = whole_step_notes("abc", runs)
    assert [text.partition(":")[0] for text in found] == told
    assert set(found) <= set(differences("abc", runs))


def test_a_gpu_and_a_processor_are_told_apart_by_more_than_that() -> None:
    on_gpu = replaying(0).model_copy(update={"kernel_calls": {"linear": {"triton": 10}}})
    assert whole_step_notes("ab", [computing(194), on_gpu]) == []
