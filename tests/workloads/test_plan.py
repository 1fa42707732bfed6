"""Plans: the same seed the same bytes, streams apart, and an honest description."""

from __future__ import annotations

import hashlib
import json
import struct
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from llmbench.workloads.api import (
    LengthLimits,
    Message,
    Plan,
    PlannedRequest,
    WorkloadError,
    plan_workload,
)
from llmbench.workloads.builtin import trace_workload
from llmbench.workloads.load import parse_spec
from llmbench.workloads.overrides import with_overrides

CORPUS = tuple((7 * i * i + 3 * i) % 1009 for i in range(2000))
ROOMY = LengthLimits(None, None, 100_000)
LOGNORMAL = {"kind": "lognormal", "mu": 4.0, "sigma": 1.0, "max_tokens": 500}
SAMPLED = {"kind": "sampled", "input": LOGNORMAL, "output": LOGNORMAL, "correlation": 0.3}

ROWS = (
    "2023-11-16 18:00:00.0000000,100,10",
    "2023-11-16 18:00:01.0000000,200,20",
    "2023-11-16 18:00:03.0000000,300,30",
    "2023-11-16 18:00:07.0000000,400,40",
)


def make(seed: int = 0, n: int = 20, limits: LengthLimits = ROOMY, **arrivals: Any) -> Plan:
    arrivals = arrivals or {"kind": "poisson", "rate_per_s": 2.0}
    spec = parse_spec({"num_requests": n, "arrivals": arrivals, "lengths": SAMPLED})
    return plan_workload(spec, seed=seed, corpus_token_ids=CORPUS, limits=limits)


def due_s(plan: Plan) -> list[float | None]:
    return [request.t_due_s for request in plan.requests]


def prompts(plan: Plan) -> list[tuple[int, ...]]:
    return [tuple(request.prompt_token_ids) for request in plan.requests]


@settings(max_examples=30, deadline=None)
@given(
    seed=st.integers(0, 2**64),
    n=st.integers(1, 40),
    max_input=st.integers(1, 300),
    max_output=st.integers(1, 300),
)
def test_a_plan_repeats_keeps_its_limits_and_its_order(
    seed: int, n: int, max_input: int, max_output: int
) -> None:
    limits = LengthLimits(max_input, max_output, 600)
    plan = make(seed, n, limits)
    assert plan == make(seed, n, limits)
    assert plan.fingerprint() == make(seed, n, limits).fingerprint()
    assert [request.index for request in plan.requests] == list(range(n))
    assert due_s(plan) == sorted(due_s(plan), key=lambda due: due or 0.0)
    for request in plan.requests:
        assert 1 <= len(request.prompt_token_ids) <= max_input
        assert 1 <= request.output_tokens <= max_output


def test_a_plan_is_the_same_in_another_process() -> None:
    """No set order, hash seed or cache of this process gets in."""
    code = f"from {__name__} import make; print(make(5).fingerprint())"
    root = Path(__file__).resolve().parents[2]
    other = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=root
    )
    assert other.stdout.strip() == make(5).fingerprint()


def test_another_seed_gives_other_times_lengths_and_words() -> None:
    a, b = make(0), make(1)
    assert due_s(a) != due_s(b)
    assert [r.output_tokens for r in a.requests] != [r.output_tokens for r in b.requests]
    # A warm-up with another seed must not warm the measured prompts.
    assert not {p[:4] for p in prompts(a)} & {p[:4] for p in prompts(b)}


def test_changing_arrivals_changes_neither_lengths_nor_prompts() -> None:
    a = make()
    for arrivals in (
        {"kind": "closed_loop", "max_concurrency": 2},
        {"kind": "on_off", "on_rate_per_s": 5, "mean_on_s": 1, "mean_off_s": 1},
    ):
        b = make(**arrivals)
        assert prompts(a) == prompts(b)
        assert due_s(a) != due_s(b)


