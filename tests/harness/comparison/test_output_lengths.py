"""Two runs whose replies a model could end, and that are therefore not of the same work."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from llmbench.harness.comparison.compare import compare
from llmbench.harness.comparison.observed import Observed
from llmbench.harness.comparison.output_lengths import length_warnings, other_work
from llmbench.harness.comparison.pairing import place_of
from llmbench.harness.comparison.quantities import QUANTITIES, SAME
from llmbench.harness.gate.rules import parse_rule
from llmbench.harness.gate.runs import gate
from llmbench.harness.repeats.compare import compare_repeats
from llmbench.harness.repeats.gate import gate_repeats
from llmbench.harness.result import Target
from llmbench.harness.storage.store import StoredRun

from ..observed import serve_in_turn
from ..stored import stored_run
from .in_turn import repeated, verdicts_of

OF_LENGTHS = ("output_throughput.window", "request_throughput.window", "e2el.mean", "e2el.p50")
OF_TOKENS = ("ttft.mean", "tpot.mean", "itl.p50")


def served(
    output_tokens: int,
    lengths: str = "at-most",
    *,
    slower: float = 1.0,
    seed: int = 1,
    fingerprint: str = "f" * 64,
) -> StoredRun:
    """A server in a closed loop of one, as quick a token whatever the lengths of its replies."""
    rng = np.random.default_rng(seed)
    step_s = slower * 0.01
    steps = serve_in_turn(
        150, output_tokens=output_tokens, step_s=lambda: float(step_s * rng.lognormal(0, 0.1))
    )
    label = f"{output_tokens} {lengths} {seed}"
    run = stored_run(*steps, label=label, config={"seed": seed}, fingerprint=fingerprint)
    target = Target(
        server="openai",
        owner="",
        base_url="http://box:80",
        endpoint="chat",
        prompt_as="text",
        output_lengths=lengths,  # pyright: ignore[reportArgumentType]
        counted={},
        errors={},
    )
    return replace(run, result=run.result.model_copy(update={"target": target}))


@pytest.mark.parametrize(
    ("before", "after"),
    [((40, "at-most"), (30, "at-most")), ((40, "exact"), (30, "at-most"))],
    ids=["both", "one of them"],
)
def test_what_is_of_lengths_is_not_decided_where_lengths_differ(
    before: tuple[int, str], after: tuple[int, str]
) -> None:
    runs = [served(*before), served(*after, slower=1.5)]
    verdicts = verdicts_of(*runs)
    assert {verdicts[name] for name in OF_LENGTHS} == {"inconclusive"}
    assert {verdicts[name] for name in OF_TOKENS} == {"worse"}
    told = "40 / 30 tokens on average: throughput and E2EL are not of the same work"
    (warning,) = [one for one in compare(runs).warnings if one.endswith(told)]
    assert runs[1].result.label in warning
    assert (runs[0].result.label in warning) == (before[1] == "at-most")

    outcome = gate(runs[0], runs[1], [parse_rule("e2el.mean=5%"), parse_rule("tpot.mean=20%")])
    assert [row.verdict for row in outcome.rows] == ["inconclusive", "regressed"]
    assert "replies had 40 / 30 tokens on average" in outcome.rows[0].note
    assert any(one.endswith(told) for one in outcome.warnings)


def test_repeated_runs_are_not_of_the_same_work_either() -> None:
    sides = [
        repeated(name, *(served(tokens, seed=seed, fingerprint=f"{seed}" * 64) for seed in (1, 2)))
        for name, tokens in (("a", 40), ("b", 30))
    ]
    compared = compare_repeats(sides)
    verdicts = [
        one.ratios[1].verdict for one in compared.rows if one.ratios[1] and one.name in OF_LENGTHS
    ]
    assert set(verdicts) == {"inconclusive"}
    assert any("not of the same work" in one for one in compared.warnings)
    outcome = gate_repeats(sides[0], sides[1], [parse_rule("e2el.mean=5%")])
    assert outcome.rows[0].verdict == "inconclusive"
    assert any("not of the same work" in one for one in outcome.warnings)


def test_replies_as_long_are_compared_as_ever() -> None:
    runs = [served(40), served(40, "exact", slower=1.5)]
    verdicts = verdicts_of(*runs)
    assert {verdicts[name] for name in OF_LENGTHS} == {"worse"}
    assert not any("same work" in one for one in compare(runs).warnings)


def test_lengths_that_no_model_chose_are_no_matter_of_ours() -> None:
    """Of exact runs a reply of another length makes the run invalid."""
    runs = [served(40, "exact"), served(30, "exact")]
    assert not other_work("e2el", runs[0].result, runs[1].result)
    assert not list(length_warnings("ab", [one.result for one in runs]))


def with_tokens(run: StoredRun, tokens: int) -> StoredRun:
    counters = run.result.counters.model_copy(update={"output_tokens": tokens})
    return replace(run, result=run.result.model_copy(update={"counters": counters}))


def test_a_little_is_warned_of_and_decided() -> None:
    """Two runs of one server differ by a token here and there: rounding depends on the batch."""
    base = served(40)
    near, far = (with_tokens(base, round(6000 * (1 + share))) for share in (SAME / 2, 2 * SAME))
    assert not other_work("e2el", base.result, near.result)
    assert other_work("e2el", base.result, far.result)
    assert not other_work("ttft", base.result, far.result)
    assert list(length_warnings("ab", [base.result, near.result]))


def test_of_other_requests_lengths_differ_by_chance() -> None:
    one, other = served(40), served(30, fingerprint="e" * 64)
    assert not other_work("e2el", one.result, other.result)
    assert list(length_warnings("ab", [one.result, other.result]))
    assert other_work("e2el", served(40, "exact").result, other.result)


def test_equal_shares_of_tokens_are_not_of_the_same_requests() -> None:
    """In a closed loop rates are paired by them."""
    rate = QUANTITIES["output_throughput.window"]
    places = [place_of(Observed(served(40, one), "a"), rate) for one in ("exact", "at-most")]
    assert [one is None for one in places] == [False, True]
