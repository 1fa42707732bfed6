"""The trace of a step: what it computed, who had to wait or to go, and where its time went."""

from __future__ import annotations

from collections.abc import Sequence

from .executors.base import StepResult
from .state import Queues, RequestState
from .step import StepPlan
from .trace import Chunks, KVUsage, PhaseTimes, StepTrace


def trace_chunks(plan: StepPlan) -> Chunks:
    """Before the step is committed: what had been computed before is still known."""
    chunks = plan.chunks
    recomputed: dict[int, int] = {}
    cached: dict[int, int] = {}
    for index, (request, start, length) in enumerate(plan.prefills):
        again = min(start + length, request.most_computed_tokens) - start
        if again > 0:
            recomputed[index] = again
        if request.hit_tokens:
            cached[index], request.hit_tokens = request.hit_tokens, 0
    return Chunks(
        [request.request_id for request, _, _ in chunks],
        [start for _, start, _ in chunks],
        [length for _, _, length in chunks],
        len(plan.prefills),
        recomputed,
        cached,
    )


def phases(result: StepResult, schedule_s: float, duration_s: float) -> PhaseTimes:
    """Of a step that nothing else ran beside: what was not measured was the host's, and so is what
    a calibration says of schedule and host."""
    times = result.times
    return PhaseTimes(
        schedule_s=schedule_s,
        prepare_s=times.prepare_s,
        attention_s=times.attention_s,
        linear_s=times.linear_s,
        sample_s=times.sample_s,
        host_s=duration_s - schedule_s - times.executed_s,
        communicate_s=times.communicate_s,
        swap_s=times.swap_s,
    )


def trace_step(
    plan: StepPlan,
    chunks: Chunks,
    queues: Queues,
    usage: KVUsage,
    *,
    running: int,
    times: PhaseTimes,
    index: int = 0,
    span_s: tuple[float, float] = (0.0, 0.0),
    failed: tuple[str, ...] = (),
    device_s: float = 0.0,
    replayed: bool = False,
) -> StepTrace:
    """The step as it leaves the queues and the cache.

    running: the queue's length while the step ran. span_s: its start and its end.
    """
    return StepTrace(
        index=index,
        start_s=span_s[0],
        end_s=span_s[1],
        chunks=chunks,
        waiting=len(queues.waiting) + len(queues.swapped),
        running=running,
        preempted=_ids([*plan.preempted, *plan.swapped_out]),
        refused=_ids([refusal.request for refusal in plan.refused]),
        kv=usage,
        phases=times,
        swapped_out=_ids(plan.swapped_out),
        swapped_in=_ids(plan.swapped_in),
        failed=failed,
        device_s=device_s,
        replayed=replayed,
    )


def _ids(states: Sequence[RequestState]) -> tuple[str, ...]:
    return tuple([state.request_id for state in states]) if states else ()
