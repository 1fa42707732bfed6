"""One run, from settings to a stored result: prepare, load, warm up, measure, judge, report.

Everything that can be found wrong without weights is found in `prepare`.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from ..engines.config import EngineConfig
from ..engines.errors import ConfigError
from ..engines.models.catalogue import ModelFiles, resolve_dummy, resolve_model
from ..engines.models.describe import describe_model
from ..engines.models.tokenizer import (
    ByteTokenizer,
    Tokenizer,
    load_tokenizer,
    tokenizer_or_bytes,
)
from ..workloads.api import LengthLimits, Plan, plan_workload
from ..workloads.builtin import resolve_workload, trace_workload
from ..workloads.overrides import with_overrides
from ..workloads.spec import WorkloadSpec
from ..workloads.warmup import warmup_workload
from .compose import compose
from .config import LoadConfig, RunConfig
from .drive import Observation, Progress, drive, request_id
from .errors import InvalidRun
from .metrics.kv import KVPool
from .record import RequestRecord
from .result import Memory, Quality, Result
from .summarise import requests_frame, steps_frame, summarise
from .text_encoder import text_encoder
from .validity import Asked

if TYPE_CHECKING:
    import pandas as pd

    from ..engines.assemble import LoadedModel
    from ..engines.core import EngineCore
    from .quality import Distance, TextQuality

# The warm-up's prompts must not be the measured ones, or a prefix cache would be warm with them.
WARMUP_SEED_OFFSET = 1_000_003
_NO_REFERENCE = (
    "the checkpoint was quantised before, so there is no unquantised model here to compare it "
    "with: KL and agreement are left out"
)


class Watch(Protocol):
    """Who is told how a run goes."""

    def stage(self, text: str) -> None:
        """A new part of the work begins."""
        ...

    def progress(self, progress: Progress) -> None: ...


@dataclass(frozen=True)
class Prepared:
    """A run that has been checked: its model's files, its engine in full, what it will send."""

    config: RunConfig
    files: ModelFiles
    engine: EngineConfig
    tokenizer: Tokenizer
    plan: Plan
    warmup: Plan
    corpus_name: str
    corpus_token_ids: tuple[int, ...]


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
    from ..engines.assemble import resolve

    spec = workload_of(config.load)
    files = files_of(config.model, config.engine, watch.stage)
    engine = resolve(config.engine, files)
    # What `auto` came to is part of the run's name.
    config = replace(config, engine=replace(config.engine, quant=engine.quant))
    tokenizer = tokenizer_of(files, engine)
    corpus_name, text = corpus_text(config.load.corpus)
    corpus = tuple(tokenizer.encode(text, add_special_tokens=False))
    described = describe_model(files.directory, engine.model_impl).config
    if config.verify_kernels:
        from .verify_kernels import verify_kernels

        verify_kernels(engine, files, described, watch.stage)
    assert engine.max_model_len is not None
    limits = LengthLimits(
        config.load.max_input_len, config.load.max_output_len, engine.max_model_len
    )
    encoder = text_encoder(tokenizer, files.directory)
    plan = plan_workload(
        spec,
        seed=config.seed,
        corpus_token_ids=corpus,
        limits=limits,
        vocab_size=described.vocab_size,
        encoder=encoder,
    )
    warmup = Plan((), None)
    if config.warmup_requests:
        warmup = plan_workload(
            warmup_workload(spec, min(config.warmup_requests, len(plan.requests))),
            seed=config.seed + WARMUP_SEED_OFFSET,
            corpus_token_ids=corpus,
            limits=limits,
            vocab_size=described.vocab_size,
            encoder=encoder,
        )
    return Prepared(config, files, engine, tokenizer, plan, warmup, corpus_name, corpus)


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
    from ..engines.assemble import load_model

    engine = prepared.engine
    _set_threads(prepared.config)
    watch.stage(f"loading {prepared.files.name} ({prepared.config.label}, {engine.dtype})")
    return load_model(prepared.files, engine, watch.stage)


