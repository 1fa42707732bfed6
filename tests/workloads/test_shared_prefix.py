"""Prompts that begin alike, and several replies to one prompt."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from llmbench.workloads.api import LengthLimits, WorkloadError, plan_workload
from llmbench.workloads.builtin import resolve_workload
from llmbench.workloads.load import parse_spec
from llmbench.workloads.overrides import with_overrides
from llmbench.workloads.prefixes import SharedPrefixes, corpus_prefix
from llmbench.workloads.spec import CorpusPrompts

CORPUS = tuple(range(100, 160))


def put(length: int, tokens: int, prompt: tuple[int, ...] = ()) -> tuple[int, ...]:
    prompts = CorpusPrompts(shared_prefix_tokens=tokens)
    rng = np.random.default_rng(0)
    prefixes = SharedPrefixes(prompts, 1, rng, corpus_prefix(CORPUS))
    return prefixes.put(0, prompt or tuple(range(length)))


def test_the_front_of_every_prompt_is_the_front_of_the_corpus() -> None:
    assert put(6, 4) == (100, 101, 102, 103, 4, 5)
    # Not longer than the prefix: all but its own last token.
    assert put(3, 4) == (100, 101, 2)


@pytest.mark.parametrize("length", range(1, 10))
def test_lengths_do_not_change(length: int) -> None:
    assert len(put(length, 5)) == length
    assert put(length, 5)[-1] == length - 1
    assert put(length, 0) == tuple(range(length))


def planned(kind: str, n: int = 2000, **prompts: object) -> list[tuple[int, ...]]:
    tokens = {"kind": "fixed", "tokens": 12}
    spec = parse_spec(
        {
            "num_requests": n,
            "arrivals": {"kind": "at_once"},
            "lengths": {"kind": "sampled", "input": tokens, "output": tokens},
            "prompts": {"kind": kind, **prompts},
        }
    )
    corpus = np.random.default_rng(3).integers(900, size=5000)
    plan = plan_workload(
        spec,
        seed=5,
        corpus_token_ids=corpus.tolist(),
        limits=LengthLimits(None, None, 99),
        vocab_size=900,
    )
    return [tuple(one.prompt_token_ids) for one in plan.requests]


@pytest.mark.parametrize("kind", ["corpus", "random"])
def test_so_many_prefixes_are_used_by_so_many_prompts(kind: str) -> None:
    """Binomial shares, within four standard deviations: 30 % have one, a quarter of them each."""
    shared = {
        "shared_prefix_tokens": 9,
        "shared_prefix_count": 4,
        "shared_prefix_ratio": 0.3,
    }
    heads = Counter(prompt[:9] for prompt in planned(kind, **shared))
    common = [count for _, count in heads.most_common(4)]
    assert sum(common) == pytest.approx(600, abs=4 * (2000 * 0.3 * 0.7) ** 0.5)
    for count in common:
        assert count == pytest.approx(150, abs=4 * (2000 * 0.075 * 0.925) ** 0.5)
    assert len(heads) == 4 + 2000 - sum(common)


@pytest.mark.parametrize("kind", ["corpus", "random"])
def test_what_is_not_shared_stays_as_it_was(kind: str) -> None:
    shared = planned(kind, shared_prefix_tokens=9, shared_prefix_count=3, shared_prefix_ratio=0.5)
    for one, plain in zip(shared, planned(kind), strict=True):
        assert one[9:] == plain[9:]
    assert any(one == plain for one, plain in zip(shared, planned(kind), strict=True))


@pytest.mark.parametrize("kind", ["corpus", "random"])
def test_how_many_prefixes_there_are_says_nothing_of_who_has_one(kind: str) -> None:
    """Known wrong here for random prompts: other ones for each number of prefixes."""
    plain = planned(kind, 50)

    def without(count: int) -> list[bool]:
        shared = planned(
            kind,
            50,
            shared_prefix_tokens=9,
            shared_prefix_count=count,
            shared_prefix_ratio=0.5,
        )
        return [one == other for one, other in zip(shared, plain, strict=True)]

    assert without(2) == without(3) == without(4)


def test_prefixes_that_cannot_differ_are_refused() -> None:
    with pytest.raises(WorkloadError, match="shared_prefix_count: 1000 is not allowed; expected"):
        planned("random", shared_prefix_tokens=1, shared_prefix_count=1000)


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
