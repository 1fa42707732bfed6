"""One run against a server, from settings to a result: probe, plan, warm up, send, judge.

What an in-process run knows of steps, KV cache and memory is not seen here and stays null.
"""

from __future__ import annotations

import secrets
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...engines.errors import ConfigError
from ...engines.models.catalogue import list_models, resolve_model
from ...engines.models.tokenizer import load_tokenizer
from ...workloads.api import Plan, WorkloadError
from ..compose import compose
from ..config import LoadConfig
from ..drive import request_id
from ..errors import InvalidRun
from ..metrics.counters import count_replies
from ..planning import asked_of, corpus_text, load_settings, plan_with_warmup, workload_of
from ..record import RequestRecord, RequestStatus
from ..result import ClientError, ClientLoad, Result, ServerOwnMetrics, Target
from ..summarise import (
    Summary,
    latency_metrics,
    requests_frame,
    steps_frame,
    throughput_metrics,
)
from ..text_encoder import text_encoder
from ..throttling import Throttled, read_throttled
from ..window import steady_window
from .bodies import fixed_fields, with_texts
from .calibration import default_path, error_at, load_of, read_calibration
from .checks import AskedOfServer, assess_replies, errors_by_label
from .config import ClientConfig
from .load_summary import client_load, in_flight_s
from .probe import Probed, probe
from .processes import Job, SentByAll, send_job
from .server_metrics import scraping, told_by_server
from .servers import Server, find_server

if TYPE_CHECKING:
    from ..experiment import Measured, Watch

# Longer than any model's context: where neither the user nor the server says.
_NO_LIMIT = 2**24
_UNSEEN = "the server's own"


@dataclass(frozen=True)
class ServerRunConfig:
    """Everything that decides a run against a server.

    tokenizer: a model directory or name, whose tokens prompts are cut in; None: of the model that
    is served, if it is known here. max_model_len: longest prompt and reply; None: as the server
    says. calibration: the client's own error; None: where `calibrate-client` puts it. The rest is
    as in `RunConfig`.
    """

    client: ClientConfig
    load: LoadConfig = field(default_factory=LoadConfig)
    tokenizer: str | None = None
    max_model_len: int | None = None
    seed: int = 0
    warmup_requests: int = 2
    slo_s: Mapping[str, float] = field(default_factory=dict)
    calibration: Path | None = None
    command: str = ""


@dataclass(frozen=True)
class PreparedServerRun:
    """A run that has been checked: the server answers, and everything is planned."""

    config: ServerRunConfig
    probed: Probed
    server: Server
    plan: Plan
    warmup: Plan
    corpus_name: str
    tokenizer_name: str

    def job(self, plan: Plan, salt: str, processes: int) -> Job:
        client = replace(self.config.client, processes=processes)
        fixed = fixed_fields(client, self.server, self.probed.model, salt)
        return Job(client, self.server, fixed, salt, plan)


def prepare_server_run(config: ServerRunConfig, watch: Watch) -> PreparedServerRun:
    """Ask the server who it is, and plan every request. Raises TargetError where it is down or not
    OpenAI-compatible, ConfigError, ModelError and WorkloadError."""
    spec = workload_of(config.load)
    if config.calibration is not None:
        read_calibration(config.calibration)
    watch.stage(f"asking {config.client.url} which models it serves")
    probed = probe(config.client)
    server = find_server(config.client.server, probed.owner)
    name, files = tokenizer_of_server(config.tokenizer, probed.model, server, watch)
    tokenizer = load_tokenizer(files)
    corpus_name, text = corpus_text(config.load.corpus)
    plan, warmup = plan_with_warmup(
        spec,
        config.load,
        seed=config.seed,
        warmup_requests=config.warmup_requests,
        corpus_token_ids=tokenizer.encode(text, add_special_tokens=False),
        max_model_len=config.max_model_len or probed.max_model_len or _NO_LIMIT,
        vocab_size=tokenizer.vocab_size,
        encoder=text_encoder(tokenizer, files),
    )
    if any(one.samples > 1 for one in plan.requests):
        raise WorkloadError("samples", plan.requests[0].samples, "1, for a server")
    if config.client.prompt_as == "text":
        plan, warmup = with_texts(plan, tokenizer), with_texts(warmup, tokenizer)
    return PreparedServerRun(config, probed, server, plan, warmup, corpus_name, name)


