"""Steps of every method at every batch size, for where a method stops winning.

Every method but the first is measured beside the first: the two engines take turns step by step, so
that a machine whose bandwidth comes and goes favours neither. Every pass is done twice, in the one
order and then in the other. What was measured is stored after every pass, and the same command goes
on from there.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..bench.bench_engine import EngineBench, bench_by_turns, cases
from ..bench.cases import CONTEXT_TOKENS, DECODE_STEPS, Case
from ..storage.json_text import as_json
from . import kept

if TYPE_CHECKING:
    from ..config import RunConfig
    from ..run.watch import Watch

STEPS_FILE = "batch-steps.json"
SCHEMA_VERSION = 3
LARGEST_BATCH = 64
PROMPT_TOKENS = 512
# Of the KV pool's tokens: optimistic admission keeps some blocks free.
_USABLE_POOL = 0.95


@dataclass(frozen=True)
class StepTime:
    """One case of one pass. size: sequences of a decode, tokens of a prompt.

    median_s, best_s, floor_s, bytes_moved, flops, speed_up: as in `CaseResult`; the speed-up is
    over the first method.
    """

    phase: str
    size: int
    median_s: float
    best_s: float
    floor_s: float
    bytes_moved: float
    flops: float
    speed_up: float


@dataclass(frozen=True)
class StepsPass:
    """A method measured once, and what the machine did at most meanwhile: flops_per_s of a decode
    step's products, each in its own arithmetic."""

    method: str
    bytes_per_s: float
    flops_per_s: float
    rates_source: str
    steps: tuple[StepTime, ...]


@dataclass(frozen=True)
class BatchSteps:
    """settings: what the passes were measured with; those of another measurement do not mix."""

    settings: Mapping[str, Any]
    passes: tuple[StepsPass, ...] = ()


def batch_sizes(max_num_seqs: int, pool_tokens: int, block_size: int) -> tuple[int, ...]:
    """1, 2, 4, … as far as the engine may and the KV pool holds, 64 at most; the last is the most
    the engine may, if that is no power of two. At least 1."""
    tokens = Case("decode", 1, CONTEXT_TOKENS).longest_tokens
    each = -(-tokens // block_size) * block_size
    largest = max(1, min(LARGEST_BATCH, max_num_seqs, int(_USABLE_POOL * pool_tokens) // each))
    powers = [2**power for power in range(largest.bit_length())]
    return tuple(powers if powers[-1] == largest else [*powers, largest])


def turns(methods: Sequence[str]) -> tuple[str, ...]:
    """Each method twice: in their order, then in reverse."""
    return (*methods, *reversed(methods))


def steps_settings(
    by_method: Mapping[str, RunConfig], model_revision: str, batches: Sequence[int]
) -> dict[str, Any]:
    """What decides the numbers, as JSON."""
    return as_json(
        {
            "model_revision": model_revision,
            "batches": list(batches),
            "context_tokens": CONTEXT_TOKENS,
            "decode_steps": DECODE_STEPS,
            "prompt_tokens": PROMPT_TOKENS,
            "methods": {
                method: {
                    "model": one.model,
                    "engine": asdict(one.engine),
                    "seed": one.seed,
                    "threads": one.threads,
                }
                for method, one in by_method.items()
            },
        }
    )


def measure_steps(
    by_method: Mapping[str, RunConfig], settings: Mapping[str, Any], out: Path, watch: Watch
) -> BatchSteps:
    """Every turn that is not stored in `out` yet; all of them, where what is stored there is of
    other settings or methods. Raises ConfigError as `bench_engine` does, and StoreError where the
    stored passes cannot be read."""
    steps = load_steps(out, settings)
    if steps is None:
        watch.stage("the stored steps are of other settings: measuring anew")
        steps = BatchSteps(settings)
    order = turns(tuple(by_method))
    asked = cases(settings["batches"], [PROMPT_TOKENS])
    for at in range(len(steps.passes), len(order)):
        method = order[at]
        title = f"steps, pass {at + 1} of {len(order)}: {method}"
        watch.stage(title)
        config = by_method[method]
        engines = list(dict.fromkeys((by_method[order[0]].engine, config.engine)))
        *_, measured = bench_by_turns(
            config.model,
            engines,
            asked,
            command=config.command,
            seed=config.seed,
            threads=config.threads,
            report=lambda text, title=title: watch.stage(f"{title}, {text}"),
        )
        steps = BatchSteps(steps.settings, (*steps.passes, pass_of(method, measured)))
        kept.write(out / STEPS_FILE, SCHEMA_VERSION, asdict(steps))
    return steps


def pass_of(method: str, measured: EngineBench) -> StepsPass:
    rates = measured.rates
    decodes = [one for one in measured.results if one.case.phase == "decode"]
    steps = tuple(
        StepTime(
            one.case.phase,
            one.case.sequences if one.case.phase == "decode" else one.case.tokens,
            one.median_s,
            one.best_s,
            one.floor_s,
            one.bytes_moved,
            one.flops,
            one.speed_up,
        )
        for one in measured.results
    )
    flops_per_s = max(one.flops_per_s for one in decodes)
    return StepsPass(method, rates.bytes_per_s, flops_per_s, rates.source, steps)


def load_steps(out: Path, settings: Mapping[str, Any]) -> BatchSteps | None:
    """The stored passes, or none yet; None where it is of other settings. Raises StoreError."""
    stored = kept.read(out / STEPS_FILE, SCHEMA_VERSION, _steps_from, again="measure")
    if stored is None:
        return BatchSteps(settings)
    return stored if stored.settings == settings else None


def _steps_from(data: Mapping[str, Any]) -> BatchSteps:
    return BatchSteps(data["settings"], tuple(_pass_from(one) for one in data["passes"]))


def _pass_from(data: Mapping[str, Any]) -> StepsPass:
    return StepsPass(**{**data, "steps": tuple(StepTime(**step) for step in data["steps"])})
