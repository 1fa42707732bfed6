"""What differs between the environments of runs is said once, and as short as tells it."""

from __future__ import annotations

from llmbench.harness.comparison.comparability import environment_differences, setting_warnings

from .known_runs import known_run


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


def test_units_of_two_lengths_are_said_where_both_cut_prompts_at_units() -> None:
    """A cache of another kind has another unit, and nothing said so."""
    cutting = {"batching": "mixed", "mixing": "inflight", "chunked_prefill": True}
    runs = [
        known_run(config={**cutting, "kv": kv, "chunk_unit": unit}).result
        for kv, unit in (("contiguous", 64), ("paged", 16), ("paged", 16))
    ]
    said = "the runs cut prompts at multiples of 64 and 16 tokens, which alone changes what a step"
    assert [text[: len(said)] for text in setting_warnings(runs)] == [said]
    assert list(setting_warnings(runs[1:])) == []
    unified = known_run(config={**runs[0].config, "mixing": "unified"}).result
    assert list(setting_warnings([unified, runs[1]])) == []
