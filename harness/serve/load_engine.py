"""An engine that is ready to serve: resolved, loaded, warm."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ...engines.api import Request
from ...engines.errors import ConfigError
from ..config import RunConfig
from .cores import Cores, keep_to, part, physical_core, usable_cores

if TYPE_CHECKING:
    from ...engines.api import Engine
    from ...engines.clock import Clock
    from ...engines.models.catalogue import ModelFiles
    from ...engines.resolved import ResolvedEngine

Report = Callable[[str], None]
# Of each prompt that warms the engine up: so few that a prefix cache has next to nothing of them.
_WARMUP_TOKENS = 4


@dataclass(frozen=True)
class Loaded:
    """What is said of an engine beside its replies. settings: in full. cores: that it has to itself
    and that it leaves to the rest; None where it was given none."""

    files: ModelFiles
    settings: ResolvedEngine
    vocab_size: int
    kv_tokens: int
    cores: Cores | None = None


def load_engine(
    run: RunConfig, clock: Clock, report: Report, *, own_cores: bool = False
) -> tuple[Engine, Loaded]:
    """report: told of each stage. own_cores: keep this thread, and those that compute for it, to
    cores of their own.

    Raises ConfigError, ModelError, KernelError or OutOfMemory.
    """
    from ...engines.assemble import build_engine, load_model
    from ...engines.resolve import resolve
    from ..run.experiment import files_of, set_threads, tokenizer_of

    files = files_of(run.model, run.engine, report)
    settings = resolve(run.engine, files)
    set_threads(run)
    cores = _parted(run, settings.device) if own_cores else None
    if run.verify_kernels:
        from ...engines.models.describe import describe_model
        from ..bench.verify_kernels import verify_kernels

        described = describe_model(files.directory, settings.model_impl).config
        verify_kernels(settings, files, described, report)
    report(f"loading {files.name} ({run.label}, {settings.dtype})")
    model = load_model(files, settings, report)
    engine = build_engine(model, settings, clock, tokenizer_of(files, settings).decode)
    report("warming up")
    warm_up(engine, clock)
    kv_tokens = engine.strategy.kv.capacity_tokens
    return engine, Loaded(files, settings, model.config.vocab_size, kv_tokens, cores)


def _parted(run: RunConfig, device: str) -> Cores | None:
    """What this thread keeps to from now on, and the rest. `check_own_cores` saw that there is."""
    if device != "cpu":
        raise ConfigError("own_cores", True, f"unset: the model is on {device}")
    cores = part(usable_cores(), run.threads, physical_core)
    if cores is not None:
        keep_to(cores.engine)
    return cores


def warm_up(engine: Engine, clock: Clock) -> None:
    """A few steps, so that no client pays for what is allocated at first use. A GPU's kernels were
    compiled when the engine was built."""
    from ...engines.api import SamplingParams

    sampling = SamplingParams(max_tokens=_WARMUP_TOKENS, ignore_eos=True)
    for place in range(2):
        prompt = tuple(range(_WARMUP_TOKENS))
        engine.add(Request(f"warmup-{place}", prompt, sampling, clock.now()))
    while engine.has_work():
        engine.step()
