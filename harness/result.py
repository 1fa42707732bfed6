"""The result file, `result.json`: versioned, described by a JSON Schema, read by every report.

Units are in names or beside the values; times are seconds, sizes bytes, lengths tokens.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

from ..reports.model import DISTURBANCES

SCHEMA_VERSION = 2


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Check(_Part):
    """One question about whether the run can be believed."""

    id: str
    ok: bool
    fatal: bool = Field(description="A fatal check that fails makes the run invalid.")
    value: float | None = None
    limit: float | None = None
    detail: str
    advice: str = Field(
        default="", description="What follows from a failure; empty where it is plain."
    )

    @property
    def told(self) -> str:
        """What was found, and what follows from it."""
        return f"{self.detail}: {self.advice}" if self.advice else self.detail


class Validity(_Part):
    """Whether the run may enter a comparison or a gate."""

    valid: bool
    checks: tuple[Check, ...]

    @classmethod
    def of(cls, checks: Iterable[Check]) -> Validity:
        checks = tuple(checks)
        return cls(valid=all(check.ok or not check.fatal for check in checks), checks=checks)

    @property
    def failures(self) -> tuple[Check, ...]:
        return tuple(check for check in self.checks if not check.ok)

    @property
    def disturbances(self) -> tuple[Check, ...]:
        """Others used the machine, or it was held back: a speed is then not its own."""
        return tuple(check for check in self.failures if check.id in DISTURBANCES)

    @property
    def disturbed(self) -> bool:
        return bool(self.disturbances)


class Metric(_Part):
    """One metric. Distributions hold count, mean, std, min, p50, p90, p95, p99, max;
    rates hold `window` (the steady window) and `run` (drain included); shares of a peak hold `run`
    and, of steps of a kind, `prefill`, `decode` and `mixed`; what a token takes holds `output` and
    `total`."""

    unit: str
    better: Literal["lower", "higher", "none"]
    stats: dict[str, float]


class Share(_Part):
    """A quantity over the run: time-weighted mean and peak."""

    mean: float
    peak: float


class KVSummary(_Part):
    """How the KV cache was used. See `engines/kv/usage.py` for each state's definition."""

    kind: str
    capacity_tokens: int
    capacity_bytes: int
    bytes_per_token: int
    useful_tokens: Share
    reserved_tokens: Share
    internal_tokens: Share
    external_tokens: Share
    shared_tokens: Share
    waste_share: float | None = Field(
        description="1 - useful / (useful + reserved + internal + external), time-weighted; "
        "null when nothing was ever held."
    )


class Counters(_Part):
    """Counts that repeat exactly when the schedule does; null where an engine does not say."""

    steps: int | None = None
    prefill_steps: int | None = None
    decode_steps: int | None = None
    mixed_steps: int | None = None
    prefill_tokens: int | None = None
    decode_tokens: int | None = None
    output_tokens: int
    requests_ok: int
    requests_refused: int
    requests_failed: int
    requests_unfinished: int
    preemptions: int | None = None
    recomputed_tokens: int | None = None
    prefix_hit_tokens: int | None = None
    swaps_out: int | None = None
    replayed_steps: int | None = None
    kv_peak_held_tokens: int | None = None

    @property
    def requests_asked(self) -> int:
        """Replies that were asked for, several of a request that was to be sampled so often."""
        return (
            self.requests_ok
            + self.requests_refused
            + self.requests_failed
            + self.requests_unfinished
        )


class TextParts(_Part):
    """Sums over stretches of neighbouring tokens of the text, in its order: what the interval of a
    comparison is resampled from. One number a stretch in each list."""

    tokens: tuple[int, ...] = Field(description="Predicted in each.")
    nll: tuple[float, ...] = Field(description="Negative log-likelihood, nats.")
    kl: tuple[float, ...] | None = Field(default=None, description="KL(reference || engine), nats.")
    agreed: tuple[int, ...] | None = Field(
        default=None, description="Tokens for which both would choose the same next one."
    )


class Quality(_Part):
    """Distance to the unquantised engine, and perplexity; null fields say what was not run.

    Perplexity and what begins with `text_` are of the same tokens: `perplexity_text` in
    non-overlapping windows. The rest is of this run's answers.
    """

    reference: str
    perplexity: float | None = None
    reference_perplexity: float | None = None
    perplexity_text: str = ""
    perplexity_window_tokens: int | None = None
    perplexity_tokens: int | None = None
    text_kl_mean: float | None = Field(
        None, description="Mean KL(reference || engine) on the text, nats a token."
    )
    text_kl_p99: float | None = None
    text_top1_agreement: float | None = None
    kl_mean: float | None = Field(None, description="Mean KL(reference || engine), nats a token.")
    kl_p99: float | None = None
    top1_agreement: float | None = None
    compared_tokens: int = 0
    caveat: str = ""
    text_parts: TextParts | None = Field(
        default=None,
        description="Null in results of before they were kept: those have no interval.",
    )
    text_fingerprint: str = Field(
        default="", description="Of the text's token ids: one text read by two tokenizers has two."
    )
    answers_fingerprint: str = Field(
        default="", description="Of the token ids of the prompts and answers that were judged."
    )


