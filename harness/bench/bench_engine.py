"""Steps of a real engine against the least time they could take.

Decode: so many sequences of one context length, all decoding, a step at a time. Prefill: one prompt
computed as the engine would, in one step or several. What a step computed is read from its trace,
so the floor is that of the work that was done.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import reduce
from itertools import pairwise
from statistics import median
from typing import Any

from ...engines.config import EngineConfig
from ...engines.cost.floor import Products, Roof, step_floor
from ...engines.cost.work import ModelWork
from ...engines.errors import ConfigError
from ...engines.quantization.methods import quant_of
from ..run.step_work import works_of
from .cases import CONTEXT_TOKENS, Case
from .device_kernels import KernelTime, record_on_gpu
from .engine_turns import Side, Timed, time_by_turns

_MOST = 1_000_000


@dataclass(frozen=True)
class CaseResult:
    """median_s, best_s: of a decode step, or of a whole prompt. tokens: that it computes.
    bytes_moved, flops, floor_s, bound: of the same, see `engines.cost.floor`. bytes_per_s,
    flops_per_s: of the machine around it, what the floor is made of; the latter of these products,
    each in its own arithmetic. speed_up: over the first of the engines that took turns, the median
    over turns; 1 of that one itself. kernels: of the device, where they were asked for."""

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
    speed_up: float
    kernels: tuple[KernelTime, ...] = ()

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
    was measured of the machine, around whatever case, in the arithmetic of the layers' linear maps.
    skipped: cases that the model has no positions for. partial: it was interrupted before the last
    case."""

    model: str
    settings: dict[str, Any]
    kernels: dict[str, str]
    rates: Roof
    results: tuple[CaseResult, ...]
    skipped: tuple[str, ...]
    environment: dict[str, Any]
    command: str
    partial: bool = False

    def as_json(self) -> dict[str, Any]:
        data = asdict(self)
        for one, row in zip(self.results, data["results"], strict=True):
            row["tokens_per_s"], row["share_of_floor"] = one.tokens_per_s, one.share_of_floor
        return {"schema_version": 1, **data}


def cases(
    batches: Sequence[int], prompts: Sequence[int], contexts: Sequence[int] = (CONTEXT_TOKENS,)
) -> tuple[Case, ...]:
    """Decodes first, each batch after each context. Raises ConfigError for a number below 1."""
    for field, values in (("batch", batches), ("prompt", prompts), ("context", contexts)):
        for value in values:
            if not 1 <= value <= _MOST:
                raise ConfigError(field, value, f"at least 1, at most {_MOST:,}")
    return (
        *(Case("decode", batch, context) for context in contexts for batch in batches),
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
    profile: bool = False,
) -> EngineBench:
    """Measure every case that the model has positions for; the rates, too, in the same run. Ctrl-C
    ends it early, with the cases that are whole, if any. profile: after each case, which kernels of
    a GPU its time goes to.

    Raises ConfigError for what cannot work, and ModelError for a model that is not computed by our
    own code: its work cannot be counted.
    """
    (alone,) = bench_by_turns(
        model,
        [engine],
        asked,
        command=command,
        seed=seed,
        threads=threads,
        report=report,
        keeps_partial=True,
        profile=profile,
    )
    return alone


def bench_by_turns(
    model: str,
    engines: Sequence[EngineConfig],
    asked: Sequence[Case],
    *,
    command: str,
    seed: int = 0,
    threads: int | None = None,
    report: Callable[[str], None] = lambda _: None,
    keeps_partial: bool = False,
    profile: bool = False,
) -> tuple[EngineBench, ...]:
    """The same of several engines on one model, all in memory: in each case they take turns step by
    step, so that a machine whose bandwidth comes and goes gives as much to each. keeps_partial:
    Ctrl-C ends it early. profile, and what is raised: as `bench_engine`."""
    import torch

    from ...engines.resolve import resolve
    from ..machine.environment import capture
    from ..machine.rates import better, find_rates
    from ..run.experiment import files_of

    if threads is not None:
        torch.set_num_threads(threads)
    sides = []
    for engine in engines:
        files = files_of(model, engine, report)
        sides.append(Side(files, resolve(engine, files)))
    device = torch.device(sides[0].resolved.device)
    if profile and device.type != "cuda":
        raise ConfigError(
            "profile", device.type, "a GPU; without one there is llmbench kernels bench"
        )
    record = record_on_gpu if profile else None

    dtypes = {dtype: None for side in sides for dtype in side.products}

    def rates() -> dict[str, Roof]:
        return {dtype: find_rates(device, dtype) for dtype in dtypes}

    report("measuring the machine")
    measured = [rates()]
    for side in sides:
        report(f"loading {side.files.name} ({quant_of(vars(side.resolved))})")
        side.load(report)
    timed: list[list[Timed]] = []
    fits, skipped = _split(asked, sides, sides[0].shape.max_position_embeddings)
    try:
        for case in fits:
            report(case.name)
            timed.append(time_by_turns(case, sides, seed, record))
            measured.append(rates())
    except KeyboardInterrupt:
        if not (keeps_partial and timed):
            raise
        # Of a case that it came after, the rates before it are those around it.
        measured += [measured[-1]] * (len(timed) + 1 - len(measured))
    environment = capture(seed=seed, import_torch=True)
    benches: list[EngineBench] = []
    for at, side in enumerate(sides):
        # Of the rates before a case and after it the better: a machine that was busy at one of the
        # two would make the floor too easy. Not of all cases: bandwidth comes and goes.
        own = [Products(*(one[dtype] for dtype in side.products)) for one in measured]
        around = [Products(*map(better, *pair)) for pair in pairwise(own)]
        benches.append(
            EngineBench(
                side.files.name,
                asdict(side.resolved),
                dict(side.loaded.kernels),
                reduce(better, (one.linear for one in own)),
                tuple(
                    _result(of_case[at], of_case[0], side.work(), near, side.shape.sliding_window)
                    for of_case, near in zip(timed, around, strict=True)
                ),
                tuple(case.name for case in skipped),
                environment,
                command,
                partial=len(timed) < len(fits),
            )
        )
    return tuple(benches)


def _split(
    asked: Sequence[Case], sides: Sequence[Side], positions: int
) -> tuple[list[Case], list[Case]]:
    """The cases that a model of so many positions can compute with every engine, and the others."""
    fits = [case for case in asked if all(side.longest_tokens(case) <= positions for side in sides)]
    return fits, [case for case in asked if case not in fits]


def _result(
    timed: Timed, first: Timed, model: ModelWork, rates: Products[Roof], window: int | None
) -> CaseResult:
    """Times and floor of a case; a decode's context grows, so the floor is its middle step's.
    first: the timing of the engine that speed-ups are over, turn by turn."""
    durations_s = timed.durations_s
    turns = zip(first.durations_s, durations_s, strict=True)
    middle = timed.traces[len(timed.traces) // 2]
    works = works_of([one.chunks for one in middle], window)
    floors = [step_floor(work, model, rates) for work in works]
    flops = sum(one.flops for one in floors)
    return CaseResult(
        timed.case,
        len(timed.traces),
        sum(one.prefill_tokens + one.decode_tokens for one in middle),
        median(durations_s),
        min(durations_s),
        sum(one.bytes_moved for one in floors),
        flops,
        sum(one.seconds for one in floors),
        floors[0].bound,
        rates.linear.bytes_per_s,
        flops / sum(one.compute_s for one in floors),
        median(theirs_s / ours_s for theirs_s, ours_s in turns),
        timed.kernels,
    )
