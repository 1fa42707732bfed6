"""Steps of a real engine against the least time they could take.

Decode: so many sequences of one context length, all decoding, a step at a time. Prefill: one prompt
computed as the engine would, in one step or several. What a step computed is read from its trace,
so the floor is that of the work that was done.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from functools import reduce
from itertools import pairwise
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

import numpy as np

from ..engines.api import Engine, FinishReason, Request, SamplingParams
from ..engines.config import EngineConfig
from ..engines.cost.floor import Rates, step_floor
from ..engines.cost.work import ModelWork, StepWork, model_work
from ..engines.errors import ConfigError, ModelError
from ..engines.quantization.methods import find_method
from ..engines.trace import StepTrace

if TYPE_CHECKING:
    from ..engines.assemble import LoadedModel
    from ..engines.models.config import ModelConfig

CONTEXT_TOKENS = 128
DECODE_STEPS = 24
PREFILL_REPEATS = 3
_UNCOUNTED_STEPS = 2


@dataclass(frozen=True)
class Case:
    """phase: decode, `sequences` of them with a context of `tokens`; or prefill of a prompt of
    `tokens`."""

    phase: str
    sequences: int
    tokens: int

    @property
    def name(self) -> str:
        decode = self.phase == "decode"
        return f"decode x {self.sequences}" if decode else f"prefill {self.tokens}"

    @property
    def longest_tokens(self) -> int:
        """Prompt and output of one request."""
        return self.tokens + (DECODE_STEPS + _UNCOUNTED_STEPS + 2 if self.phase == "decode" else 1)


@dataclass(frozen=True)
class CaseResult:
    """median_s, best_s: of a decode step, or of a whole prompt. tokens: that it computes.
    bytes_moved, flops, floor_s, bound: of the same, see `engines.cost.floor`. bytes_per_s,
    flops_per_s: of the machine around it, what the floor is made of."""

    case: Case
    repeats: int
    tokens: int
    median_s: float
    best_s: float
    bytes_moved: float
    flops: float
    floor_s: float
    bound: str
    bytes_per_s: float
    flops_per_s: float

    @property
    def tokens_per_s(self) -> float:
        return self.tokens / self.median_s

    @property
    def share_of_floor(self) -> float:
        """1 is the floor itself."""
        return self.floor_s / self.median_s


@dataclass(frozen=True)
class EngineBench:
    """A whole measurement. kernels: which implementation ran each operation. rates: the best that
    was measured of the machine, around whatever case. skipped: cases that
    the model has no positions for."""

    model: str
    settings: dict[str, Any]
    kernels: dict[str, str]
    rates: Rates
    results: tuple[CaseResult, ...]
    skipped: tuple[str, ...]
    environment: dict[str, Any]
    command: str

    def as_json(self) -> dict[str, Any]:
        data = asdict(self)
        for one, row in zip(self.results, data["results"], strict=True):
            row["tokens_per_s"], row["share_of_floor"] = one.tokens_per_s, one.share_of_floor
        return {"schema_version": 1, **data}


def cases(batches: Sequence[int], prompts: Sequence[int]) -> tuple[Case, ...]:
    """Decodes first. Raises ConfigError for a number below 1."""
    for field, values in (("batch", batches), ("prompt", prompts)):
        for value in values:
            if value < 1:
                raise ConfigError(field, value, "at least 1")
    return (
        *(Case("decode", batch, CONTEXT_TOKENS) for batch in batches),
        *(Case("prefill", 1, tokens) for tokens in prompts),
    )


def bench_engine(
    model: str,
    engine: EngineConfig,
    asked: Sequence[Case],
    *,
    command: str,
    seed: int = 0,
    threads: int | None = None,
    report: Callable[[str], None] = lambda _: None,
) -> EngineBench:
    """Measure every case that the model has positions for; the rates, too, in the same run.

    Raises ConfigError for what cannot work, and ModelError for a model that is not computed by our
    own code: its work cannot be counted.
    """
    import torch

    from ..engines.assemble import load_model, resolve
    from .environment import capture
    from .experiment import files_of
    from .machine_rates import better, find_rates

    if threads is not None:
        torch.set_num_threads(threads)
    files = files_of(model, engine, report)
    resolved = resolve(engine, files)
    shape = _native_shape(files.directory, resolved)
    device = torch.device(resolved.device)
    multiplied = torch.int8 if _multiplies_int8(resolved.quant) else getattr(torch, resolved.dtype)
    report("measuring the machine")
    measured = [find_rates(device, multiplied)]
    report(f"loading {files.name}")
    loaded = load_model(files, resolved, report)
    timed: list[_Timed] = []
    fits, skipped = _split(asked, shape.max_position_embeddings)
    for case in fits:
        report(case.name)
        timed.append(_time(case, loaded, resolved, seed))
        measured.append(find_rates(device, multiplied))
    # Of the rates before a case and after it the better: a machine that was busy at one of the two
    # would make the floor too easy. Not of all cases: a shared memory's bandwidth comes and goes.
    around = [better(*pair) for pair in pairwise(measured)]
    work = model_work(
        shape,
        quant=resolved.quant,
        group_size=resolved.group_size,
        quant_bits=resolved.quant_bits,
        kv_dtype=resolved.kv_dtype,
    )
    return EngineBench(
        files.name,
        asdict(resolved),
        dict(loaded.kernels),
        reduce(better, measured),
        tuple(
            _result(one, work, rates, shape.sliding_window)
            for one, rates in zip(timed, around, strict=True)
        ),
        tuple(case.name for case in skipped),
        capture(seed=seed, import_torch=True),
        command,
    )


def _split(asked: Sequence[Case], positions: int) -> tuple[list[Case], list[Case]]:
    """The cases that a model of so many positions can compute, and the others."""
    fits = [case for case in asked if case.longest_tokens <= positions]
    return fits, [case for case in asked if case.longest_tokens > positions]


def _native_shape(directory: Path, engine: EngineConfig) -> ModelConfig:
    """The model's shape in the engine's dtype."""
    from ..engines.models.describe import describe_model

    native = describe_model(directory, engine.model_impl).native
    if native is None:
        raise ModelError(
            "model", str(directory), "runs through transformers: its work is not counted"
        )
    return replace(native, dtype=engine.dtype)


@dataclass(frozen=True)
class _Timed:
    """traces: of each repeat, its steps: one decode step, or all steps of a prompt."""

    case: Case
    traces: tuple[tuple[StepTrace, ...], ...]


def _time(case: Case, loaded: LoadedModel, resolved: EngineConfig, seed: int) -> _Timed:
    """One case on an engine that is just large enough for it."""
    from ..engines.assemble import build_engine
    from ..engines.clock import WallClock

    sized = replace(
        resolved,
        max_model_len=case.longest_tokens,
        max_num_seqs=case.sequences,
        max_num_batched_tokens=max(resolved.max_num_batched_tokens or 0, case.sequences),
    )
    prompts = _prompts(case, loaded.config.vocab_size, seed)
    core = build_engine(loaded, sized, WallClock())
    if case.phase == "decode":
        steps = _decode_steps(_serve(core, case, next(prompts)), case)
        return _Timed(case, tuple((trace,) for trace in steps))
    repeats = [_serve(core, case, next(prompts)) for _ in range(PREFILL_REPEATS + 1)]
    return _Timed(case, tuple(tuple(traces) for traces in repeats[1:]))


def _result(timed: _Timed, model: ModelWork, rates: Rates, window: int | None) -> CaseResult:
    """Times and floor of a case; a decode's context grows, so the floor is its middle step's."""
    durations_s = [sum(one.end_s - one.start_s for one in traces) for traces in timed.traces]
    middle = timed.traces[len(timed.traces) // 2]
    floors = [step_floor(step_work(one, window), model, rates) for one in middle]
    return CaseResult(
        timed.case,
        len(timed.traces),
        sum(one.prefill_tokens + one.decode_tokens for one in middle),
        median(durations_s),
        min(durations_s),
        sum(one.bytes_moved for one in floors),
        sum(one.flops for one in floors),
        sum(one.seconds for one in floors),
        floors[0].bound,
        rates.bytes_per_s,
        rates.flops_per_s,
    )


def _multiplies_int8(quant: str) -> bool:
    """Whether eight-bit weights meet eight-bit activations; others are widened to the dtype."""
    return quant != "none" and find_method(quant).form == "w8a8"


def step_work(trace: StepTrace, window: int | None = None) -> StepWork:
    """What a step of greedy requests computed: a prompt's last chunk samples a token."""
    chunks = trace.chunks
    prefills = [(one.start, one.length) for one in chunks if one.phase == "prefill"]
    ends = [one.start + one.length for one in chunks if one.phase == "decode"]
    attended = sum(ends) if window is None else sum(min(end, window) for end in ends)
    return StepWork.of(prefills, len(ends), attended, len(ends) + len(prefills), window=window)


