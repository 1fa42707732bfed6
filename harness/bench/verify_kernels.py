"""Before a run: whether the kernels that it will use are right, at its model's own shapes."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator, Sequence

import torch

from ...engines.assemble import kernels_of
from ...engines.forced import DECODER_STEP, forced_within
from ...engines.models.catalogue import ModelFiles
from ...engines.models.config import ModelConfig
from ...engines.models.decoder import DecoderConfig
from ...engines.models.describe import NATIVE
from ...engines.models.fused import installed_first
from ...engines.resolved import ResolvedEngine
from ...kernels.check import Trial, check, judged
from ...kernels.choices import is_plugin
from ...kernels.dispatch import Implementation
from ...kernels.errors import KernelError
from ...kernels.registry import select
from ...kernels.specs.linear import LM_HEAD
from ...kernels.specs.spec import ModelShape, StepShape
from ...kernels.specs.table import spec_of
from ..result import Check

# Small, and odd: a block that is not full, a number of rows that no tile has.
SEQUENCES, CONTEXT_TOKENS, PROMPT_TOKENS = 3, 35, 37
# A step as long as the engine's are, as far as that shows more; of linear maps only those that
# a CPU multiplies within some seconds, twice in float64.
MOST_PROMPT_TOKENS, MOST_FLOPS = 1023, 10**11


def verify_kernels(
    engine: ResolvedEngine,
    files: ModelFiles,
    config: DecoderConfig,
    report: Callable[[str], None] = lambda _: None,
) -> None:
    """Try every implementation that a call of this engine may go to. report: told what is tried.

    Raises KernelError, in one line, for the first that is wrong.
    """
    device, dtype = torch.device(engine.device), getattr(torch, engine.dtype)
    model = model_shape(engine, config)
    seed = secrets.randbelow(2**31)
    for op in kernels_of(engine, files):
        for one in select(op, device, dtype, engine.forced).reachable:
            report(f"verifying {op} by {one.name}")
            for trial in _trials(engine, model, op, one, dtype):
                if wrong := judged(list(check(trial, device, seed))):
                    raise KernelError(f"--verify-kernels: {wrong[0].sentence}")


def check_own(choices: Sequence[str], *, verified: bool) -> Check | None:
    """A kernel that nobody compared with its reference may be fast because it is wrong. choices:
    `op=implementation`; None where each is one of ours. verified: against its reference, before
    the run."""
    own = [choice for choice in choices if is_plugin(choice.partition("=")[2])]
    if not own:
        return None
    many = len(own) > 1
    which = f"own kernel{'s' if many else ''} {', '.join(own)} {'were' if many else 'was'}"
    detail = f"{which} verified before the run"
    if not verified:
        them = "them" if many else "it"
        detail = f"{which} not verified; --verify-kernels compares {them} with the reference first"
    return Check(id="own_kernels", ok=verified, fatal=False, detail=detail)


def check_decode_step(engine: ResolvedEngine) -> Check | None:
    """Who forces one operation of a decode step that would be one kernel, or installed a kernel of
    one, has all of them computed one by one, which takes longer whatever that one gains. None where
    there is no such step."""
    device, dtype = torch.device(engine.device), getattr(torch, engine.dtype)
    step = select(DECODER_STEP, device, dtype).name
    if engine.model_impl != NATIVE or step == "reference":
        return None
    forced = forced_within(engine.forced)
    apart = forced_within({*engine.forced, *installed_first(device, dtype)})
    installed = [op for op in apart if op not in forced]
    if not apart:
        return None
    why, advice = [], []
    if forced:
        why.append(f"{', '.join(forced)} {'is' if len(forced) == 1 else 'are'} forced")
        advice.append("hold it against a run that forces ours (llmbench kernels list)")
    if installed:
        one = len(installed) == 1
        them = "is computed by an installed kernel" if one else "are computed by installed kernels"
        why.append(f"{', '.join(installed)} {them}")
        advice.append(f"--kernel {DECODER_STEP}={step} passes {'it' if one else 'them'} over")
    return Check(
        id="decode_step",
        ok=False,
        fatal=False,
        detail="decode steps were computed operation by operation, and not in one kernel, for "
        + " and ".join(why),
        advice="; ".join(advice),
    )


def model_shape(engine: ResolvedEngine, config: DecoderConfig) -> ModelShape:
    """The sizes of a model as kernels see them. Of one that transformers computes, only its
    attention is ours; a group there is tried with one head."""
    if isinstance(config, ModelConfig):
        return ModelShape(
            name=config.family,
            hidden=config.hidden_size,
            heads=config.num_heads,
            kv_heads=config.num_kv_heads,
            head_dim=config.head_dim,
            intermediate=config.intermediate_size,
            vocab=config.vocab_size,
            group_size=engine.group_size or 32,
            window=config.sliding_window,
            qk_norm=config.qk_norm,
        )
    windows = getattr(config, "windows", ())
    width = config.num_kv_heads * config.head_dim
    return ModelShape(
        name=config.family,
        hidden=width,
        heads=config.num_kv_heads,
        kv_heads=config.num_kv_heads,
        head_dim=config.head_dim,
        intermediate=width,
        vocab=config.vocab_size,
        window=next((window for window in windows if window is not None), None),
    )


def _trials(
    engine: ResolvedEngine, model: ModelShape, op: str, one: Implementation, dtype: torch.dtype
) -> Iterator[Trial]:
    """The model's shapes, in a decode step, a small prefill and one of as many tokens as a step of
    the engine has, and the small odd ones of the suite."""
    spec = spec_of(op)
    longest = min(engine.max_num_batched_tokens, MOST_PROMPT_TOKENS)
    steps = (
        StepShape(SEQUENCES, CONTEXT_TOKENS, block_size=engine.block_size),
        StepShape(prompt=PROMPT_TOKENS, block_size=engine.block_size),
        StepShape(prompt=max(longest, PROMPT_TOKENS), block_size=engine.block_size),
    )
    own = {
        f"{step.label}, {name} of {model.name}": case
        for step in steps
        for name, case in spec.of_model(model, step).items()
        if name != LM_HEAD  # as the other linear maps, but as large as all of them
        and (step.tokens <= PROMPT_TOKENS or spec.work(case, dtype).flops <= MOST_FLOPS)
    }
    yield Trial(one, spec, dtype, own | {name: spec.cases[name] for name in spec.tiny})
