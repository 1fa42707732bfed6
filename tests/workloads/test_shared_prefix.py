"""Prompts that begin alike, and several replies to one prompt."""

from __future__ import annotations

import pytest
from llmbench.workloads.api import LengthLimits, WorkloadError, plan_workload
from llmbench.workloads.builtin import resolve_workload
from llmbench.workloads.overrides import with_overrides
from llmbench.workloads.prompts import cut_prompts

CORPUS = tuple(range(100, 160))


def test_the_front_of_every_prompt_is_the_front_of_the_corpus() -> None:
    long, short = cut_prompts(CORPUS, [10, 20], [6, 3], shared_tokens=4)
    assert long == (100, 101, 102, 103, 114, 115)
    # Not longer than the prefix: all but its own last token.
    assert short == (100, 101, 122)


def test_lengths_do_not_change() -> None:
    plain = cut_prompts(CORPUS, range(9), range(1, 10))
    shared = cut_prompts(CORPUS, range(9), range(1, 10), shared_tokens=5)
    assert [len(prompt) for prompt in shared] == [len(prompt) for prompt in plain]
    assert [prompt[-1] for prompt in shared] == [prompt[-1] for prompt in plain]


def test_a_command_line_sets_both() -> None:
    spec = with_overrides(
        resolve_workload("fixed"), num_requests=3, samples=2, shared_prefix_tokens=7
    )
    limits = LengthLimits(None, None, 4096)
    plan = plan_workload(spec, seed=1, corpus_token_ids=CORPUS * 9, limits=limits)
    assert [request.samples for request in plan.requests] == [2, 2, 2]
    assert len({tuple(request.prompt_token_ids[:7]) for request in plan.requests}) == 1
    assert len({tuple(request.prompt_token_ids) for request in plan.requests}) == 3
    assert plan.description["samples"] == 2


@pytest.mark.parametrize(
    ("setting", "field"),
    [({"samples": 0}, "samples"), ({"shared_prefix_tokens": -1}, "shared_prefix_tokens")],
)
def test_wrong_settings_name_their_field(setting: dict[str, int], field: str) -> None:
    with pytest.raises(WorkloadError, match=field):
        with_overrides(resolve_workload("fixed"), **setting)  # pyright: ignore[reportArgumentType]
