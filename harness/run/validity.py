"""Whether a run can be believed: one small check for each way a benchmark is known to lie.

A fatal check that fails makes the run invalid: it enters no comparison and no gate. The others
say what the numbers cannot carry.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ...engines.trace import StepTrace
from ...reports.format import plural
from ...reports.tails import highest_percentile, samples_for_interval, samples_needed
from ..machine.throttling import Throttled, check_throttling
from ..metrics.base import Interval
from ..result import Check, Validity, Window
from .lateness import PAUSE_S, check_rate, check_sender_lag, waits_for_steps
from .record import RequestRecord, RequestStatus, counted_as
from .warm_cache import Prompt, check_prefix_cache
from .window import changed_load

LITTLE_ERROR = 0.10


@dataclass(frozen=True)
class Asked:
    """What the plan asked of a run.

    output_tokens: how many each request is to produce, by request id. open_loop: requests were due
    at set times, not when a slot freed. max_concurrency: the cap on requests in flight, if any.
    With a cap an open loop is late by design, so its sender is not judged. prompts: the tokens
    sent, by request id, samples apart.
    """

    output_tokens: Mapping[str, int]
    open_loop: bool
    max_concurrency: int | None = None
    prompts: Mapping[str, Prompt] | None = None

    def unsent(self, requests: Sequence[RequestRecord]) -> int:
        """How many planned requests never reached the engine."""
        return len(self.output_tokens) - len(requests)

    @property
    def sends_on_schedule(self) -> bool:
        return self.open_loop and self.max_concurrency is None


def assess(
    requests: Sequence[RequestRecord],
    steps: Sequence[StepTrace],
    window: Window,
    asked: Asked,
    *,
    interrupted: bool,
    failure: str = "",
    throttled: Throttled | None = None,
) -> Validity:
    """Every check that applies. requests, steps: the measured ones, warm-up left out. throttled:
    meanwhile; None in virtual time."""
    duration_s = max((step.end_s for step in steps), default=0.0)
    waits_s = waits_for_steps(requests, steps)
    checks = (
        check_complete(
            requests, interrupted=interrupted, unsent=asked.unsent(requests), failure=failure
        ),
        check_errors(requests),
        check_token_counts(requests, asked.output_tokens),
        check_trace(requests, steps),
        check_prefix_cache(steps, asked.prompts),
        check_sender_lag(requests, waits_s, on_schedule=asked.sends_on_schedule),
        check_rate(requests, waits_s, on_schedule=asked.sends_on_schedule),
        check_littles_law(requests, steps),
        *(() if throttled is None else (check_throttling(throttled, duration_s),)),
        check_steady(window, requests, open_loop=asked.open_loop),
        check_tail(requests),
    )
    return Validity.of(checks)


def check_complete(
    requests: Sequence[RequestRecord], *, interrupted: bool, unsent: int = 0, failure: str = ""
) -> Check:
    """An interrupted run measured an easier load: what had not ended is missing. failure: what
    ended it, if not the user."""
    unfinished = unsent + sum(request.status is RequestStatus.UNFINISHED for request in requests)
    planned = len(requests) + unsent
    counted = counted_as(requests)
    detail = f"{planned} {counted} ended"
    if interrupted or unfinished:
        detail = f"{failure or 'interrupted'}: {unfinished} of {planned} {counted} did not end"
    return Check(
        id="complete",
        ok=not interrupted and not unfinished,
        fatal=True,
        value=float(unfinished),
        limit=0.0,
        detail=detail,
    )


def check_errors(requests: Sequence[RequestRecord]) -> Check:
    """A refused request is missing from every latency, so an engine could look fast by refusing
    what is slow: one is enough to make a run invalid."""
    by_status = Counter(request.status for request in requests)
    refused, failed = by_status[RequestStatus.REFUSED], by_status[RequestStatus.FAILED]
    served = by_status[RequestStatus.OK]
    detail = f"{served} of {len(requests)} {counted_as(requests)} served, {refused} refused"
    if failed:
        detail += f", {failed} failed"
    if refused or failed:
        bad = (RequestStatus.REFUSED, RequestStatus.FAILED)
        first = next(one for one in requests if one.status in bad)
        detail += f"; the first, {first.request_id}: {first.detail}"
    return Check(
        id="errors",
        ok=served > 0 and not refused and not failed,
        fatal=True,
        value=float(refused + failed),
        limit=0.0,
        detail=detail,
    )


def check_token_counts(
    requests: Sequence[RequestRecord], output_tokens: Mapping[str, int]
) -> Check:
    """Replies of another length are another workload."""
    served, counted = served_of(requests), counted_as(requests)
    wrong = [
        request
        for request in served
        if request.output_tokens != output_tokens[request.request_id]
        or request.output_tokens != len(request.output_token_ids)
    ]
    detail = f"all {len(served)} served {counted} produced exactly the tokens asked for"
    if wrong:
        first = wrong[0]
        detail = (
            f"{len(wrong)} of {len(served)} served {counted} produced another number of tokens "
            f"than asked: {first.request_id} {first.output_tokens}, not "
            f"{output_tokens[first.request_id]}"
        )
    return counted_check("token_counts", len(wrong), detail)


def counted_check(name: str, wrong: int, detail: str) -> Check:
    """A check that no request may fail."""
    return Check(id=name, ok=not wrong, fatal=True, value=float(wrong), limit=0.0, detail=detail)


def check_trace(requests: Sequence[RequestRecord], steps: Sequence[StepTrace]) -> Check:
    """The engine's own trace, counted independently, must tell the same story as the replies.

    A served request computes prompt + output - 1 tokens, recomputed ones apart and those found in
    a prefix cache counted in: the last token is sampled but never fed back. Further samples of a
    prompt compute output - 1.
    """
    computed: Counter[str] = Counter()
    for step in steps:
        chunks, decodes = step.chunks, step.chunks.prefills
        computed.update(chunks.request_ids[decodes:])  # a token each
        for name, length in zip(chunks.request_ids[:decodes], chunks.lengths, strict=False):
            computed[name] += length
        for index, tokens in chunks.recomputed.items():
            computed[chunks.request_ids[index]] -= tokens
        for index, tokens in chunks.cached.items():
            computed[chunks.request_ids[index]] += tokens
    served, counted = served_of(requests), counted_as(requests)
    wrong = [request for request in served if computed[request.request_id] != _to_compute(request)]
    detail = f"steps computed prompt + output \u2212 1 tokens of all {len(served)} served {counted}"
    if wrong:
        first = wrong[0]
        detail = (
            f"steps and replies disagree for {len(wrong)} of {len(served)} served {counted}: "
            f"{first.request_id} computed {computed[first.request_id]} tokens, not "
            f"{_to_compute(first)}"
        )
    return counted_check("trace", len(wrong), detail)


def _to_compute(request: RequestRecord) -> int:
    prompt = 0 if request.sample else request.input_tokens
    return prompt + request.output_tokens - 1


def check_littles_law(requests: Sequence[RequestRecord], steps: Sequence[StepTrace]) -> Check:
    """Mean in flight = throughput x mean time in flight (Little, Operations Research 9, 1961).

    The left side is the engine's count of waiting and running requests, over its steps; the right
    side is the harness's records, from the send, when the engine first knows of a request, to its
    end and the rest of the step that it ended in, for which it is counted. They are measured apart,
    so lost requests, wrong clocks and a harness that takes long between steps all show here.
    """
    since_s = _known_since_s(requests)
    last_steps = _last_step_of_each(steps)
    stays_s = [
        _left_s(one.t_end_s, last_steps.get(one.request_id)) - since_s[one.index, one.sample]
        for one in served_of(requests)
        if one.t_end_s is not None
    ]
    if not steps or not stays_s or len(stays_s) != len(requests):
        return passed("littles_law", "not compared: the stay of requests not served is not known")
    duration_s = steps[-1].end_s - steps[0].start_s
    in_flight_s = sum((step.waiting + step.running) * (step.end_s - step.start_s) for step in steps)
    stayed_s = sum(stays_s)
    if duration_s <= 0 or stayed_s <= 0:
        return passed("littles_law", "not compared: no time passed")
    error = abs(in_flight_s / stayed_s - 1)
    return Check(
        id="littles_law",
        ok=error <= LITTLE_ERROR
        or abs(in_flight_s - stayed_s) <= in_flight_s / duration_s * PAUSE_S,
        fatal=True,
        value=error,
        limit=LITTLE_ERROR,
        detail=f"{in_flight_s / duration_s:.2f} in flight on average by the engine's count; "
        f"throughput × mean stay gives {stayed_s / duration_s:.2f}",
    )


def _last_step_of_each(steps: Sequence[StepTrace]) -> dict[str, StepTrace]:
    """By request, the last step that computed any of it."""
    return {
        name: step for step in steps for name in step.chunks.request_ids if name not in step.dropped
    }


def _left_s(end_s: float, last: StepTrace | None) -> float:
    """When the engine no longer counted a request that had its last token at `end_s`: at the end of
    that step, which comes later by as much as the machine takes for the rest of it. A record that
    ends in no such step is taken at its word, and found out."""
    return max(end_s, last.end_s) if last is not None and end_s >= last.start_s else end_s


def _known_since_s(requests: Sequence[RequestRecord]) -> dict[tuple[int, int], float]:
    """By index and sample. Further samples of a prompt come into being when it is done, which is
    when the first of them speaks; one stands for all till then, and some may wait after it."""
    done_s: dict[int, float] = {}
    for one in requests:
        if one.t_first_s is not None:
            done_s[one.index] = min(one.t_first_s, done_s.get(one.index, math.inf))
    return {
        (one.index, one.sample): done_s.get(one.index, one.t_send_s) if one.sample else one.t_send_s
        for one in requests
    }


def check_steady(
    window: Window, requests: Sequence[RequestRecord] = (), *, open_loop: bool = False
) -> Check:
    """Rates over a window that is not steady depend on how long the run was. requests, open_loop:
    to tell a load that changes from a system that does; in a closed loop the system makes the
    load."""
    load = changed_load(requests) if open_loop and not window.steady else ""
    return Check(
        id="steady",
        ok=window.steady,
        fatal=False,
        value=Interval(window.start_s, window.end_s).duration_s,
        detail=f"steady window {window.start_s:.2f} to {window.end_s:.2f} s: {window.method}"
        if window.steady
        else f"no steady window: rates are over {window.method}",
        advice=f"the load itself changes, for what was asked for went {load}" if load else "",
    )


def check_tail(requests: Sequence[RequestRecord]) -> Check:
    """A percentile with no sample beyond it is close to a maximum, which depends on run length. To
    show one is one thing; to compare it takes an interval, and more. Where nobody was served, the
    check of errors says so."""
    served, needed = len(served_of(requests)), samples_needed(99)
    enough, highest = served >= needed, highest_percentile(served)
    if not served:
        return Check(
            id="tail", ok=True, fatal=False, value=0.0, detail="no request was served: no tail"
        )
    who = plural(served, "served request", f"served {counted_as(requests)}")
    are = f"{who} {'is' if served == 1 else 'are'}"
    detail = f"{are} {'enough to show' if enough else 'too few for'} a p99, which needs {needed}"
    if enough and served < samples_for_interval(99):
        detail += f"; to compare it needs {samples_for_interval(99)}"
    return Check(
        id="tail",
        ok=enough,
        fatal=False,
        value=float(served),
        limit=float(needed),
        detail=detail,
        advice="" if enough else f"they show {f'p{highest}' if highest else 'a median'} at most",
    )


def served_of(requests: Sequence[RequestRecord]) -> list[RequestRecord]:
    return [request for request in requests if request.status is RequestStatus.OK]


def passed(name: str, detail: str) -> Check:
    return Check(id=name, ok=True, fatal=True, detail=detail)
