"""The work of steps as their traces tell it, against counts made by hand."""

from __future__ import annotations

from llmbench.engines.trace import Chunks, ChunkTrace, Phase
from llmbench.harness.run.step_work import works_of


def test_the_work_of_a_step_is_read_from_its_trace() -> None:
    rows = [ChunkTrace("a", "prefill", 16, 8), ChunkTrace("b", "decode", 99, 1)]
    (work,) = works_of([Chunks.of(rows)])
    assert (work.prefill_tokens, work.decode_tokens, work.sampled_rows) == (8, 1, 2)
    assert work.prefill_pairs == sum(range(17, 25))
    assert (work.prefill_context_tokens, work.decode_context_tokens) == (24, 100)
    (bounded,) = works_of([Chunks.of(rows)], window=10)
    assert bounded.decode_context_tokens == 10


def test_only_the_chunk_that_ends_a_prompt_samples() -> None:
    """a in three chunks, the last beside a decode of b, which was whole in the first step."""
    steps: list[list[tuple[str, Phase, int, int]]] = [
        [("a", "prefill", 0, 4), ("b", "prefill", 0, 2)],
        [("a", "prefill", 4, 4)],
        [("a", "prefill", 8, 1), ("b", "decode", 2, 1)],
        [("b", "decode", 3, 1), ("a", "decode", 9, 1)],
    ]
    works = works_of([Chunks.of(ChunkTrace(*row) for row in rows) for rows in steps])
    assert [work.sampled_rows for work in works] == [1, 0, 2, 2]


def test_a_reply_of_one_token_is_sampled_by_its_prompt() -> None:
    (work,) = works_of([Chunks.of([ChunkTrace("a", "prefill", 0, 5)])])
    assert work.sampled_rows == 1