def tokenizer_of_server(
    asked: str | None, model: str, server: Server, watch: Watch
) -> tuple[str, Path]:
    """Whose tokens prompts are cut in, and where its files are. Raises ConfigError where it is not
    known."""
    name = asked
    if name is None and server.name == "mock":
        name = "bundled"  # any will do
    if name is None:
        known = {entry.name for entry in list_models()}
        if model not in known and not Path(model).is_dir():
            allowed = "--tokenizer NAME or DIRECTORY: prompts have exact lengths in its tokens"
            raise ConfigError("tokenizer", f"of {model!r}, not known here", allowed)
        name = model
    return name, resolve_model(name, watch.stage).directory


def measure_server(prepared: PreparedServerRun, watch: Watch) -> Measured:
    """Warm up, send the plan, and say what was seen. Ctrl-C, or too many failed requests, end the
    run early: the result then holds what was measured and is marked partial."""
    from ..environment import capture
    from ..experiment import Measured

    salt = secrets.token_hex(8)
    environment = capture(seed=prepared.config.seed)
    if prepared.warmup.requests:
        watch.stage(f"warming up with {len(prepared.warmup.requests)} requests")
        warm = send_job(prepared.job(prepared.warmup, salt, 1), watch.progress)
        _check_warmup(prepared, warm)
    watch.stage(f"measuring {len(prepared.plan.requests)} requests")
    processes = prepared.config.client.processes
    job = prepared.job(prepared.plan, salt, processes)
    own, throttled_before = None, read_throttled()
    if interval_s := prepared.config.client.metrics_interval_s:
        with scraping(str(prepared.config.client.url), interval_s) as scraper:
            found = send_job(job, watch.progress)
            own = told_by_server(scraper.stop(), found.sent.origin_s)
    else:
        found = send_job(job, watch.progress)
    throttled = read_throttled().since(throttled_before)
    result = _result(prepared, found, environment, own, throttled)
    records = found.sent.records
    return Measured(
        result, requests_frame(records), steps_frame(records, ()), failure=found.sent.failure
    )


def _check_warmup(prepared: PreparedServerRun, warm: SentByAll) -> None:
    """A server that fails every request of the warm-up will fail the rest."""
    if warm.sent.interrupted and not warm.sent.failure:
        raise KeyboardInterrupt
    records = warm.sent.records
    if records and all(one.status is RequestStatus.FAILED for one in records):
        first = records[0]
        raise InvalidRun(
            f"{prepared.config.client.url} failed every request of the warm-up: {first.error}: "
            f"{first.detail}"
        )


def _result(
    prepared: PreparedServerRun,
    found: SentByAll,
    environment: dict[str, Any],
    own: ServerOwnMetrics | None,
    throttled: Throttled,
) -> Result:
    config, plan, sent = prepared.config, prepared.plan, found.sent
    client = client_load(found)
    return compose(
        summarise_replies(prepared, found, client, throttled),
        plan,
        fingerprint=plan.fingerprint(),
        run_id=secrets.token_hex(8),
        created_at=datetime.now(UTC).isoformat(timespec="seconds"),
        partial=sent.interrupted,
        label=f"{prepared.server.name} ({config.client.endpoint})",
        config=_settings(prepared),
        environment=environment,
        target=_target(prepared, sent.records),
        client=client,
        client_error=_client_error(config, sent.records, client),
        server_metrics=own,
    )


