"""A run that kept its promises is valid; break one promise at a time and its check says so."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from llmbench.engines.trace import Chunks, StepTrace
from llmbench.harness.metrics.kv import split_steps
from llmbench.harness.result import Check, Validity, Window
from llmbench.harness.run.drive import drive
from llmbench.harness.run.record import RequestRecord, RequestStatus
from llmbench.harness.run.validity import Asked, assess, check_complete, check_littles_law
from llmbench.workloads.api import Plan, PlannedRequest

from ...engines.drive import ADMISSION, BATCHING, CountingExecutor, make_core
from ..observed import make_request, make_step, serve_in_turn

STEADY = Window(start_s=1.0, end_s=9.0, method="MSER-5", steady=True)


def _assess(
    requests: Sequence[RequestRecord],
    steps: Sequence[StepTrace],
    *,
    open_loop: bool = False,
    output_tokens: int = 8,
    max_concurrency: int | None = None,
    interrupted: bool = False,
    window: Window = STEADY,
) -> Validity:
    asked = {request.request_id: output_tokens for request in requests}
    return assess(
        requests,
        steps,
        window,
        Asked(asked, open_loop, max_concurrency),
        interrupted=interrupted,
    )


def _check(validity: Validity, name: str) -> Check:
    return next(check for check in validity.checks if check.id == name)


def _failed(validity: Validity) -> set[str]:
    return {check.id for check in validity.failures}


@pytest.mark.parametrize("open_loop", [False, True])
def test_an_honest_run_is_valid(open_loop: bool) -> None:
    validity = _assess(*serve_in_turn(120), open_loop=open_loop)

    assert validity.valid
    assert validity.failures == ()


def test_a_reply_of_another_length_is_fatal() -> None:
    requests, steps = serve_in_turn(120)
    requests[7] = replace(
        requests[7],
        token_times_s=requests[7].token_times_s[:-1],
        output_token_ids=requests[7].output_token_ids[:-1],
    )
    validity = _assess(requests, steps)

    assert not validity.valid
    assert {"token_counts", "trace"} <= _failed(validity)
    assert "r7 7, not 8" in _check(validity, "token_counts").detail


def test_a_chunk_counted_as_a_token_is_caught() -> None:
    """Known wrong elsewhere: two tokens a chunk, one counted. The engine's trace disagrees."""
    requests, steps = serve_in_turn(120)
    halved = [
        replace(
            request,
            token_times_s=request.token_times_s[1::2],
            output_token_ids=request.output_token_ids[1::2],
        )
        for request in requests
    ]
    validity = _assess(halved, steps, output_tokens=4)

    assert _check(validity, "token_counts").ok
    assert not _check(validity, "trace").ok
    assert not validity.valid


def test_recomputed_tokens_are_no_disagreement() -> None:
    requests, steps = serve_in_turn(120)
    chunk = steps[3].chunks[0]._replace(phase="prefill", start=0, length=7, recomputed_tokens=6)
    steps[3] = replace(steps[3], chunks=Chunks.of([chunk]), preempted=("r0",))

    assert _check(_assess(requests, steps), "trace").ok


def test_a_slow_client_is_fatal() -> None:
    """Known wrong elsewhere: the client as the bottleneck."""
    requests, steps = serve_in_turn(120)
    # Every step takes 10 ms, of which a request may have waited for one, and the sender is 400 ms
    # late.
    late = [replace(request, t_due_s=request.t_send_s - 0.4) for request in requests]
    validity = _assess(late, steps, open_loop=True)

    assert not _check(validity, "sender_lag").ok
    assert _check(validity, "sender_lag").value == pytest.approx(0.4, abs=0.011)
    assert not validity.valid


@pytest.mark.parametrize("max_concurrency", [None, 4])
def test_a_cap_or_a_closed_loop_is_late_by_design(max_concurrency: int | None) -> None:
    requests, steps = serve_in_turn(120)
    late = [replace(request, t_due_s=request.t_send_s - 0.4) for request in requests]
    validity = _assess(
        late, steps, open_loop=max_concurrency is not None, max_concurrency=max_concurrency
    )

    assert _check(validity, "sender_lag").ok
    assert _check(validity, "rate").ok


