"""What differs between the environments of runs is said once, and as short as tells it."""

from __future__ import annotations

import pytest
from llmbench.harness.comparison.comparability import (
    differences,
    environment_differences,
    launches,
)
from llmbench.harness.result import Result

from ..observed import serve_in_turn
from ..stored import stored_run


def test_values_that_follow_each_other_are_said_once_and_commits_by_their_beginning() -> None:
    commits = ["74fd23d38802604a2abef66b3189784fd76c9a5a"] * 2
    commits += ["fd976775f0ee6659d1a233c37901941f7fee6ee6"]
    commits += ["9e1a69085a782c6ff38ce4efd759ba41b6fab0e1"] * 3
    found = environment_differences([{"git": {"commit": one}} for one in commits])
    told = "74fd23d38802 (2 runs) / fd976775f0ee / 9e1a69085a78 (3 runs)"
    assert found == [f"the environments differ in llmbench commit: {told}"]


def test_the_order_of_runs_is_kept() -> None:
    found = environment_differences([{"python": one} for one in ("3.11", "3.12", "3.11")])
    assert found == ["the environments differ in Python: 3.11 / 3.12 / 3.11"]


def test_what_is_the_same_or_left_out_is_not_said() -> None:
    environments = [{"python": "3.11", "gpus": [one]} for one in ("H100", "H200")]
    assert environment_differences(environments, without=["GPUs"]) == []


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
    found = launches("abc", runs)
    assert [text.partition(":")[0] for text in found] == told
    assert set(found) <= set(differences("abc", runs))
