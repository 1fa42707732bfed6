"""The definition of the parts, read word by word: a millisecond at a time, no array anywhere."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from statistics import median

from llmbench.engines.trace import ChunkTrace, StepTrace
from llmbench.harness.attribution.partition import PARTS

from .schedule import MS


def ms(time_s: float) -> int:
    return round(time_s / MS)


def reference_parts(
    name: str, from_ms: int, to_ms: int, steps: Sequence[StepTrace]
) -> dict[str, float]:
    """Milliseconds of each part of one request's interval."""
    found: dict[str, float] = dict.fromkeys(PARTS, 0.0)
    for tick in range(from_ms, to_ms):
        for part, amount in _of_tick(name, tick, steps):
            found[part] += amount
    return found


def _of_tick(name: str, tick: int, steps: Sequence[StepTrace]) -> Iterator[tuple[str, float]]:
    own = [(at, chunk) for at, one in enumerate(steps) for chunk in one.chunks]
    own = [(at, chunk) for at, chunk in own if chunk.request_id == name]
    at = next((i for i, s in enumerate(steps) if ms(s.start_s) <= tick < ms(s.end_s)), None)
    chunk = next((chunk for i, chunk in own if i == at), None)
    if at is not None and chunk is not None:
        earlier = [chunk for i, chunk in own if i < at]
        yield from _in_own_step(chunk, earlier, _phase(steps[at], tick), at, steps)
        return
    before = [(i, chunk) for i, chunk in own if ms(steps[i].end_s) <= tick]
    if not before:
        yield "queue", 1.0
    elif _is_lost(name, tick, before, own, steps):
        yield "preemption", 1.0
    elif at is None or not steps[at].chunks:
        yield "host", 1.0
    elif any(chunk.phase == "prefill" for chunk in steps[at].chunks):
        again, prompts = _prompt_tokens(at, steps)
        yield "preemption", again / prompts
        yield "others_prefill", 1 - again / prompts
    else:
        yield "queue", 1.0


def _in_own_step(
    chunk: ChunkTrace,
    earlier: Sequence[ChunkTrace],
    phase: str,
    at: int,
    steps: Sequence[StepTrace],
) -> Iterator[tuple[str, float]]:
    if phase == "unexplained":
        yield "residual", 1.0
        return
    step = steps[at]
    again = _tokens_again(chunk, earlier) / chunk.length
    yield "preemption", again
    if phase == "host":
        yield "host", 1 - again
        return
    decodes = _decode_share(step, steps)
    prompts = [one for one in step.chunks if one.phase == "prefill"]
    yield "decode", (1 - again) * decodes
    prompts_ms = (1 - again) * (1 - decodes)
    whole = sum(one.length for one in prompts)
    for one in prompts:
        if one == chunk:
            yield "own_prefill", prompts_ms * one.length / whole
        else:
            lost = _tokens_again(one, _before(one.request_id, at, steps))
            yield "preemption", prompts_ms * lost / whole
            yield "others_prefill", prompts_ms * (one.length - lost) / whole


def _before(name: str, at: int, steps: Sequence[StepTrace]) -> list[ChunkTrace]:
    return [one for step in steps[:at] for one in step.chunks if one.request_id == name]


def _tokens_again(chunk: ChunkTrace, earlier: Sequence[ChunkTrace]) -> int:
    furthest = max((one.start + one.length for one in earlier), default=0)
    return sum(token < furthest for token in range(chunk.start, chunk.start + chunk.length))


def _prompt_tokens(at: int, steps: Sequence[StepTrace]) -> tuple[int, int]:
    """Of a step: its prompt tokens that had been computed before, and all of them."""
    prompts = [one for one in steps[at].chunks if one.phase == "prefill"]
    again = sum(_tokens_again(one, _before(one.request_id, at, steps)) for one in prompts)
    return again, sum(one.length for one in prompts)


def _phase(step: StepTrace, tick: int) -> str:
    times = step.phases
    bounds = (
        ("host", times.schedule_s + times.prepare_s),
        ("model", times.attention_s + times.linear_s),
        ("host", times.sample_s + times.host_s),
    )
    end = ms(step.start_s)
    for phase, length_s in bounds:
        end += ms(length_s)
        if tick < end:
            return phase
    return "unexplained"


def _decode_share(step: StepTrace, steps: Sequence[StepTrace]) -> float:
    width, prompt = step.decode_tokens, step.prefill_tokens
    if not width or not prompt:
        return float(width > 0)
    alike = [
        one.phases.attention_s + one.phases.linear_s
        for one in steps
        if not one.prefill_tokens and width / 1.25 <= one.decode_tokens <= width * 1.25
    ]
    if len(alike) < 8:
        return width / (width + prompt)
    return min(1.0, median(alike) / (step.phases.attention_s + step.phases.linear_s))


def _is_lost(
    name: str,
    tick: int,
    before: Sequence[tuple[int, ChunkTrace]],
    own: Sequence[tuple[int, ChunkTrace]],
    steps: Sequence[StepTrace],
) -> bool:
    if len(before) == len(own):
        return False  # it is not heard of again: nothing is measured after this
    last_at, last = before[-1]
    if last.start + last.length < max(one.start + one.length for _, one in before):
        return True
    return any(name in step.preempted and ms(step.start_s) <= tick for step in steps[last_at + 1 :])
