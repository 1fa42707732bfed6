"""What a run will send: the workload it is asked for, its text, the plan and its warm-up."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ...engines.errors import ConfigError
from ...workloads.api import LengthLimits, Plan, TextEncoder, plan_workload
from ...workloads.builtin import resolve_workload, trace_workload
from ...workloads.overrides import is_scaled_when_planned, with_overrides
from ...workloads.scaled import at_rate, requests_per_session
from ...workloads.spec import WorkloadSpec
from ...workloads.warmup import warmup_workload
from ..config import LoadConfig
from .drive import request_id
from .validity import Asked

# The warm-up's prompts must not be the measured ones, or a prefix cache would be warm with them.
WARMUP_SEED_OFFSET = 1_000_003


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
        from ...engines.models.bundled import heldout_text

        return "held-out text of the bundled model", heldout_text()
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError("corpus", str(path), "a readable UTF-8 text file") from error
    if not text.strip():
        raise ConfigError("corpus", str(path), "a text file that is not empty")
    return path.name, text


def scaled_as_asked(plan: Plan, spec: WorkloadSpec, load: LoadConfig) -> Plan:
    """The plan at the rate that `load` asks its own arrivals for, where that is still to be done.
    spec: what `load` asks for."""
    if load.arrival != "own" or load.request_rate is None:
        return plan
    return at_rate(plan, load.request_rate) if is_scaled_when_planned(spec.arrivals) else plan


def plan_with_warmup(
    spec: WorkloadSpec,
    load: LoadConfig,
    *,
    seed: int,
    warmup_requests: int,
    corpus_token_ids: Sequence[int],
    max_model_len: int,
    vocab_size: int | None,
    encoder: TextEncoder | None = None,
) -> tuple[Plan, Plan]:
    """The measured requests, and the few that go before them with prompts of their own. spec:
    what `load` asks for. encoder: reads the workload's texts. Raises WorkloadError."""
    limits = LengthLimits(load.max_input_len, load.max_output_len, max_model_len)
    plan = plan_workload(
        spec,
        seed=seed,
        corpus_token_ids=corpus_token_ids,
        limits=limits,
        vocab_size=vocab_size,
        encoder=encoder,
    )
    plan = scaled_as_asked(plan, spec, load)
    if not warmup_requests:
        return plan, Plan((), None)
    warmup = plan_workload(
        warmup_workload(spec, plan.requests[:warmup_requests]),
        seed=seed + WARMUP_SEED_OFFSET,
        # Backwards: two runs that are cut at one place would begin alike, whatever the seeds.
        corpus_token_ids=corpus_token_ids[::-1],
        limits=limits,
        vocab_size=vocab_size,
        encoder=encoder,
    )
    return plan, warmup


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
        prompts={request_id(one): tuple(one.prompt_token_ids) for one in plan.requests},
    )


def load_settings(load: LoadConfig, plan: Plan) -> dict[str, object]:
    """What was sent, as reports show it."""
    return {
        "workload": str(load.trace) if load.trace else load.workload,
        "time_scale": load.time_scale,
        "num_requests": len(plan.requests),
        "request_rate": plan.description["request_rate_per_s"],
        **_session_rate(plan),
        "max_concurrency": plan.max_concurrency,
        "max_input_len": load.max_input_len,
        "max_output_len": load.max_output_len,
        "samples": plan.description["samples"],
    }


def _session_rate(plan: Plan) -> dict[str, object]:
    """The rate of sessions as a setting, where they are what arrives."""
    if requests_per_session(plan.description) is None:
        return {}
    return {"session_rate": plan.description["session_rate_per_s"]}


def price_setting(price_per_hour: float | None) -> dict[str, object]:
    """The price as a setting, where one was named: it changes nothing of a run."""
    return {} if price_per_hour is None else {"price_per_hour": price_per_hour}
