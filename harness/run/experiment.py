"""One run, from settings to a stored result: prepare, load, warm up, measure, judge, report.

Everything that can be found wrong without weights is found in `prepare`.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from ...engines.config import EngineConfig
from ...engines.models.catalogue import ModelFiles, resolve_dummy, resolve_model
from ...engines.models.describe import describe_model
from ...engines.models.tokenizer import (
    ByteTokenizer,
    Tokenizer,
    load_tokenizer,
    tokenizer_or_bytes,
)
from ...engines.resolved import ResolvedEngine
from ...workloads.api import Plan
from ..config import RunConfig
from ..machine.resources import add_resources, of_this_machine
from ..metrics.kv import KVPool
from ..quality.of_run import finite, judge_quality
from ..quality.reference import check_reference_is_used, find_reference
from ..result import Memory, Quality, Result
from ..storage.settings import check_finite
from ..tables.requests import requests_frame
from ..tables.steps import steps_frame
from .build_result import build_result
from .metered import Metered, serve_metered, warm_up
from .planning import (
    asked_of,
    corpus_text,
    load_settings,
    plan_with_warmup,
    price_setting,
    workload_of,
)
from .summarise import summarise
from .text_encoder import text_encoder
from .watch import Watch

if TYPE_CHECKING:
    import pandas as pd

    from ...engines.assemble import LoadedModel
    from ...engines.models.decoder import DecoderConfig
    from ...engines.pipeline import Core


@dataclass(frozen=True)
class Prepared:
    """A run that has been checked: its model's files, its engine in full, what it will send.

    threads: that the model computes with, as asked for or as torch has them. reference: the files
    of the unquantised model that a quantised directory is judged beside; None: none was named.
    """

    config: RunConfig
    files: ModelFiles
    model: DecoderConfig
    engine: ResolvedEngine
    threads: int
    tokenizer: Tokenizer
    plan: Plan
    warmup: Plan
    corpus_name: str
    corpus_token_ids: tuple[int, ...]
    reference: ModelFiles | None = None


@dataclass(frozen=True)
class Measured:
    """What a run leaves: the result and the two tables beside it. failure: what ended it early, in
    one line."""

    result: Result
    requests: pd.DataFrame
    steps: pd.DataFrame
    failure: str = ""


def prepare(config: RunConfig, watch: Watch) -> Prepared:
    """Check everything, plan every request. Raises ConfigError, ModelError, WorkloadError or, for
    kernels that do not exist or are wrong, KernelError."""
    import torch

    from ...engines.resolve import resolve

    spec = workload_of(config.load)
    files = files_of(config.model, config.engine, watch.stage)
    engine = resolve(config.engine, files)
    # What `auto` came to is part of the run's name.
    config = replace(config, engine=replace(config.engine, quant=engine.quant))
    reference, named = None, config.quality_reference
    if named is not None:  # before it is fetched
        check_reference_is_used(named, files, engine, config.quality_tokens)
    tokenizer = tokenizer_of(files, engine)
    corpus_name, text = corpus_text(config.load.corpus)
    corpus = tuple(tokenizer.encode(text, add_special_tokens=False))
    described = describe_model(files.directory, engine.model_impl).config
    if named is not None:
        words = (text, corpus)
        reference = find_reference(named, engine, described, tokenizer, words, watch.stage)
    if config.verify_kernels:
        from ..bench.verify_kernels import verify_kernels

        verify_kernels(engine, files, described, watch.stage)
    plan, warmup = plan_with_warmup(
        spec,
        config.load,
        seed=config.seed,
        warmup_requests=config.warmup_requests,
        corpus_token_ids=corpus,
        max_model_len=engine.max_model_len,
        vocab_size=described.vocab_size,
        encoder=text_encoder(tokenizer, files.directory),
    )
    prepared = Prepared(
        config,
        files,
        described,
        engine,
        config.threads or torch.get_num_threads(),
        tokenizer,
        plan,
        warmup,
        corpus_name,
        corpus,
        reference,
    )
    check_finite(settings_of(prepared))
    return prepared


def files_of(model: str, engine: EngineConfig, report: Callable[[str], None]) -> ModelFiles:
    """The model's files: all of them, or its config alone if its weights are drawn at random."""
    if engine.load_format == "dummy":
        return resolve_dummy(model)
    return resolve_model(model, report)


def tokenizer_of(files: ModelFiles, engine: EngineConfig) -> Tokenizer:
    """The model's own; bytes, where weights are random and there is none."""
    load = tokenizer_or_bytes if engine.load_format == "dummy" else load_tokenizer
    return load(files.directory)


def load(prepared: Prepared, watch: Watch) -> LoadedModel:
    """The weights that the run's engine asks for."""
    from ...engines.assemble import load_model

    engine = prepared.engine
    set_threads(prepared.config)
    watch.stage(f"loading {prepared.files.name} ({prepared.config.label}, {engine.dtype})")
    return load_model(prepared.files, engine, watch.stage)