def test_changing_lengths_changes_neither_times_nor_where_prompts_begin() -> None:
    a, b = make(), make(limits=LengthLimits(5, 5, 10))
    assert due_s(a) == due_s(b)
    for long, short in zip(prompts(a), prompts(b), strict=True):
        assert short == long[: len(short)]


def test_a_longer_plan_begins_with_a_shorter_one() -> None:
    assert make(n=40).requests[:20] == make(n=20).requests


def test_fingerprint_is_of_the_documented_bytes() -> None:
    plan = Plan((PlannedRequest(0, 0.5, (3, 4), 7, samples=5),), max_concurrency=None)
    expected = b"llmbench plan 2\n" + struct.pack("<qdqqqqq", 0, 0.5, 7, 5, 2, 3, 4)
    assert plan.fingerprint() == hashlib.sha256(expected).hexdigest()


def test_fingerprint_sees_every_part_that_is_sent_and_no_name() -> None:
    def plan(
        due: float | None = 1.0,
        ids: tuple[int, ...] = (1, 2),
        out: int = 3,
        cap: int | None = None,
        name: str = "",
        samples: int = 1,
    ) -> Plan:
        request = PlannedRequest(0, due, ids, out, samples)
        return Plan((request,), cap, description={"name": name})

    same = plan().fingerprint()
    assert plan(name="x").fingerprint() == same
    others = [plan(due=None), plan(due=0.0), plan(ids=(2, 1)), plan(out=4), plan(cap=1)]
    others.append(plan(samples=2))
    assert len({same, *(other.fingerprint() for other in others)}) == 7


def test_fingerprint_sees_sessions_and_messages() -> None:
    first = PlannedRequest(0, 0.0, (1, 2), 3)

    def plan(after: int | None = 0, think_s: float = 1.0, *said: Message) -> Plan:
        later = PlannedRequest(1, None, (1, 2, 9), 3, 1, after, think_s, said)
        return Plan((first, later), None)

    one, other = Message("user", "a"), Message("system", "a")
    plans = [plan(), plan(None), plan(0, 2.0), plan(0, 1.0, one), plan(0, 1.0, other)]
    plans += [plan(0, 1.0, one, one), plan(0, 1.0, Message("user", "b"))]
    plans.append(plan(0, 1.0, Message("user", "a", name="b")))
    assert len({plan.fingerprint() for plan in plans}) == len(plans)
    # A think time that nobody waits for is not sent.
    assert plan(None, 2.0).fingerprint() == plan(None).fingerprint()


def test_description_of_an_open_loop() -> None:
    plan = make(kind="constant", rate_per_s=4.0, max_concurrency=3)
    told = json.loads(json.dumps(plan.description))
    assert plan.max_concurrency == 3
    assert told["arrivals"] == {"kind": "constant", "rate_per_s": 4.0, "max_concurrency": 3}
    assert told["request_rate_per_s"] == 4.0
    assert told["offered_rate_per_s"] == pytest.approx(4.0)
    assert told["gap_cv"] == pytest.approx(0.0, abs=1e-9)
    assert (told["name"], told["seed"], told["num_requests"]) == ("custom", 0, 20)
    lengths = sorted(len(prompt) for prompt in prompts(plan))
    assert told["input_tokens"]["mean"] == pytest.approx(sum(lengths) / 20)
    assert told["input_tokens"]["p50"] == (lengths[9] + lengths[10]) / 2
    assert told["input_tokens"]["max"] == lengths[-1]


@pytest.mark.parametrize(
    "arrivals", [{"kind": "closed_loop", "max_concurrency": 2}, {"kind": "at_once"}]
)
def test_no_rate_is_made_up(arrivals: dict[str, Any]) -> None:
    told = make(**arrivals).description
    assert told["request_rate_per_s"] is None
    assert told["offered_rate_per_s"] is None


