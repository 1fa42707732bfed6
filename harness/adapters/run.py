"""A run on an engine of another library in this process: the same plan, clock and report as ours.

What it does inside is its own: there are no steps, no KV accounting and no attribution.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Protocol

from ...engines.api import Engine
from ...engines.clock import Clock, WallClock
from ...reports.facts import LIBRARYS_OWN
from ..machine.resources import add_resources, not_seen
from ..machine.throttling import check_throttling
from ..metrics.counters import count_replies
from ..result import Result, Validity
from ..run.build_result import build_result
from ..run.drive import Observation
from ..run.experiment import Measured, Prepared
from ..run.lateness import check_rate, check_sender_lag, waits_for_unseen_steps
from ..run.metered import Metered, serve_metered, warm_up
from ..run.planning import asked_of, load_settings, price_setting
from ..run.replies import replies_only
from ..run.summarise import Summary
from ..run.validity import (
    Asked,
    check_complete,
    check_errors,
    check_steady,
    check_tail,
    check_token_counts,
)
from ..slo import check_seen_by_a_client
from ..tables.requests import requests_frame
from ..tables.steps import steps_frame
from .installed import refuse_absent

if TYPE_CHECKING:
    import torch

    from ..run.watch import Watch


class AdaptedEngine(Engine, Protocol):
    """longest_step_s: a request may have waited so long to be handed over. version: the
    library's."""

    longest_step_s: float
    version: str

    def forget(self) -> None:
        """Drop every cached prefix, and what was noted of steps: the next run is another one."""
        ...

    def close(self) -> None:
        """Free what it holds. Nothing is served after that."""
        ...


@dataclass(frozen=True)
class Adapted:
    """A library's engine with the model in memory, and the clock that it reads."""

    engine: AdaptedEngine
    clock: Clock


def vllm_engine(prepared: Prepared, clock: Clock) -> AdaptedEngine:
    """vLLM with the settings that both have: model, dtype, length, requests at a time, seed."""
    from .vllm_engine import VllmEngine

    engine = prepared.engine
    return VllmEngine(
        str(prepared.files.directory),
        clock,
        dtype=engine.dtype,
        max_model_len=engine.max_model_len,
        max_num_seqs=engine.max_num_seqs,
        seed=prepared.config.seed,
    )


def tensorrt_llm_engine(prepared: Prepared, clock: Clock) -> AdaptedEngine:
    """TensorRT-LLM with the same; a seed belongs to its requests."""
    from .tensorrt_llm_engine import TensorRtLlmEngine

    engine = prepared.engine
    return TensorRtLlmEngine(
        str(prepared.files.directory),
        clock,
        dtype=engine.dtype,
        max_seq_len=engine.max_model_len,
        max_batch_size=engine.max_num_seqs,
    )


ADAPTERS: dict[str, Callable[[Prepared, Clock], AdaptedEngine]] = {
    "vllm": vllm_engine,
    "tensorrt_llm": tensorrt_llm_engine,
}


def load_adapted(prepared: Prepared, name: str, watch: Watch) -> Adapted:
    """name: of `ADAPTERS`. Raises ConfigError where the library is not installed, or an SLO limits
    what it does not show."""
    check_seen_by_a_client(prepared.config.slo_s)
    refuse_absent(name)
    clock = WallClock()
    watch.stage(f"loading {prepared.files.name} into {name}")
    return Adapted(ADAPTERS[name](prepared, clock), clock)


def measure_adapted(
    prepared: Prepared, name: str, watch: Watch, loaded: Adapted | None = None
) -> Measured:
    """Load, warm up, serve the plan, say what was seen; as `experiment.measure`. name: of
    `ADAPTERS`. loaded: an engine that has forgotten what it served before, and stays open.

    Raises ConfigError where the library is not installed."""
    from ..machine.environment import capture

    environment = capture(seed=prepared.config.seed, import_torch=True)
    with ExitStack() as stack:
        if loaded is None:
            loaded = load_adapted(prepared, name, watch)
            stack.callback(loaded.engine.close)
        engine, clock = loaded.engine, loaded.clock
        environment["packages"] = {**environment["packages"], name: engine.version}
        warm_up(engine, clock, prepared.warmup, watch)
        served = serve_metered(engine, clock, prepared.plan, _device(), watch)
    result, seen = _result(prepared, name, engine, served, environment), served.seen
    requests = requests_frame(seen.records, prepared.plan)
    return Measured(result, requests, steps_frame(seen.records, ()), seen.failure)


def _result(
    prepared: Prepared,
    name: str,
    engine: AdaptedEngine,
    served: Metered,
    environment: dict[str, Any],
) -> Result:
    plan, seen = prepared.plan, served.seen
    summary = _summary(seen, asked_of(plan), prepared.config.slo_s, engine.longest_step_s)
    throttling = check_throttling(served.throttled, seen.duration_s)
    summary = served.add_checks(summary.with_check(throttling))
    unseen = "the library's steps are not seen"
    used = not_seen(unseen, served.energy, prepared.config.price_per_hour)
    summary = add_resources(summary, seen.records, (), used)
    return build_result(
        summary,
        plan,
        fingerprint=plan.fingerprint(),
        run_id=secrets.token_hex(8),
        created_at=datetime.now(UTC).isoformat(timespec="seconds"),
        partial=seen.interrupted,
        label=f"{name} {engine.version}",
        config=settings_of(prepared, name),
        environment=environment,
    )


def _device() -> torch.device:
    """Where the library computes: it takes a GPU if there is one."""
    import torch

    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def _summary(
    seen: Observation, asked: Asked, slo_s: Mapping[str, float], longest_step_s: float
) -> Summary:
    records = seen.records
    replies = replies_only(records, slo_s)
    unsent = asked.unsent(records)
    waits_s = waits_for_unseen_steps(records, longest_step_s)
    # Every check that needs no trace of steps.
    checks = (
        check_complete(records, interrupted=seen.interrupted, unsent=unsent, failure=seen.failure),
        check_errors(records),
        check_token_counts(records, asked.output_tokens),
        check_sender_lag(records, waits_s, on_schedule=asked.sends_on_schedule),
        check_rate(records, waits_s, on_schedule=asked.sends_on_schedule),
        check_steady(replies.window, records, open_loop=asked.open_loop),
        check_tail(records),
    )
    return Summary(
        duration_s=replies.duration_s,
        window=replies.window,
        metrics=replies.metrics,
        kv=None,
        counters=count_replies(records, unsent=unsent),
        validity=Validity.of(checks),
        attribution=None,
    )


def settings_of(prepared: Prepared, name: str) -> dict[str, Any]:
    """The run's settings, as `Result.config` holds them."""
    config, engine = prepared.config, prepared.engine
    return {
        "model": prepared.files.name,
        "model_revision": prepared.files.revision,
        "engine": name,
        **dict.fromkeys(("batching", "admission", "kv", "quant"), LIBRARYS_OWN),
        "dtype": engine.dtype,
        "device": str(_device()),
        "max_model_len": engine.max_model_len,
        "max_num_seqs": engine.max_num_seqs,
        "seed": config.seed,
        **load_settings(config.load, prepared.plan),
        "corpus": prepared.corpus_name,
        "warmup_requests": len(prepared.warmup.requests),
        "slo": dict(config.slo_s),
        **price_setting(config.price_per_hour),
        "command": config.command,
    }
