"""What an engine is timed at: so many sequences that decode, or one prompt."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from ...engines.api import Engine, FinishReason, Request, SamplingParams
from ...engines.errors import ConfigError
from ...engines.trace import StepTrace

# Of a decode, where no other is asked for.
CONTEXT_TOKENS = 128
DECODE_STEPS = 24
UNCOUNTED_STEPS = 2


@dataclass(frozen=True)
class Case:
    """phase: decode, `sequences` of them with a context of `tokens`; or prefill of a prompt of
    `tokens`."""

    phase: str
    sequences: int
    tokens: int

    @property
    def name(self) -> str:
        if self.phase != "decode":
            return f"prefill {self.tokens}"
        after = f" after {self.tokens}" if self.tokens != CONTEXT_TOKENS else ""
        return f"decode x {self.sequences}{after}"

    @property
    def longest_tokens(self) -> int:
        """Prompt and output of one request, where all prompts are computed in two steps or one."""
        return self.tokens + (DECODE_STEPS + UNCOUNTED_STEPS + 2 if self.phase == "decode" else 1)

    def longest_tokens_in(self, step_tokens: int) -> int:
        """The same in steps of so many tokens at most: prompts that take longer lengthen the
        output, for the first decode meanwhile and are to decode beside the last."""
        if self.phase != "decode":
            return self.longest_tokens
        # Beside the decodes of all others: as many whole prompts as fit, or a part of one.
        beside = max(step_tokens - (self.sequences - 1), 1)
        each_step = beside // self.tokens * self.tokens or beside
        steps = math.ceil(self.sequences * self.tokens / each_step)
        return self.longest_tokens + max(steps - 2, 0)


@dataclass(frozen=True)
class Sized:
    """An engine that is just large enough for a case. longest_tokens: of prompt and output."""

    engine: Engine
    longest_tokens: int


def steps_together(traces: Sequence[StepTrace], case: Case) -> list[StepTrace]:
    """Those in which all sequences decode and no prompt is computed."""
    return [
        trace
        for trace in traces
        if not trace.prefill_tokens and trace.decode_tokens == case.sequences
    ]


class Serving:
    """The requests of a case on one engine, step by step."""

    def __init__(self, core: Sized, case: Case, prompts: Sequence[tuple[int, ...]]) -> None:
        self.traces: list[StepTrace] = []
        self._core = core.engine
        self._case = case
        sampling = SamplingParams(max_tokens=core.longest_tokens - case.tokens, ignore_eos=True)
        for index, prompt in enumerate(prompts):
            self._core.add(Request(str(index), prompt, sampling))

    @property
    def has_work(self) -> bool:
        return self._core.has_work()

    def step(self) -> None:
        outcome = self._core.step()
        for event in outcome.events:
            if event.finish is FinishReason.REFUSED:
                raise ConfigError("prompt", f"{self._case.tokens} tokens", event.detail)
            if event.finish is FinishReason.ERROR:
                raise RuntimeError(event.detail)
        if outcome.trace is not None:
            self.traces.append(outcome.trace)

    def to_its_end(self) -> None:
        while self.has_work:
            self.step()


def random_prompts(case: Case, vocab_size: int, seed: int) -> Iterator[list[tuple[int, ...]]]:
    """Random tokens, new ones each time, so that no prefix cache helps."""
    rng = np.random.default_rng(seed)
    while True:
        drawn = rng.integers(vocab_size, size=(case.sequences, case.tokens))
        yield [tuple(row) for row in drawn.tolist()]