def test_a_trace_is_replayed_row_by_row(azure_csv: Callable[..., Path]) -> None:
    spec = with_overrides(trace_workload(azure_csv(*ROWS)), num_requests=3, time_scale=0.1)
    plan = plan_workload(
        spec, seed=0, corpus_token_ids=CORPUS, limits=LengthLimits(250, None, 1000)
    )
    assert due_s(plan) == pytest.approx([0.0, 0.1, 0.3])
    assert [len(prompt) for prompt in prompts(plan)] == [100, 200, 250]
    assert [request.output_tokens for request in plan.requests] == [10, 20, 30]
    assert plan.adjustments == (
        "first 3 of 4 trace rows",
        "time scaled by 0.1",
        "input length clipped to 250 tokens for 1 of 3 requests",
    )
    assert plan.description["offered_rate_per_s"] == pytest.approx(2 / 0.3)


def test_a_traces_lengths_may_arrive_otherwise(azure_csv: Callable[..., Path]) -> None:
    spec = with_overrides(trace_workload(azure_csv(*ROWS)), request_rate=5.0)
    plan = plan_workload(spec, seed=0, corpus_token_ids=CORPUS, limits=ROOMY)
    assert [len(prompt) for prompt in prompts(plan)] == [100, 200, 300, 400]
    assert due_s(plan)[:2] != [0.0, 1.0]
    assert plan.adjustments == ("arrivals are poisson, not the workload's own replay",)


def test_rows_may_be_drawn_as_pairs(azure_csv: Callable[..., Path]) -> None:
    spec = parse_spec(
        {
            "num_requests": 200,
            "arrivals": {"kind": "at_once"},
            "lengths": {"kind": "trace", "path": azure_csv(*ROWS), "order": "sampled"},
        }
    )
    plan = plan_workload(spec, seed=0, corpus_token_ids=CORPUS, limits=ROOMY)
    pairs = {(len(r.prompt_token_ids), r.output_tokens) for r in plan.requests}
    assert pairs == {(100, 10), (200, 20), (300, 30), (400, 40)}


def test_rows_drawn_for_stages_are_as_many_as_the_stages_bring(
    azure_csv: Callable[..., Path],
) -> None:
    constant = {"arrivals": {"kind": "constant", "rate_per_s": 3}, "duration_s": 4}
    spec = parse_spec(
        {
            "arrivals": {"kind": "stages", "stages": [constant]},
            "lengths": {"kind": "trace", "path": azure_csv(*ROWS), "order": "sampled"},
        }
    )
    plan = plan_workload(spec, seed=0, corpus_token_ids=CORPUS, limits=ROOMY)
    assert due_s(plan) == pytest.approx([i / 3 for i in range(12)])


STAGE = {"arrivals": {"kind": "constant", "rate_per_s": 1}, "duration_s": 3}


@pytest.mark.parametrize(
    ("arrivals", "within_s"),
    [
        ({"kind": "linear_ramp", "start_rate_per_s": 1, "end_rate_per_s": 1, "duration_s": 20}, 20),
        ({"kind": "stages", "stages": [STAGE]}, 3),
    ],
)
def test_ramps_and_stages_take_the_rows_of_their_time(
    azure_csv: Callable[..., Path], arrivals: dict[str, Any], within_s: float
) -> None:
    """Known wrong here: all rows of a trace, long after the ramp; more than the stages bring, and
    refused."""
    path = azure_csv(*(f"2023-11-16 18:00:00.0000000,{100 + row},10" for row in range(50)))
    spec = parse_spec({"arrivals": arrivals, "lengths": {"kind": "trace", "path": path}})
    plan = plan_workload(spec, seed=0, corpus_token_ids=CORPUS, limits=ROOMY)
    assert 0 < len(plan.requests) < 50
    assert all(due is not None and due <= within_s for due in due_s(plan))
    assert plan.adjustments == (f"first {len(plan.requests)} of 50 trace rows",)


