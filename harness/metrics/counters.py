"""Counts that repeat exactly when the schedule does: what a gate compares without noise."""

from __future__ import annotations

from collections.abc import Sequence

from ...engines.trace import StepTrace
from ..result import Counters
from ..run.record import RequestRecord, RequestStatus
from .base import Better

# Steps and room held have none: prompts in steps of their own make more of them by design, and a
# policy that fills its pool holds more.
DIRECTIONS: dict[str, Better] = {
    "steps": "none",
    "prefill_steps": "none",
    "decode_steps": "none",
    "mixed_steps": "none",
    "prefill_tokens": "lower",
    "decode_tokens": "none",
    "output_tokens": "higher",
    "requests_ok": "higher",
    "requests_refused": "lower",
    "requests_failed": "lower",
    "requests_unfinished": "lower",
    "preemptions": "lower",
    "recomputed_tokens": "lower",
    "prefix_hit_tokens": "higher",
    "swaps_out": "lower",
    "replayed_steps": "none",
    "kv_peak_held_tokens": "none",
}


def count_replies(requests: Sequence[RequestRecord], *, unsent: int = 0) -> Counters:
    """Count a run against a server, of which only the replies are seen. prefix_hit_tokens: where it
    says so of every one it answered."""
    statuses = [request.status for request in requests]
    hits = [one.cached_tokens for one in requests if one.status is RequestStatus.OK]
    return Counters(
        output_tokens=sum(request.output_tokens for request in requests),
        requests_ok=statuses.count(RequestStatus.OK),
        requests_refused=statuses.count(RequestStatus.REFUSED),
        requests_failed=statuses.count(RequestStatus.FAILED),
        requests_unfinished=statuses.count(RequestStatus.UNFINISHED) + unsent,
        prefix_hit_tokens=None if not hits or None in hits else sum(filter(None, hits)),
    )


def count(
    requests: Sequence[RequestRecord], steps: Sequence[StepTrace], *, unsent: int = 0
) -> Counters:
    """Count a run.

    preemptions: times a running request lost its KV cache. recomputed_tokens: tokens computed
    again because of it. swaps_out: preemptions that kept it, on the host. replayed_steps: captured
    graphs, on a device that has them. prefix_hit_tokens: found in the prefix cache and so never
    computed. A step is of a phase if all its chunks are, mixed if
    both occur; one that only refused or preempted is neither. kv_peak_held_tokens: the most room
    set aside at a time. requests_unfinished: cut short by the end of the run, and `unsent` ones.
    Elsewhere: vLLM's server metric "num preemptions total".
    """
    phases = [(step.chunks.prefills > 0, step.decode_tokens > 0) for step in steps]
    statuses = [request.status for request in requests]
    return Counters(
        steps=len(steps),
        prefill_steps=phases.count((True, False)),
        decode_steps=phases.count((False, True)),
        mixed_steps=phases.count((True, True)),
        prefill_tokens=sum(step.prefill_tokens for step in steps),
        decode_tokens=sum(step.decode_tokens for step in steps),
        output_tokens=sum(request.output_tokens for request in requests),
        requests_ok=statuses.count(RequestStatus.OK),
        requests_refused=statuses.count(RequestStatus.REFUSED),
        requests_failed=statuses.count(RequestStatus.FAILED),
        requests_unfinished=statuses.count(RequestStatus.UNFINISHED) + unsent,
        preemptions=sum(len(step.preempted) for step in steps),
        recomputed_tokens=sum(sum(step.chunks.recomputed.values()) for step in steps),
        prefix_hit_tokens=sum(sum(step.chunks.cached.values()) for step in steps),
        swaps_out=sum(len(step.swapped_out) for step in steps),
        replayed_steps=_replayed(steps),
        kv_peak_held_tokens=max((step.kv.held_tokens for step in steps), default=0),
    )


def _replayed(steps: Sequence[StepTrace]) -> int | None:
    """None where the host computes, which launches nothing: no step has a device's time."""
    return sum(step.replayed for step in steps) if any(step.device_s for step in steps) else None