def summarise_replies(
    prepared: PreparedServerRun, found: SentByAll, client: ClientLoad, throttled: Throttled
) -> Summary:
    """Everything computed from what a server sent back. duration_s runs to the last token.
    throttled: the client's machine, meanwhile."""
    records, plan = found.sent.records, prepared.plan
    duration_s = max((one.t_end_s for one in records if one.t_end_s is not None), default=0.0)
    window = steady_window(records, duration_s)
    asked = asked_of(plan)
    told = prepared.server.cache_can_be_told
    client_config = prepared.config.client
    return Summary(
        duration_s=duration_s,
        window=window,
        metrics={
            **latency_metrics(records),
            **throughput_metrics(records, window, duration_s, prepared.config.slo_s),
        },
        kv=None,
        counters=count_replies(records, unsent=asked.unsent(records)),
        validity=assess_replies(
            records,
            window,
            AskedOfServer(
                plan=asked,
                input_tokens={request_id(one): len(one.prompt_token_ids) for one in plan.requests},
                endpoint=client_config.endpoint,
                prompt_as=client_config.prompt_as,
                prefix_cache=client_config.prefix_cache,
                told=told,
                shares_prefixes=shares_prefixes(plan),
            ),
            client,
            in_flight_s(found.busy),
            interrupted=found.sent.interrupted,
            failure=found.sent.failure,
            throttled=throttled,
        ),
        attribution=None,
    )


def shares_prefixes(plan: Plan, tokens: int = 16) -> bool:
    """Whether two prompts begin with the same block of tokens, as prefix caches cut them."""
    begins = [
        tuple(one.prompt_token_ids[:tokens])
        for one in plan.requests
        if len(one.prompt_token_ids) > tokens
    ]
    return len(set(begins)) < len(begins)


def _client_error(
    config: ServerRunConfig, records: Sequence[RequestRecord], client: ClientLoad
) -> ClientError | None:
    """What this machine's calibration says; None without one."""
    from ..environment import cpu

    path = config.calibration or default_path()
    load = load_of(records)
    if load is None or (config.calibration is None and not path.is_file()):
        return None
    found = read_calibration(path)
    if found.cpu != str(cpu()["model"]):
        return None
    return error_at(found, load, client.processes)


def _target(prepared: PreparedServerRun, records: Sequence[RequestRecord]) -> Target:
    client = prepared.config.client
    served = [one for one in records if one.status is RequestStatus.OK]
    return Target(
        server=prepared.server.name,
        owner=prepared.probed.owner,
        base_url=str(client.url),
        endpoint=client.endpoint,
        prompt_as=client.prompt_as,
        counted=dict(Counter(one.counted for one in served).most_common()),
        errors=errors_by_label(records),
    )


def _settings(prepared: PreparedServerRun) -> dict[str, Any]:
    """The run's settings as reports show them."""
    config, client = prepared.config, prepared.config.client
    timeouts = client.timeouts
    return {
        "model": prepared.probed.model,
        "tokenizer": prepared.tokenizer_name,
        "engine": prepared.server.name,
        **dict.fromkeys(("batching", "admission", "kv", "quant"), _UNSEEN),
        "endpoint": client.endpoint,
        "prompt_as": client.prompt_as,
        "prefix_cache_asked": client.prefix_cache,
        "extra": dict(client.extra),
        "connections": client.connections,
        "processes": client.processes,
        "max_errors": client.max_errors,
        "timeouts_s": {
            "connect": timeouts.connect_s,
            "first_token": timeouts.first_token_s,
            "chunk": timeouts.chunk_s,
            "total": timeouts.total_s,
        },
        "max_model_len": config.max_model_len or prepared.probed.max_model_len,
        "seed": config.seed,
        **load_settings(config.load, prepared.plan),
        "corpus": prepared.corpus_name,
        "warmup_requests": len(prepared.warmup.requests),
        "slo": dict(config.slo_s),
        "command": config.command,
    }
