"""Observations written by hand: one request, one step, a run that keeps all its promises."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from llmbench.engines.trace import Chunks, ChunkTrace, Holding, Holdings, KVUsage, Phase, StepTrace
from llmbench.harness.run.record import RequestRecord, RequestStatus


def make_request(
    token_times_s: Sequence[float] = (),
    *,
    index: int = 0,
    due_s: float = 0.0,
    send_s: float | None = None,
    scheduled_s: float | None = None,
    input_tokens: int = 4,
    status: RequestStatus = RequestStatus.OK,
) -> RequestRecord:
    return RequestRecord(
        request_id=f"r{index}",
        index=index,
        status=status,
        t_due_s=due_s,
        t_send_s=due_s if send_s is None else send_s,
        t_scheduled_s=scheduled_s,
        token_times_s=tuple(token_times_s),
        input_tokens=input_tokens,
        output_token_ids=tuple(range(len(token_times_s))),
    )


def make_step(
    chunks: Sequence[tuple[str, Phase, int, int]] = (),
    *,
    start_s: float = 0.0,
    end_s: float = 1.0,
    index: int = 0,
    waiting: int = 0,
    running: int = 0,
    recomputed_tokens: int = 0,
    preempted: tuple[str, ...] = (),
    refused: tuple[str, ...] = (),
    holdings: tuple[Holding, ...] = (),
    external_tokens: int = 0,
) -> StepTrace:
    """chunks: (request id, phase, start, length); recomputed_tokens is of the first."""
    return StepTrace(
        index=index,
        start_s=start_s,
        end_s=end_s,
        chunks=Chunks.of(
            ChunkTrace(name, phase, start, length, recomputed_tokens if i == 0 else 0)
            for i, (name, phase, start, length) in enumerate(chunks)
        ),
        waiting=waiting,
        running=running,
        preempted=preempted,
        refused=refused,
        kv=KVUsage(1024, Holdings.of(holdings), external_tokens),
    )


def serve_in_turn(
    count: int = 120,
    *,
    output_tokens: int = 8,
    input_tokens: int = 4,
    step_s: float | Callable[[], float] = 0.01,
) -> tuple[list[RequestRecord], list[StepTrace]]:
    """A closed loop of one: each request is due when the one before it ends; each step takes
    step_s and computes a whole prompt or one token."""
    requests: list[RequestRecord] = []
    steps: list[StepTrace] = []
    now_s = 0.0
    for index in range(count):
        due_s = now_s
        times_s: list[float] = []
        for token in range(output_tokens):
            start = 0 if token == 0 else input_tokens + token - 1
            length = input_tokens if token == 0 else 1
            start_s, now_s = now_s, now_s + (step_s() if callable(step_s) else step_s)
            steps.append(
                make_step(
                    [(f"r{index}", "decode" if token else "prefill", start, length)],
                    index=len(steps),
                    start_s=start_s,
                    end_s=now_s,
                    running=1,
                    holdings=(Holding(f"r{index}", start + length, 64),),
                )
            )
            times_s.append(now_s)
        requests.append(
            make_request(
                times_s, index=index, due_s=due_s, scheduled_s=due_s, input_tokens=input_tokens
            )
        )
    return requests, steps