class Memory(_Part):
    """weight_bytes: what one decode step reads of the weights. kv_bytes: the KV pool.
    peak_rss_bytes: the process while serving, none of a simulation; peak_device_bytes: the
    accelerator, if any."""

    weight_bytes: int
    kv_bytes: int
    peak_rss_bytes: int | None
    peak_device_bytes: int | None = None


class Peaks(_Part):
    """What one device does at most, which `mfu` and `mbu` are shares of."""

    bytes_per_s: float = Field(description="Of its memory.")
    flops_per_s: float = Field(description="Dense, in `dtype`.")
    dtype: str = Field(description="What the linear maps multiply in: bf16, int8, fp8, …")
    source: str = Field(description="A datasheet, or a measurement and when.")


class Energy(_Part):
    """What the device drew while the run was measured, idle power included.

    source: NVML (a GPU's whole board) or RAPL (a CPU's packages and their memory, other processes'
    share included). duration_s: between the two readings.
    """

    source: str
    joules_by_domain: dict[str, float]
    duration_s: float

    @property
    def joules(self) -> float:
        return sum(self.joules_by_domain.values())


class Simulation(_Part):
    """What a simulated run stands on: whose step times, and how far they can be trusted."""

    hardware: str
    devices: int
    cost_model: Literal["roofline", "calibrated"]
    efficiency: dict[str, float] = Field(
        default_factory=dict, description="Share of the peak each phase is taken to reach."
    )
    step_error: dict[str, dict[str, float]] = Field(
        default_factory=dict,
        description="Of the calibration, on steps it was not fitted to: by phase, median and p90 "
        "of |predicted / measured - 1|, and bias.",
    )
    run_error: dict[str, float] = Field(
        default_factory=dict,
        description="predicted / measured - 1 of a whole run's means, by metric, on a run that the "
        "calibration has not seen.",
    )
    extrapolated_steps: int = Field(
        default=0, description="Steps larger than any that was calibrated on."
    )
    error: str = Field(description="How wrong it may be, in words.")


class WorkloadSummary(_Part):
    """What was sent; two runs with one fingerprint sent the same bytes."""

    name: str
    fingerprint: str
    num_requests: int
    description: dict[str, Any]
    adjustments: tuple[str, ...]


class Window(_Part):
    """The steady window: from the end of ramp-up to the last arrival, as `method` says."""

    start_s: float
    end_s: float
    method: str
    steady: bool = Field(
        default=True, description="False: no steady state was found; the whole run."
    )


class Parts(_Part):
    """Where a time went, in seconds. See `attribution/` for each part's definition.

    residual_s: what was measured and is in no other; rounding can make it a hair below 0.
    """

    queue_s: float
    own_prefill_s: float
    others_prefill_s: float
    decode_s: float
    preemption_s: float
    host_s: float
    residual_s: float

    @property
    def total_s(self) -> float:
        """The measured time."""
        return sum(self.model_dump().values())


class Band(_Part):
    """The mean parts of some latencies: all of them (`mean`), those between the 45th and the 55th
    percentile (`p50`), the slowest hundredth (`p99`), or the slow token gaps (`slow`)."""

    name: Literal["mean", "p50", "p99", "slow"]
    count: int
    parts: Parts


class SlowRequest(_Part):
    """A request with a long TTFT, and where it went."""

    request_id: str
    t_due_s: float
    parts: Parts


class SlowToken(_Part):
    """A long gap before a token, and where it went. token: its number, the reply's first is 0."""

    request_id: str
    token: int
    time_s: float
    parts: Parts


class Attribution(_Part):
    """Where the latencies of the served requests went.

    tpot: the mean over requests, null where no reply has two tokens. slow_token_s: gaps longer than
    this are slow; null where there are no gaps.
    """

    ttft: tuple[Band, ...]
    tpot: Parts | None
    itl: tuple[Band, ...]
    slow_token_s: float | None
    slowest_requests: tuple[SlowRequest, ...]
    slowest_tokens: tuple[SlowToken, ...]
    mixed_step_share: float = Field(
        description="Steps with both phases, of the steps that computed anything."
    )
    delayed_decode_step_share: float = Field(
        description="Decode steps in which, or right before which, a request with a token there "
        "stood behind another's prefill; of the steps with decodes."
    )
    mixed_steps_by_evidence: int = Field(
        description="Mixed steps told apart by what this run's decode-only steps took."
    )
    mixed_steps_by_tokens: int = Field(
        description="Mixed steps told apart in proportion to tokens, for want of such steps."
    )


class Target(_Part):
    """A server that is not ours, and how it was asked."""

    kind: Literal["openai"] = "openai"
    server: str = Field(description="Whose table of fields was sent: vllm, llama.cpp, …")
    owner: str = Field(description="What its /v1/models calls its maker.")
    base_url: str
    endpoint: Literal["completions", "chat"]
    prompt_as: Literal["ids", "text"]
    counted: dict[str, int] = Field(
        description="Replies by what the tokens of their chunks are known by; `total`: only their "
        "sum is, so they have no gaps between tokens; `split`: so it is, and more chunks had text "
        "than there were tokens."
    )
    errors: dict[str, int] = Field(description="Failed requests by label.")