def _decode_steps(traces: Sequence[StepTrace], case: Case) -> Sequence[StepTrace]:
    """The steps in which all sequences decode and no prompt is computed, the first few left out."""
    together = [
        trace
        for trace in traces
        if not trace.prefill_tokens and trace.decode_tokens == case.sequences
    ]
    if len(together) <= _UNCOUNTED_STEPS:
        allowed = "what the KV cache has room for at a time (see --kv-memory)"
        raise ConfigError("batch", case.sequences, allowed)
    return together[_UNCOUNTED_STEPS:][:DECODE_STEPS]


def _serve(core: Engine, case: Case, prompts: Sequence[tuple[int, ...]]) -> list[StepTrace]:
    """Every step of these requests."""
    sampling = SamplingParams(max_tokens=case.longest_tokens - case.tokens, ignore_eos=True)
    for index, prompt in enumerate(prompts):
        core.add(Request(str(index), prompt, sampling))
    traces: list[StepTrace] = []
    while core.has_work():
        outcome = core.step()
        for event in outcome.events:
            if event.finish is FinishReason.REFUSED:
                raise ConfigError("prompt", f"{case.tokens} tokens", event.detail)
            if event.finish is FinishReason.ERROR:
                raise RuntimeError(event.detail)
        if outcome.trace is not None:
            traces.append(outcome.trace)
    return traces


def _prompts(case: Case, vocab_size: int, seed: int) -> Iterator[list[tuple[int, ...]]]:
    """Random tokens, new ones each time, so that no prefix cache helps."""
    rng = np.random.default_rng(seed)
    while True:
        drawn = rng.integers(vocab_size, size=(case.sequences, case.tokens))
        yield [tuple(row) for row in drawn.tolist()]