def test_a_rate_that_was_not_reached_is_fatal() -> None:
    requests, steps = serve_in_turn(120)
    asked_twice_as_fast = [replace(r, t_due_s=r.t_send_s / 2) for r in requests]
    validity = _assess(asked_twice_as_fast, steps, open_loop=True)

    assert _check(validity, "rate").value == pytest.approx(0.5)
    assert not _check(validity, "rate").ok
    assert not validity.valid


def test_requests_that_get_lost_break_littles_law() -> None:
    requests, steps = serve_in_turn(120)
    # Every third request is missing from the records, though the engine served it.
    kept = [request for request in requests if request.index % 3]
    validity = _assess(kept, steps)

    assert _check(validity, "littles_law").value == pytest.approx(0.5)
    assert not validity.valid


@pytest.mark.parametrize(("every", "error", "ok"), [(12, 1 / 11, True), (8, 1 / 7, False)])
def test_littles_law_holds_to_a_tenth(every: int, error: float, ok: bool) -> None:
    """One record in 12 or in 8 is missing: the engine counts 12 for 11, or 8 for 7."""
    requests, steps = serve_in_turn(120)
    check = check_littles_law([one for one in requests if one.index % every], steps)

    assert check.value == pytest.approx(error)
    assert check.ok == ok


@pytest.mark.parametrize("share", [0.01, 0.5, 0.85])
def test_records_that_end_too_early_break_littles_law(share: float) -> None:
    """Every time of a reply is so much of the truth, and with it TPOT, ITL and E2EL."""
    requests, steps = serve_in_turn(120)

    def earlier(one: RequestRecord) -> RequestRecord:
        sent_s = one.t_send_s
        times_s = tuple(sent_s + (at_s - sent_s) * share for at_s in one.token_times_s)
        return replace(one, token_times_s=times_s)

    early = [earlier(one) for one in requests]
    validity = _assess(early, steps)

    assert _check(validity, "littles_law").value == pytest.approx(1 / share - 1)
    assert not validity.valid


def test_a_request_is_in_flight_until_its_last_step_is_over() -> None:
    """Its last token is ready at 0.9 s, and the machine stops for most of a second before the step
    is done. What comes before the next step, at 9 s, is nobody's stay."""
    requests = [make_request([0.9]), make_request([10.0], index=1, due_s=9.0)]
    steps = [
        make_step([(f"r{index}", "prefill", 0, 4)], start_s=start_s, end_s=end_s, running=1)
        for index, (start_s, end_s) in enumerate([(0.0, 1.7), (9.0, 10.0)])
    ]

    assert check_littles_law(requests, steps).value == pytest.approx(0.0, abs=1e-9)


@pytest.mark.parametrize(("duration_s", "ok"), [(0.1, True), (0.4, False)])
def test_a_short_pause_of_the_machine_is_not_held_against_a_short_run(
    duration_s: float, ok: bool
) -> None:
    """One request, which waited for its first step for a fifth of the time: 20 or 80 ms."""
    request = make_request([duration_s])
    step = make_step(start_s=duration_s / 5, end_s=duration_s, running=1)
    check = check_littles_law([request], [step])

    assert check.value == pytest.approx(0.2)
    assert check.ok == ok


def test_a_sample_that_waits_after_its_prompt_is_in_flight() -> None:
    """The prompt is done at 1 s: from then on there are two, of which the second waits to 3 s."""
    first = make_request([1.0, 3.0], scheduled_s=0.0)
    second = replace(make_request([3.0, 4.0], scheduled_s=0.0), request_id="r0-1", sample=1)
    steps = [
        make_step(start_s=0.0, end_s=1.0, running=1),
        make_step(start_s=1.0, end_s=3.0, running=1, waiting=1),
        make_step(start_s=3.0, end_s=4.0, running=1),
    ]
    assert check_littles_law([first, second], steps).value == pytest.approx(0.0, abs=1e-9)


