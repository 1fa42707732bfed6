"""Mooncake: ticks told apart, prefixes shared as the ids say, and every bad line by its number."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from llmbench.workloads.api import LengthLimits, Plan, RequestShape, WorkloadError, plan_workload
from llmbench.workloads.builtin import trace_workload
from llmbench.workloads.overrides import with_overrides
from llmbench.workloads.traces import read_trace

CONVERSATION = "traces/mooncake_fast25/conversation_trace.jsonl"
LIMITS = LengthLimits(None, None, 131_072)
GOOD = '{"timestamp": 0, "input_length": 5, "output_length": 6, "hash_ids": [0]}'


@pytest.fixture
def mooncake(tmp_path: Path) -> Callable[..., Path]:
    """Writes a trace of these lines, or of rows (timestamp, input, output, ids)."""

    def write(*rows: str | tuple[int, int, int, list[int]]) -> Path:
        names = ("timestamp", "input_length", "output_length", "hash_ids")
        lines = [
            row if isinstance(row, str) else json.dumps(dict(zip(names, row, strict=True)))
            for row in rows
        ]
        path = tmp_path / "x.jsonl"
        path.write_text("\n".join(lines) + "\n", encoding="utf-8")
        return path

    return write


def test_requests_of_a_tick_are_spread_over_it(mooncake: Callable[..., Path]) -> None:
    path = mooncake(
        (1000, 1, 1, []),
        (1000, 1, 1, []),
        (1000, 1, 1, []),  # three in the 3 s to the next timestamp
        (4000, 1, 1, []),
        (4000, 1, 1, []),  # two in 2.998 s
        (6998, 1, 1, []),  # one: as it is
        (20_000, 1, 1, []),
        (20_000, 1, 1, []),  # the last: two in 3 s
    )
    assert [row.t_due_s for row in read_trace(path)] == [0, 1, 2, 3, 4.499, 5.998, 19, 20.5]


def test_times_to_the_millisecond_stay_as_they_are(mooncake: Callable[..., Path]) -> None:
    """As other tools write them. Known wrong here: three at once were spread over 2.3 s."""
    times_ms = (0, 0, 0, 0, 137, 10_000, 10_000, 10_000, 12_345)
    path = mooncake(*((time_ms, 1, 1, []) for time_ms in times_ms))
    assert [row.t_due_s for row in read_trace(path)] == [time_ms / 1e3 for time_ms in times_ms]


def test_a_row_keeps_lengths_and_block_ids(mooncake: Callable[..., Path]) -> None:
    path = mooncake((0, 1025, 7, [4, 2, 9]), (3000, 512, 0, [4]))
    assert read_trace(path) == (
        RequestShape(0.0, 1025, 7, (4, 2, 9), 512),
        RequestShape(3.0, 512, 0, (4,), 512),
    )


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("{", "is not JSON at line 2: "),
        ("[1, 2]", "has no JSON object at line 2; expected a JSON object a line"),
        ('{"timestamp": 0, "output_length": 1}', "has no input_length, hash_ids at line 2;"),
        (
            '{"timestamp": "now", "input_length": 5, "output_length": 6, "hash_ids": [0]}',
            "has 'now' in field timestamp at line 2; expected milliseconds, 0 or more",
        ),
        (
            '{"timestamp": NaN, "input_length": 5, "output_length": 6, "hash_ids": [0]}',
            "has nan in field timestamp at line 2;",
        ),
        (
            '{"timestamp": 1e308, "input_length": 5, "output_length": 6, "hash_ids": [0]}',
            "has 1e+308 in field timestamp at line 2; expected at most 1e+15",
        ),
        (
            '{"timestamp": 0, "input_length": 5.5, "output_length": 6, "hash_ids": [0]}',
            "has 5.5 in field input_length at line 2; expected a whole number of tokens",
        ),
        (
            '{"timestamp": 0, "input_length": 5, "output_length": -6, "hash_ids": [0]}',
            "has -6 in field output_length at line 2; expected 0 tokens or more",
        ),
        (
            '{"timestamp": 0, "input_length": 5, "output_length": 6, "hash_ids": ["a"]}',
            "has ['a'] in field hash_ids at line 2; expected a list of whole numbers, 0 or more",
        ),
        (
            '{"timestamp": 0, "input_length": 512, "output_length": 6, "hash_ids": [0, 1]}',
            "has 2 hash_ids at line 2; expected at most 1, the blocks of 512 tokens",
        ),
    ],
)
def test_a_bad_line_is_named(mooncake: Callable[..., Path], line: str, problem: str) -> None:
    with pytest.raises(WorkloadError) as caught:
        read_trace(mooncake(GOOD, line))
    assert problem in str(caught.value)
    assert "\n" not in str(caught.value)


def test_time_does_not_run_back(mooncake: Callable[..., Path]) -> None:
    path = mooncake((3000, 1, 1, []), (2999, 1, 1, []))
    with pytest.raises(WorkloadError, match=r"has 2999\.0 in field timestamp at line 2; expected"):
        read_trace(path)


def planned(path: Path, num_requests: int, corpus: list[int], limits: LengthLimits) -> Plan:
    spec = with_overrides(trace_workload(path), num_requests=num_requests)
    return plan_workload(spec, seed=3, corpus_token_ids=corpus, limits=limits)


def common_tokens(one: tuple[int, ...], other: tuple[int, ...]) -> int:
    """How many tokens two prompts share at the front."""
    pairs = enumerate(zip(one, other, strict=False))
    return next((at for at, (a, b) in pairs if a != b), min(len(one), len(other)))


def test_prompts_share_what_the_ids_say_and_no_more(mooncake: Callable[..., Path]) -> None:
    path = mooncake(
        (0, 1500, 1, [7, 1, 2]),
        (0, 1500, 1, [7, 1, 3]),  # two blocks with the first
        (0, 600, 1, [7]),  # one, and then words of its own
        (0, 1300, 1, [8, 1, 2]),  # none: its first block differs, the others stand elsewhere
        (0, 1100, 1, [7, 1, 2]),  # the first's, cut short
    )
    corpus = np.random.default_rng(0).integers(50, size=3000).tolist()
    prompts = [tuple(one.prompt_token_ids) for one in planned(path, 5, corpus, LIMITS).requests]
    assert [len(prompt) for prompt in prompts] == [1500, 1500, 600, 1300, 1100]
    first, second, third, fourth, fifth = prompts
    assert common_tokens(first, second) // 16 == 1024 // 16
    assert common_tokens(first, third) // 16 == 512 // 16
    assert common_tokens(first, fourth) == 0
    assert common_tokens(first, fifth) == 1100


def test_clipped_prompts_still_share_their_beginnings(mooncake: Callable[..., Path]) -> None:
    path = mooncake((0, 1500, 1, [7, 1, 2]), (0, 2000, 1, [7, 1, 3, 4]))
    plan = planned(path, 2, list(range(900)), LengthLimits(700, None, 4096))
    assert plan.requests[0].prompt_token_ids == plan.requests[1].prompt_token_ids
    assert len(plan.requests[0].prompt_token_ids) == 700


def test_a_corpus_too_poor_to_tell_blocks_apart_is_refused(mooncake: Callable[..., Path]) -> None:
    path = mooncake((0, 512, 1, [2**8]))  # eight binary digits spell up to 255
    with pytest.raises(WorkloadError, match="has 2 different tokens; expected enough of them"):
        planned(path, 1, [0, 1, 0], LIMITS)


def test_the_real_trace_has_its_published_facts(shared_data: Path) -> None:
    """Rows, rate, percentiles: published with the data."""
    trace = read_trace(shared_data / CONVERSATION)
    assert len(trace) == 12_031
    times_s = np.array([row.t_due_s for row in trace], dtype=float)
    assert times_s[0] == 0
    assert np.all(np.diff(times_s) > 0)
    assert len(trace) / times_s[-1] == pytest.approx(3.40, rel=0.005)
    for tokens, published in (
        ([row.input_tokens for row in trace], (12_035, 6_909, 27_367, 85_400)),
        ([row.output_tokens for row in trace], (343, 350, 597, 1_119)),
    ):
        found = (np.mean(tokens), *np.percentile(tokens, (50, 90, 99)))
        # The 99th percentile is published to three digits or so.
        assert found == pytest.approx(published, rel=0.001, abs=1)


def test_a_third_of_the_real_trace_is_shared(shared_data: Path) -> None:
    """37 % of the prompt tokens hit an unbounded cache: published with the data."""
    seen: set[int] = set()
    hits = tokens = 0
    for row in read_trace(shared_data / CONVERSATION):
        known = 0
        while known < len(row.prefix_block_ids) and row.prefix_block_ids[known] in seen:
            known += 1
        hits += min(known * row.prefix_block_tokens, row.input_tokens)
        tokens += row.input_tokens
        seen.update(row.prefix_block_ids)
    assert hits / tokens == pytest.approx(0.37, abs=0.005)