def measure(prepared: Prepared, watch: Watch, loaded: LoadedModel | None = None) -> Measured:
    """Load, warm up, serve the plan, and say what was seen. Ctrl-C while serving ends the run
    early: the result then holds what was measured and is marked partial.

    loaded: what `load` gave for a run of the same weights, to be served again.
    """
    import torch

    from ...engines.assemble import build_engine
    from ...engines.clock import WallClock
    from ...kernels.dispatch import calls as kernel_calls
    from ...kernels.dispatch import calls_since as kernel_calls_since
    from ..machine.environment import capture
    from ..machine.memory import peak_device_bytes, peak_rss_bytes, start_peak

    config, engine = prepared.config, prepared.engine
    set_threads(config)
    environment = capture(seed=config.seed, import_torch=True)
    loaded = loaded or load(prepared, watch)
    clock = WallClock()
    core = build_engine(loaded, engine, clock)
    start_peak()
    warm_up(core, clock, prepared.warmup, watch)
    # In a short corpus two prompts begin at one place.
    core.strategy.kv.forget_names()
    before = kernel_calls()
    served = serve_metered(core, clock, prepared.plan, torch.device(engine.device), watch)
    computed, seen = kernel_calls_since(before), served.seen
    pool = _pool(core, loaded, engine)
    memory = Memory(
        weight_bytes=loaded.model.weight_bytes,
        kv_bytes=pool.capacity_bytes,
        peak_rss_bytes=peak_rss_bytes(),
        peak_device_bytes=peak_device_bytes(),
    )
    del core  # its KV pool may be what the unquantised model needs
    quality, interrupted = None, seen.interrupted
    # Random weights have no quality.
    if config.quality_tokens and not interrupted and engine.load_format != "dummy":
        try:
            quality = judge_quality(prepared, loaded, seen.records, watch)
        except KeyboardInterrupt:
            # The measurement itself is whole; the result still says that something is missing.
            interrupted = True
    result = _result(
        prepared, loaded, served, pool, computed, environment, memory, quality, interrupted
    )
    requests = requests_frame(seen.records, prepared.plan)
    steps = steps_frame(seen.records, seen.steps)
    return Measured(result, requests, steps, seen.failure)


def _result(
    prepared: Prepared,
    loaded: LoadedModel,
    served: Metered,
    pool: KVPool,
    computed: Mapping[str, Mapping[str, int]],
    environment: dict[str, object],
    memory: Memory,
    quality: Quality | None,
    interrupted: bool,
) -> Result:
    from ...engines.assemble import emulated_by, kernels_of
    from ...engines.quantization.auto import weights_of
    from ..bench.verify_kernels import check_decode_step, check_own

    config, engine, plan = prepared.config, prepared.engine, prepared.plan
    seen = served.seen
    kernels = kernels_of(engine, prepared.files) | loaded.fused
    summary = summarise(
        seen.records,
        seen.steps,
        pool=pool,
        max_num_batched_tokens=engine.max_num_batched_tokens,
        asked=asked_of(plan),
        slo=config.slo_s,
        interrupted=seen.interrupted,
        failure=seen.failure,
        throttled=served.throttled,
    )
    summary = served.add_checks(summary)
    if quality is not None:
        quality, check = finite(quality)
        summary = summary.with_check(check)
    own = check_own(config.engine.force_kernels, verified=config.verify_kernels)
    for check in (own, check_decode_step(engine)):
        if check is not None:
            summary = summary.with_check(check)
    emulated = emulated_by(kernels, computed)
    used = of_this_machine(
        loaded.model,
        engine,
        weights_of(engine, prepared.files.directory),
        served.energy,
        config.price_per_hour,
        emulated=bool(emulated),
    )
    summary = add_resources(summary, seen.records, seen.steps, used)
    return build_result(
        summary,
        plan,
        fingerprint=plan.fingerprint(),
        run_id=secrets.token_hex(8),
        created_at=datetime.now(UTC).isoformat(timespec="seconds"),
        partial=interrupted,
        label=config.label,
        config=settings_of(prepared),
        environment=environment,
        memory=memory,
        quality=quality,
        kernels=kernels,
        emulated=emulated,
        kernel_calls=computed,
    )


def _pool(core: Core, loaded: LoadedModel, engine: ResolvedEngine) -> KVPool:
    kv = core.strategy.kv
    bytes_per_token = loaded.config.kv_bytes_per_token(engine.dtype, engine.kv_dtype)
    return KVPool(
        kv.kind, kv.capacity_tokens, kv.capacity_tokens * bytes_per_token, bytes_per_token
    )


def set_threads(config: RunConfig) -> None:
    """Of the thread that calls it: as many as it then asks torch for."""
    if config.threads is not None:
        import torch

        torch.set_num_threads(config.threads)


def settings_of(prepared: Prepared) -> dict[str, Any]:
    """The run's settings, as `Result.config` holds them."""
    from ...kernels.own_sources import own_sources

    config, load = prepared.config, prepared.config.load
    engine = asdict(prepared.engine)
    sources = own_sources(prepared.engine.forced)
    if prepared.engine.kv == "contiguous":
        engine["block_size"] = None
    return {
        "model": prepared.files.name,
        "model_revision": prepared.files.revision,
        "model_family": prepared.model.family,
        "model_parameters": prepared.model.parameter_count,
        "tokenizer": "bytes, a stand-in"
        if isinstance(prepared.tokenizer, ByteTokenizer)
        else "the model's",
        **engine,
        **({"own_kernel_sources": sources} if sources else {}),
        "threads": prepared.threads,
        "seed": config.seed,
        **load_settings(load, prepared.plan),
        "corpus": prepared.corpus_name,
        "warmup_requests": len(prepared.warmup.requests),
        "slo": dict(config.slo_s),
        **price_setting(config.price_per_hour),
        "quality_tokens": config.quality_tokens,
        **({} if prepared.reference is None else {"quality_reference": prepared.reference.name}),
        "command": config.command,
    }