class ServerOwnMetrics(_Part):
    """What a server said of itself on its page of metrics while it was measured: its definitions,
    seen now and then. Counters count from the first scrape.

    series: by name (kv_used_share, running, waiting, preemptions), a value for each of `time_s`,
    seconds since the run began. summary: means and peaks of these, and what counters rose by.
    """

    kind: str = Field(description="Whose names were found; empty for none.")
    failed_scrapes: int
    trouble: str = Field(description="Why the first that failed did.")
    summary: dict[str, float]
    time_s: tuple[float, ...]
    series: dict[str, tuple[float | None, ...]]


class ClientLoad(_Part):
    """How busy the client was while it measured."""

    processes: int
    connections: int
    loop_lag_p50_s: float = Field(description="Of a heartbeat every 10 ms; of the worst process.")
    loop_lag_p99_s: float
    loop_lag_max_s: float
    cpu_share: float = Field(description="Of one core; of the busiest process.")
    send_lag_p99_s: float = Field(description="p99 of send - due.")


class ErrorOf(_Part):
    """How far a latency as the client sees it is from the truth, in seconds."""

    p50_s: float = Field(description="Median of |seen - true|.")
    p99_s: float
    bias_s: float = Field(description="Mean of seen - true.")


class ClientError(_Part):
    """The client's own error at about this load, as `llmbench calibrate-client` measured it."""

    chunks_per_s: float = Field(description="The load it was measured at.")
    requests_per_s: float
    streams: int
    ttft: ErrorOf
    itl: ErrorOf
    e2el: ErrorOf
    measured_at: str
    beyond: bool = Field(
        False, description="The run was a larger load than any that was calibrated."
    )
    widened: bool = Field(
        default=False,
        description="A p99_s is the lag of the client's loop in this run, which was more than the "
        "calibrated error.",
    )


# What reports and comparisons ask of a configuration by name.
_NAMED_SETTINGS = ("model", "engine", "batching", "admission", "kv", "quant")


class Result(_Part):
    """Everything a run found, less the per-request and per-step tables beside it."""

    schema_version: int = SCHEMA_VERSION
    run_id: str
    created_at: str | None = Field(
        description="When; null for a simulated run, whose bytes depend on nothing but its input."
    )
    status: Literal["complete", "partial"]
    label: str
    config: dict[str, Any]
    environment: dict[str, Any]
    validity: Validity
    workload: WorkloadSummary
    window: Window
    duration_s: float
    metrics: dict[str, Metric]
    kv: KVSummary | None = Field(None, description="Null where a server keeps it to itself.")
    memory: Memory | None = None
    counters: Counters
    quality: Quality | None = None
    peaks: Peaks | None = Field(default=None, description="Null where they are not known.")
    energy: Energy | None = Field(default=None, description="Null where nothing counts it.")
    absent: dict[str, str] = Field(
        default_factory=dict, description="Why the run lacks a metric that others have, by its id."
    )
    attribution: Attribution | None = Field(None, description="Null where no request was served.")
    simulation: Simulation | None = Field(
        default=None, description="Present exactly if no model ran."
    )
    target: Target | None = Field(
        default=None, description="Present exactly if a server was driven."
    )
    client: ClientLoad | None = None
    client_error: ClientError | None = Field(
        default=None, description="Null where the client has not been calibrated on this machine."
    )
    server_metrics: ServerOwnMetrics | None = Field(
        default=None, description="Null where no server was asked for them."
    )
    kernels: dict[str, str] = Field(
        default_factory=dict,
        description="Which implementation is asked first for each operation.",
    )
    emulated: dict[str, str] = Field(
        default_factory=dict,
        description="Operations that the device computed in another arithmetic than their method's "
        "own, and what was done instead: their speed says nothing about hardware that has it.",
    )
    kernel_calls: dict[str, dict[str, int]] = Field(
        default_factory=dict,
        description="Which implementations computed each operation while requests were measured, "
        "and in how many calls. What a CUDA graph replays is not a call.",
    )

    @field_validator("config")
    @classmethod
    def _has_its_named_settings(cls, config: dict[str, Any]) -> dict[str, Any]:
        for name in _NAMED_SETTINGS:
            if not isinstance(config.get(name), str):
                raise ValueError(f"{name} must be a text, not {config.get(name)!r}")
        return config

    def stat(self, metric: str, stat: str) -> float | None:
        """One number of a metric; None if the run lacks it."""
        found = self.metrics.get(metric)
        return None if found is None else found.stats.get(stat)

    @property
    def has_token_chunks(self) -> bool:
        """Whether every chunk of a stream held one token, so that `icl` is `itl` again."""
        icl, itl = self.metrics.get("icl"), self.metrics.get("itl")
        return icl is not None and itl is not None and icl.stats == itl.stats


def json_schema() -> dict[str, Any]:
    """The JSON Schema of `result.json`."""
    return Result.model_json_schema()