def measure(prepared: Prepared, watch: Watch, loaded: LoadedModel | None = None) -> Measured:
    """Load, warm up, serve the plan, and say what was seen. Ctrl-C while serving ends the run
    early: the result then holds what was measured and is marked partial.

    loaded: what `load` gave for a run of the same weights, to be served again.
    """
    from ..engines.assemble import build_engine
    from ..engines.clock import WallClock
    from ..kernels.dispatch import calls as kernel_calls
    from ..kernels.dispatch import calls_since as kernel_calls_since
    from .environment import capture
    from .memory import peak_device_bytes, peak_rss_bytes, start_peak

    config, engine = prepared.config, prepared.engine
    _set_threads(config)
    environment = capture(seed=config.seed, import_torch=True)
    loaded = loaded or load(prepared, watch)
    clock = WallClock()
    core = build_engine(loaded, engine, clock)
    start_peak()
    if prepared.warmup.requests:
        watch.stage(f"warming up with {len(prepared.warmup.requests)} requests")
        warm = drive(core, clock, prepared.warmup, on_progress=watch.progress)
        if warm.failure:
            raise InvalidRun(warm.failure)
        if warm.interrupted:
            raise KeyboardInterrupt
    watch.stage(f"measuring {len(prepared.plan.requests)} requests")
    before = kernel_calls()
    seen = drive(core, clock, prepared.plan, on_progress=watch.progress)
    computed = kernel_calls_since(before)
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
        prepared, loaded, seen, pool, computed, environment, memory, quality, interrupted
    )
    requests, steps = requests_frame(seen.records), steps_frame(seen.records, seen.steps)
    return Measured(result, requests, steps, seen.failure)


def _result(
    prepared: Prepared,
    loaded: LoadedModel,
    seen: Observation,
    pool: KVPool,
    computed: Mapping[str, Mapping[str, int]],
    environment: dict[str, object],
    memory: Memory,
    quality: Quality | None,
    interrupted: bool,
) -> Result:
    from ..engines.assemble import emulated_by, kernels_of

    config, engine, plan = prepared.config, prepared.engine, prepared.plan
    kernels = kernels_of(engine, prepared.files)
    assert engine.max_num_batched_tokens is not None
    summary = summarise(
        seen.records,
        seen.steps,
        pool=pool,
        max_num_batched_tokens=engine.max_num_batched_tokens,
        asked=asked_of(plan),
        slo=config.slo_s,
        interrupted=seen.interrupted,
        failure=seen.failure,
    )
    return compose(
        summary,
        plan,
        fingerprint=plan.fingerprint(),
        run_id=secrets.token_hex(8),
        created_at=datetime.now(UTC).isoformat(timespec="seconds"),
        partial=interrupted,
        label=config.label,
        config=_config(prepared, loaded),
        environment=environment,
        memory=memory,
        quality=quality,
        kernels=kernels,
        emulated=emulated_by(kernels, computed),
        kernel_calls=computed,
    )


def judge_quality(
    prepared: Prepared,
    loaded: LoadedModel,
    records: Sequence[RequestRecord],
    watch: Watch,
) -> Quality:
    """Perplexity on the held-out text, through the run's own kind of KV cache; where weights or
    cache are quantised, the distance to the engine with neither, on the text and on the answers."""
    from ..engines.assemble import load_model
    from ..engines.models.dense import dense_logits
    from ..engines.quantization.checkpoints.read import read_scheme
    from .quality import WINDOW_TOKENS, Score, answered, distance, quality_on_text

    most = prepared.config.quality_tokens
    assert prepared.engine.max_model_len is not None
    window = min(WINDOW_TOKENS, prepared.engine.max_model_len)
    text = prepared.corpus_token_ids[:most]

    def scorer(model: LoadedModel, kv_dtype: str) -> Score:
        return lambda token_ids: dense_logits(model.model, token_ids, kv_dtype)

    watch.stage(f"measuring quality over {len(text)} tokens")
    engine = prepared.engine
    score = scorer(loaded, engine.kv_dtype)
    plain_score = apart = None
    unquantised, caveat = True, prepared.files.caveat
    if engine.quant != "none" and read_scheme(prepared.files.directory) is not None:
        unquantised = False
        caveat = "; ".join(filter(None, (caveat, _NO_REFERENCE)))
    if unquantised and (engine.quant != "none" or engine.kv_dtype != "auto"):
        plain = loaded
        if engine.quant != "none":
            plain = load_model(prepared.files, replace(engine, quant="none"))
        plain_score = scorer(plain, "auto")
        prompts = [request.prompt_token_ids for request in prepared.plan.requests]
        apart = distance(score, plain_score, answered(records, prompts, most))
    compared = f"{prepared.files.name} in {prepared.engine.dtype}, unquantised"
    return quality_of(
        quality_on_text(score, plain_score, text, window),
        apart,
        reference=compared if unquantised else "none: the checkpoint was quantised before",
        perplexity_text=prepared.corpus_name,
        caveat=caveat,
    )