def test_a_trace_may_end_before_its_ramp(azure_csv: Callable[..., Path]) -> None:
    ramp = {"kind": "linear_ramp", "start_rate_per_s": 9, "end_rate_per_s": 9, "duration_s": 20}
    lengths = {"kind": "trace", "path": azure_csv(*ROWS)}
    spec = parse_spec({"arrivals": ramp, "lengths": lengths})
    asked = parse_spec({"arrivals": ramp, "lengths": lengths, "num_requests": 4})
    first, other = (
        plan_workload(one, seed=0, corpus_token_ids=CORPUS, limits=ROOMY) for one in (spec, asked)
    )
    assert len(first.requests) == 4
    assert first.fingerprint() == other.fingerprint()


def of_two_sessions(tmp_path: Path) -> Path:
    """Two first turns, each followed by another."""
    turns = (f'"session": "{name}", "input_tokens": 9, "output_tokens": 3' for name in "ab")
    rows = (
        f'{{"t_due_s": {at}, {turn}}}\n{{"t_due_s": null, "think_s": 1, {turn}}}\n'
        for at, turn in enumerate(turns)
    )
    (tmp_path / "t.jsonl").write_text("".join(rows))
    return tmp_path / "t.jsonl"


def test_stages_begin_as_many_sessions_of_a_trace_as_they_bring(tmp_path: Path) -> None:
    stage = {"arrivals": {"kind": "at_once"}, "requests": 1}
    arrivals = {"kind": "stages", "stages": [stage]}
    lengths = {"kind": "trace", "path": of_two_sessions(tmp_path)}
    spec = parse_spec({"arrivals": arrivals, "lengths": lengths})
    plan = plan_workload(spec, seed=0, corpus_token_ids=CORPUS, limits=ROOMY)
    assert due_s(plan) == [0.0, None]


def test_the_times_of_a_trace_of_sessions_are_those_of_first_turns(tmp_path: Path) -> None:
    """Known wrong here: "num_requests: 4 is more than the trace has", and nobody had said 4."""
    arrivals = {"kind": "replay", "path": of_two_sessions(tmp_path)}
    spec = parse_spec({"arrivals": arrivals, "lengths": SAMPLED})
    plan = plan_workload(spec, seed=0, corpus_token_ids=CORPUS, limits=ROOMY)
    assert due_s(plan) == [0.0, 1.0]


def test_more_requests_than_rows_is_refused(azure_csv: Callable[..., Path]) -> None:
    spec = with_overrides(trace_workload(azure_csv(*ROWS)), num_requests=9)
    with pytest.raises(WorkloadError) as caught:
        plan_workload(spec, seed=0, corpus_token_ids=CORPUS, limits=ROOMY)
    assert str(caught.value) == (
        "num_requests: 9 is more than the trace has; expected at most 4, the rows of the trace"
    )


def test_a_trace_longer_than_the_model_is_refused(azure_csv: Callable[..., Path]) -> None:
    with pytest.raises(WorkloadError, match="--max-input-len / --max-output-len"):
        plan_workload(
            trace_workload(azure_csv(*ROWS)),
            seed=0,
            corpus_token_ids=CORPUS,
            limits=LengthLimits(None, None, 300),
        )


def test_prompts_that_must_share_their_beginning_are_counted() -> None:
    spec = parse_spec({"num_requests": 5, "arrivals": {"kind": "at_once"}, "lengths": SAMPLED})
    plan = plan_workload(spec, seed=0, corpus_token_ids=(1, 2, 3), limits=ROOMY)
    assert plan.adjustments == (
        "2 of 5 prompts begin where another does: the corpus has only 3 tokens",
    )


def test_a_negative_seed_is_refused() -> None:
    with pytest.raises(WorkloadError, match="seed: -1 is not allowed"):
        make(-1)


def test_the_contract_imports_neither_numpy_nor_pydantic() -> None:
    """A command line shows its help without loading what a plan needs."""
    code = (
        "import sys, llmbench.workloads.api\n"
        "print([m for m in ('numpy', 'pydantic', 'yaml', 'torch') if m in sys.modules])"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"