def test_littles_law_of_the_honest_run_is_exact() -> None:
    check = _check(_assess(*serve_in_turn(120)), "littles_law")

    assert check.value == pytest.approx(0.0, abs=1e-9)
    assert "1.00 in flight" in check.detail


def test_how_many_are_in_flight_is_of_the_time_since_the_first_step() -> None:
    """One request, from 5 to 7 s."""
    step = make_step(start_s=5.0, end_s=7.0, running=1)
    assert check_littles_law([make_request([7.0], due_s=5.0)], [step]).detail == (
        "1.00 in flight on average by the engine's count; throughput × mean stay gives 1.00"
    )


def test_an_interrupted_run_is_invalid() -> None:
    requests, steps = serve_in_turn(120)
    requests[-1] = replace(requests[-1], status=RequestStatus.UNFINISHED)
    validity = _assess(requests, steps, interrupted=True)

    assert _failed(validity) >= {"complete"}
    assert "1 of 120 requests did not end" in _check(validity, "complete").detail
    assert not validity.valid


def test_a_run_that_refused_a_request_is_not_valid_and_says_why() -> None:
    """An engine must not look fast by refusing what is slow."""
    requests, steps = serve_in_turn(120)
    refused = make_request((), index=120, due_s=1.0, status=RequestStatus.REFUSED)
    refused = replace(refused, detail="9 tokens exceed the limit of 8")
    validity = _assess([*requests, refused], steps)
    assert not validity.valid
    (failed,) = [check for check in validity.failures if check.id == "errors"]
    assert failed.detail.startswith("120 of 121 requests served, 1 refused; the first, ")
    assert failed.detail.endswith("9 tokens exceed the limit of 8")


def test_requests_never_sent_count_as_unfinished() -> None:
    requests, _ = serve_in_turn(3)
    check = check_complete(requests, interrupted=True, unsent=4)
    assert not check.ok
    assert check.detail == "interrupted: 4 of 7 requests did not end"


def test_what_did_not_end_is_missing_though_nobody_interrupted_the_run() -> None:
    requests, _ = serve_in_turn(3)
    unsent = check_complete(requests, interrupted=False, unsent=1)
    assert (unsent.ok, unsent.fatal) == (False, True)
    assert unsent.detail.endswith("1 of 4 requests did not end")
    requests[1] = replace(requests[1], status=RequestStatus.UNFINISHED)
    cut = check_complete(requests, interrupted=False)
    assert (cut.ok, cut.fatal) == (False, True)
    assert cut.detail.endswith("1 of 3 requests did not end")


def test_nothing_served_is_fatal() -> None:
    refused = [make_request((), index=i, status=RequestStatus.REFUSED) for i in range(3)]

    assert not _assess(refused, []).valid
    assert not _assess([], []).valid


def test_too_few_requests_for_a_p99_is_said_and_not_fatal() -> None:
    validity = _assess(*serve_in_turn(99))

    assert validity.valid
    assert _failed(validity) == {"tail"}
    assert _check(validity, "tail").limit == 100
    assert _check(validity, "tail").advice == "they show p95 at most"


@pytest.mark.parametrize(
    ("served", "detail"),
    [
        (120, "enough to show a p99, which needs 100; to compare it needs 299"),
        (299, "enough to show a p99, which needs 100"),
    ],
)
def test_to_show_a_p99_and_to_compare_it_take_different_numbers(served: int, detail: str) -> None:
    check = _check(_assess(*serve_in_turn(served)), "tail")

    assert check.ok
    assert check.detail == f"{served} served requests are {detail}"


def test_several_replies_of_a_prompt_are_counted_as_replies() -> None:
    requests, steps = serve_in_turn(6)
    sampled = [replace(one, sample=at % 2) for at, one in enumerate(requests)]
    validity = _assess(sampled, steps)
    assert _check(validity, "tail").detail.startswith("6 served replies are too few")
    assert _check(validity, "token_counts").detail.startswith("all 6 served replies produced")
    assert "served replies" in _check(validity, "trace").detail