def quality_of(text: TextQuality | None, answers: Distance | None, **said: str) -> Quality:
    """What a result says of it. said: `reference`, `perplexity_text` and `caveat`."""
    apart = text.distance if text else None
    reference = text.reference_perplexity if text else None
    return Quality(
        perplexity=text.perplexity.value if text else None,
        reference_perplexity=reference.value if reference else None,
        perplexity_window_tokens=text.perplexity.window_tokens if text else None,
        perplexity_tokens=text.perplexity.tokens if text else None,
        text_kl_mean=apart.kl_mean if apart else None,
        text_kl_p99=apart.kl_p99 if apart else None,
        text_top1_agreement=apart.top1_agreement if apart else None,
        kl_mean=answers.kl_mean if answers else None,
        kl_p99=answers.kl_p99 if answers else None,
        top1_agreement=answers.top1_agreement if answers else None,
        compared_tokens=answers.tokens if answers else 0,
        **said,
    )


def workload_of(load: LoadConfig) -> WorkloadSpec:
    """What a run is asked to send."""
    spec = trace_workload(load.trace) if load.trace else resolve_workload(load.workload)
    return with_overrides(
        spec,
        num_requests=load.num_requests,
        request_rate=load.request_rate,
        max_concurrency=load.max_concurrency,
        arrival=load.arrival,
        time_scale=load.time_scale,
        samples=load.samples,
        shared_prefix_tokens=load.shared_prefix_tokens,
    )


def corpus_text(path: Path | None) -> tuple[str, str]:
    """Name and text that prompts are cut from: the user's, or the held-out text that ships. Raises
    ConfigError."""
    if path is None:
        from ..engines.models.bundled import heldout_text

        return "held-out text of the bundled model", heldout_text()
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError("corpus", str(path), "a readable UTF-8 text file") from error
    if not text.strip():
        raise ConfigError("corpus", str(path), "a text file that is not empty")
    return path.name, text


def asked_of(plan: Plan) -> Asked:
    """What a plan asks of a run, for its validity."""
    return Asked(
        output_tokens={
            request_id(one, sample): one.output_tokens
            for one in plan.requests
            for sample in range(one.samples)
        },
        open_loop=plan.requests[0].t_due_s is not None,
        max_concurrency=plan.max_concurrency,
    )


def _pool(core: EngineCore, loaded: LoadedModel, engine: EngineConfig) -> KVPool:
    kv = core.strategy.kv
    bytes_per_token = loaded.config.kv_bytes_per_token(engine.dtype, engine.kv_dtype)
    return KVPool(
        kv.kind, kv.capacity_tokens, kv.capacity_tokens * bytes_per_token, bytes_per_token
    )


def _set_threads(config: RunConfig) -> None:
    if config.threads is not None:
        import torch

        torch.set_num_threads(config.threads)


def _config(prepared: Prepared, loaded: LoadedModel) -> dict[str, object]:
    """The run's settings as reports show them."""
    config, load = prepared.config, prepared.config.load
    engine = asdict(prepared.engine)
    if prepared.engine.kv == "contiguous":
        engine["block_size"] = None
    return {
        "model": prepared.files.name,
        "model_revision": prepared.files.revision,
        "model_family": loaded.config.family,
        "model_parameters": loaded.config.parameter_count,
        "tokenizer": "bytes, a stand-in"
        if isinstance(prepared.tokenizer, ByteTokenizer)
        else "the model's",
        **engine,
        "seed": config.seed,
        **load_settings(load, prepared.plan),
        "corpus": prepared.corpus_name,
        "warmup_requests": len(prepared.warmup.requests),
        "slo": dict(config.slo_s),
        "quality_tokens": config.quality_tokens,
        "command": config.command,
    }


def load_settings(load: LoadConfig, plan: Plan) -> dict[str, object]:
    """What was sent, as reports show it."""
    return {
        "workload": str(load.trace) if load.trace else load.workload,
        "time_scale": load.time_scale,
        "num_requests": len(plan.requests),
        "request_rate": plan.description["request_rate_per_s"],
        "max_concurrency": plan.max_concurrency,
        "max_input_len": load.max_input_len,
        "max_output_len": load.max_output_len,
        "samples": plan.description["samples"],
    }
