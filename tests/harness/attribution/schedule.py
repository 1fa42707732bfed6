"""Schedules written by hand, in whole milliseconds, and random ones that a reference can follow."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import chain, repeat

from llmbench.engines.trace import (
    Chunks,
    ChunkTrace,
    Holdings,
    KVUsage,
    Phase,
    PhaseTimes,
    StepTrace,
)
from llmbench.harness.attribution import Attributed, attribute, timeline_of_traces
from llmbench.harness.run.record import RequestRecord, RequestStatus

MS = 1e-3
Chunk = tuple[str, Phase, int, int]  # request id, phase, start, length


def step(
    at: int,
    *chunks: Chunk,
    schedule: int = 0,
    prepare: int = 0,
    attention: int = 1,
    linear: int = 0,
    sample: int = 0,
    host: int = 0,
    unexplained: int = 0,
    preempted: Sequence[str] = (),
    again: Sequence[int] = (),
) -> StepTrace:
    """A step from `at`, times in ms. unexplained: time that no phase accounts for. again: of each
    chunk, how many tokens had been computed before; none where nothing is said."""
    length = schedule + prepare + attention + linear + sample + host + unexplained
    return StepTrace(
        index=0,
        start_s=at * MS,
        end_s=(at + length) * MS,
        chunks=Chunks.of(
            ChunkTrace(*chunk, recomputed_tokens=recomputed)
            for chunk, recomputed in zip(chunks, chain(again, repeat(0)), strict=False)
        ),
        waiting=0,
        running=0,
        preempted=tuple(preempted),
        refused=(),
        kv=KVUsage(1024, Holdings.of(())),
        phases=PhaseTimes(
            schedule_s=schedule * MS,
            prepare_s=prepare * MS,
            attention_s=attention * MS,
            linear_s=linear * MS,
            sample_s=sample * MS,
            host_s=host * MS,
        ),
    )


def request(
    name: str,
    due: int,
    *tokens: int,
    status: RequestStatus = RequestStatus.OK,
) -> RequestRecord:
    """A request due at `due` whose tokens were ready at `tokens`, all in ms."""
    return RequestRecord(
        request_id=name,
        index=0,
        status=status,
        t_due_s=due * MS,
        t_send_s=due * MS,
        t_scheduled_s=None,
        token_times_s=tuple(token * MS for token in tokens),
        input_tokens=8,
        output_token_ids=tuple(range(len(tokens))),
    )


def attributed(records: Sequence[RequestRecord], steps: Sequence[StepTrace]) -> Attributed:
    return attribute(records, timeline_of_traces([one.request_id for one in records], steps))


@dataclass
class _Live:
    name: str
    due: int
    prompt: int
    outputs: int
    computed: int = 0
    furthest: int = 0
    known: int = 0
    tokens: list[int] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.known = self.prompt

    @property
    def decodes(self) -> bool:
        return bool(self.tokens) and self.known - self.computed == 1


def random_run(seed: int) -> tuple[list[RequestRecord], list[StepTrace]]:
    """A few requests served in a random order of chunks, with waits, preemptions (some whose tokens
    come back as they were, as after a swap), idle time and phases of any length."""
    rng = random.Random(seed)
    most = rng.choice([4, 4, 20])  # output tokens: enough for typical decode-only steps, or not
    live = [
        _Live(f"r{at}", rng.randrange(40), rng.randint(1, 12), rng.randint(1, most))
        for at in range(rng.randint(1, 4))
    ]
    done: list[_Live] = []
    steps: list[StepTrace] = []
    now = rng.randrange(20)
    hidden = rng.choice([[0], [0, 1, 2, 5]])
    for _ in range(rng.randint(1, 90)):
        now += rng.choice([0, 0, 0, 1, 7])
        ready = [one for one in live if one.due <= now]
        chosen = [one for one in ready if rng.random() < 0.6]
        lost = [one for one in ready if one not in chosen and one.computed and rng.random() < 0.2]
        for one in lost:
            if rng.random() < 0.7:
                one.computed = 0
        chunks: list[Chunk] = []
        again: list[int] = []
        for one in chosen:
            phase: Phase = "decode" if one.decodes else "prefill"
            length = 1 if one.decodes else rng.randint(1, one.known - one.computed)
            start, one.computed = one.computed, one.computed + length
            again.append(max(0, min(one.computed, one.furthest) - start))
            chunks.append((one.name, phase, start, length))
            one.furthest = max(one.furthest, one.computed)
        phases = {
            name: rng.choice([0, 1, 2, 5])
            for name in ("schedule", "prepare", "linear", "sample", "host")
        }
        unexplained = rng.choice(hidden)
        found = step(
            now,
            *chunks,
            attention=rng.choice([1, 3]),
            unexplained=unexplained,
            preempted=[one.name for one in lost],
            again=again,
            **phases,
        )
        steps.append(found)
        now = round(found.end_s / MS)
        for one in chosen:
            if one.computed == one.known:
                one.known += 1
                one.tokens.append(now - phases["host"] - unexplained)
        done += [one for one in live if len(one.tokens) == one.outputs]
        live = [one for one in live if len(one.tokens) < one.outputs]
    records = [request(one.name, one.due, *one.tokens) for one in done] + [
        request(one.name, one.due, *one.tokens, status=RequestStatus.UNFINISHED) for one in live
    ]
    return records, steps
