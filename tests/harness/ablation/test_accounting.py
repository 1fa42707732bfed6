"""Where time went, on schedules small enough to count by hand."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from llmbench.engines.trace import StepTrace
from llmbench.harness.ablation.accounting import Account, account
from llmbench.harness.record import RequestRecord
from llmbench.harness.summarise import records_of, steps_frame

from ..observed import make_request, make_step
from .virtual import VirtualCells

PARTS = ("queue_s", "prefill_s", "decode_s", "interference_s", "preemption_s")


def _account(requests: Sequence[RequestRecord], steps: Sequence[StepTrace]) -> Account:
    return account(requests, steps_frame(requests, steps))


def _parts(found: Account, at: int) -> list[float]:
    return [float(getattr(found, name)[at]) for name in PARTS]


def test_a_prompt_that_takes_a_step_of_its_own_makes_others_wait() -> None:
    """a: due 0, first computed at 1, first token at 2; then b's prompt takes 3 s alone, and a's
    second token comes 1 s after it."""
    requests = [
        make_request([2.0, 6.0, 7.0], index=0, due_s=0.0, scheduled_s=1.0),
        make_request([5.0, 6.0, 7.0], index=1, due_s=1.5, scheduled_s=2.0, input_tokens=30),
    ]
    steps = [
        make_step([("r0", "prefill", 0, 4)], index=0, start_s=1.0, end_s=2.0),
        make_step([("r1", "prefill", 0, 30)], index=1, start_s=2.0, end_s=5.0),
        make_step(
            [("r0", "decode", 4, 1), ("r1", "decode", 30, 1)], index=2, start_s=5.0, end_s=6.0
        ),
        make_step(
            [("r0", "decode", 5, 1), ("r1", "decode", 31, 1)], index=3, start_s=6.0, end_s=7.0
        ),
    ]

    found = _account(requests, steps)

    assert _parts(found, 0) == [1.0, 1.0, 2.0, 3.0, 0.0]
    assert _parts(found, 1) == [0.5, 3.0, 2.0, 0.0, 0.0]
    assert list(found.gaps) == [2, 2]
    assert list(found.spanned) == [1, 0]


def test_a_prompt_in_the_same_step_adds_what_decodes_alone_would_not_take() -> None:
    """Decode-only steps of one and two requests take 1 and 2 s, so the line through them is exact:
    the step of two decodes and a prompt that takes 5 s was 3 s longer for the prompt."""
    steps, times_s, other_s, now_s = [], [1.0], [2.0], 0.0

    def step(chunks: list, duration_s: float) -> None:
        nonlocal now_s
        steps.append(make_step(chunks, index=len(steps), start_s=now_s, end_s=now_s + duration_s))
        now_s += duration_s

    step([("r0", "prefill", 0, 4)], 1.0)
    step([("r1", "prefill", 0, 4)], 1.0)
    for at in range(6):
        step([("r0", "decode", 4 + at, 1)], 1.0)
        times_s.append(now_s)
    for at in range(6):
        step([("r0", "decode", 10 + at, 1), ("r1", "decode", 4 + at, 1)], 2.0)
        times_s.append(now_s)
        other_s.append(now_s)
    step([("r2", "prefill", 0, 9), ("r0", "decode", 16, 1), ("r1", "decode", 10, 1)], 5.0)
    times_s.append(now_s)
    other_s.append(now_s)
    requests = [
        make_request(times_s, index=0, scheduled_s=0.0),
        make_request(other_s, index=1, scheduled_s=1.0),
        make_request([now_s], index=2, scheduled_s=now_s - 5.0, input_tokens=9),
    ]

    found = _account(requests, steps)

    # r0 also waited 1 s for r1's prompt before its second token.
    assert found.interference_s == pytest.approx([1.0 + 3.0, 3.0, 0.0])
    assert found.preemption_s[1] == pytest.approx(6.0), "r1 stood still while r0 decoded six times"
    assert found.decode_s == pytest.approx([6.0 + 12.0 + 2.0, 12.0 + 2.0, 0.0])


def test_too_few_decodes_for_a_line_share_a_step_by_tokens() -> None:
    requests = [
        make_request([1.0, 5.0], index=0, scheduled_s=0.0),
        make_request([5.0], index=1, scheduled_s=1.0, input_tokens=3),
    ]
    steps = [
        make_step([("r0", "prefill", 0, 4)], index=0, start_s=0.0, end_s=1.0),
        make_step(
            [("r1", "prefill", 0, 3), ("r0", "decode", 4, 1)], index=1, start_s=1.0, end_s=5.0
        ),
    ]
    found = _account(requests, steps)
    assert found.interference_s[0] == pytest.approx(3.0), "three of four tokens of 4 s"


def test_a_gap_with_a_recompute_is_preemption_whole() -> None:
    first = make_request([1.0, 6.0, 7.0], index=0, scheduled_s=0.0)
    requests = [
        replace(first, preemptions=1, recomputed_tokens=5),
        make_request([2.0, 3.0], index=1, scheduled_s=1.0),
    ]
    steps = [
        make_step([("r0", "prefill", 0, 4)], index=0, start_s=0.0, end_s=1.0),
        make_step([("r1", "prefill", 0, 4)], index=1, start_s=1.0, end_s=2.0, preempted=("r0",)),
        make_step([("r1", "decode", 4, 1)], index=2, start_s=2.0, end_s=3.0),
        make_step([("r0", "prefill", 0, 5)], index=3, start_s=3.0, end_s=6.0, recomputed_tokens=4),
        make_step([("r0", "decode", 5, 1)], index=4, start_s=6.0, end_s=7.0),
    ]
    found = _account(requests, steps)
    assert _parts(found, 0) == [0.0, 1.0, 1.0, 0.0, 5.0]
    assert list(found.spanned) == [0, 0]


@pytest.mark.parametrize("batching", ["separate", "unified", "inflight", "sarathi", "static"])
@pytest.mark.parametrize("kv", ["paged", "contiguous"])
def test_the_parts_are_the_whole_latency_under_every_policy(batching: str, kv: str) -> None:
    runner = VirtualCells(count=60, max_num_seqs=24, pool_tokens=768)
    admission = "reserve" if batching == "static" else "optimistic"
    run = runner.measure({"batching": batching, "kv": kv, "admission": admission}, seed=3)
    records = records_of(run.requests)
    found = account(records, run.steps)

    e2el_s = [one.token_times_s[-1] - one.t_due_s for one in records]
    assert sum(getattr(found, name) for name in PARTS) == pytest.approx(np.array(e2el_s))
    assert all((getattr(found, name) >= -1e-9).all() for name in PARTS)
    if (batching, kv) == ("separate", "paged"):
        assert (run.result.counters.preemptions or 0) > 0
        assert found.preemption_s.sum() > 0
    if batching == "separate":
        assert found.interference_s.sum() > 0