def test_where_nobody_was_served_or_one_was_the_tail_says_so() -> None:
    none = _check(_assess([], []), "tail")

    assert (none.ok, none.detail, none.advice) == (True, "no request was served: no tail", "")
    one = _check(_assess(*serve_in_turn(1)), "tail")
    assert one.detail == "1 served request is too few for a p99, which needs 100"


def test_no_steady_window_is_said_and_not_fatal() -> None:
    unsteady = Window(start_s=0.0, end_s=9.6, method="the whole run, since why", steady=False)
    validity = _assess(*serve_in_turn(120), window=unsteady)

    assert validity.valid
    assert _failed(validity) == {"steady"}
    said = _check(validity, "steady").detail
    assert said == "no steady window: rates are over the whole run, since why"


@pytest.mark.parametrize("open_loop", [False, True])
@pytest.mark.parametrize("kv", ["paged", "contiguous"])
@pytest.mark.parametrize("admission", list(ADMISSION))
@pytest.mark.parametrize("batching", list(BATCHING))
def test_every_engine_keeps_the_promises_the_checks_ask_for(
    batching: str, admission: str, kv: str, open_loop: bool
) -> None:
    """The real step loop, in a pool so small that requests wait, are preempted and recomputed."""
    core = make_core(batching, admission, kv, pool_tokens=64)
    executor = core._executor
    assert isinstance(executor, CountingExecutor)
    rng = np.random.default_rng(0)
    due_s = np.cumsum(rng.exponential(4.0, 120)).tolist() if open_loop else [None] * 120
    plan = Plan(
        tuple(
            PlannedRequest(i, due_s[i], tuple(range(1, 1 + p)), o)
            for i, (p, o) in enumerate(rng.integers(1, 15, (120, 2)).tolist())
        ),
        None if open_loop else 6,
    )
    seen = drive(core, executor.clock, plan)
    asked = Asked({f"r{r.index}": r.output_tokens for r in plan.requests}, open_loop, None)
    window = Window(start_s=0.0, end_s=seen.duration_s, method="all", steady=True)

    validity = assess(seen.records, seen.steps, window, asked, interrupted=seen.interrupted)

    assert validity.failures == ()
    assert _check(validity, "littles_law").value == pytest.approx(0.0, abs=1e-9)
    splits = split_steps(seen.records, seen.steps)
    assert all(parts.taken_tokens <= 64 for parts in splits)
    if (admission, kv) == ("optimistic", "paged") and not open_loop and batching != "static":
        assert sum(len(step.preempted) for step in seen.steps) > 0


@pytest.mark.parametrize("kv", ["paged", "contiguous"])
def test_samples_are_one_until_their_prompt_is_done(kv: str) -> None:
    """Of a few long steps that of the prompts is a large part: counted three times, it would break
    Little's law."""
    core = make_core("unified", "reserve", kv, pool_tokens=256)
    executor = core._executor
    assert isinstance(executor, CountingExecutor)
    plan = Plan(tuple(PlannedRequest(i, None, (1, 2, 3), 2, samples=3) for i in range(4)), 2)
    seen = drive(core, executor.clock, plan)

    assert check_littles_law(seen.records, seen.steps).value == pytest.approx(0.0, abs=1e-9)
    # There are four seats, so one request at a time.
    assert [step.running for step in seen.steps] == [1, 3] * 4


@pytest.mark.parametrize(
    ("checks", "valid"),
    [
        ((), True),
        (((True, True), (False, False)), True),
        (((False, False), (False, True), (True, True)), False),
    ],
)
def test_only_a_fatal_check_that_fails_makes_a_run_invalid(
    checks: tuple[tuple[bool, bool], ...], valid: bool
) -> None:
    made = [
        Check(id=f"c{at}", ok=ok, fatal=fatal, detail="") for at, (ok, fatal) in enumerate(checks)
    ]
    assert Validity.of(made) == Validity(valid=valid, checks=tuple(made))
