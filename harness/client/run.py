"""One run against a server, from a plan to a result: warm up, send, judge.

What an in-process run knows of steps, KV cache and memory is not seen here and stays null.
"""

from __future__ import annotations

import secrets
from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from ...reports.facts import SERVERS_OWN
from ...reports.format import plural
from ..errors import InvalidRun
from ..machine.resources import add_resources, not_seen
from ..machine.throttling import Throttled, read_throttled
from ..metrics.counters import count_replies
from ..result import Check, ClientError, ClientLoad, Result, ServerOwnMetrics, Target
from ..run.build_result import build_result
from ..run.drive import request_id
from ..run.planning import asked_of, load_settings, price_setting
from ..run.record import RequestRecord, RequestStatus
from ..run.replies import replies_only
from ..run.summarise import Summary
from ..tables.requests import requests_frame
from ..tables.steps import steps_frame
from .calibration import ClientCalibration, error_at, load_of, widened
from .checks import AskedOfServer, assess_replies, errors_by_label
from .lengths import ended_early
from .load_summary import client_load, in_flight_s
from .prepare import PreparedServerRun
from .processes import SentByAll, send_job
from .server_machine import check_server_machine, find_server, read
from .server_metrics import scraping, told_by_server
from .tls import Trust

if TYPE_CHECKING:
    from ..run.experiment import Measured
    from ..run.watch import Watch


def measure_server(prepared: PreparedServerRun, watch: Watch) -> Measured:
    """Warm up, send the plan, and say what was seen. Ctrl-C, or too many failed requests, end the
    run early: the result then holds what was measured and is marked partial."""
    from ..machine.environment import capture
    from ..run.experiment import Measured

    salt = secrets.token_hex(8)
    environment = capture(seed=prepared.config.seed)
    if prepared.warmup.requests:
        watch.stage(f"warming up with {plural(len(prepared.warmup.requests), 'request')}")
        warm = send_job(prepared.warmup_job(salt), watch.progress)
        _check_warmup(prepared, warm)
    watch.stage(f"measuring {plural(len(prepared.plan.requests), 'request')}")
    job = prepared.job(salt)
    place = find_server(prepared.config.client.url)
    own, throttled_before, others_before = None, read_throttled(), read(place)
    if interval_s := prepared.config.client.metrics_interval_s:
        asked = prepared.config.client
        with scraping(str(asked.url), interval_s, asked.headers(), asked.tls) as scraper:
            found = send_job(job, watch.progress)
            own = told_by_server(scraper.stop(), found.sent.origin_s)
    else:
        found = send_job(job, watch.progress)
    throttled = read_throttled().since(throttled_before)
    alone = check_server_machine(place, others_before, read(place))
    result = _result(prepared, found, environment, own, throttled, alone)
    records = found.sent.records
    requests = requests_frame(records, prepared.plan)
    return Measured(result, requests, steps_frame(records, ()), failure=found.sent.failure)


def _check_warmup(prepared: PreparedServerRun, warm: SentByAll) -> None:
    """A server that fails every request of the warm-up most likely fails the rest, and nobody waits
    for that who did not say so."""
    if warm.sent.interrupted and not warm.sent.failure:
        raise KeyboardInterrupt
    records = warm.sent.records
    goes_on = prepared.config.client.max_errors == 0
    if records and not goes_on and all(one.status is RequestStatus.FAILED for one in records):
        first = records[0]
        raise InvalidRun(
            f"{prepared.config.client.url} failed every request of the warm-up: {first.error}: "
            f"{first.detail} (--max-errors 0 goes on, --warmup-requests 0 sends none)"
        )


def _result(
    prepared: PreparedServerRun,
    found: SentByAll,
    environment: dict[str, Any],
    own: ServerOwnMetrics | None,
    throttled: Throttled,
    alone: Check,
) -> Result:
    config, plan, sent = prepared.config, prepared.plan, found.sent
    client = client_load(found)
    summary = add_resources(
        summarise_replies(prepared, found, client, throttled).with_check(alone),
        sent.records,
        (),
        not_seen("a server's steps and machine are not seen", price_per_hour=config.price_per_hour),
    )
    return build_result(
        summary,
        plan,
        fingerprint=plan.fingerprint(),
        run_id=secrets.token_hex(8),
        created_at=datetime.now(UTC).isoformat(timespec="seconds"),
        partial=sent.interrupted,
        label=f"{prepared.server.name} ({config.client.endpoint})",
        config=settings_of(prepared),
        environment=environment,
        target=_target(prepared, sent.records, asked_of(plan).output_tokens),
        client=client,
        client_error=_client_error(prepared.calibration, sent.records, client),
        server_metrics=own,
    )


def summarise_replies(
    prepared: PreparedServerRun, found: SentByAll, client: ClientLoad, throttled: Throttled
) -> Summary:
    """Everything computed from what a server sent back. duration_s runs to the last token.
    throttled: the client's machine, meanwhile."""
    records, plan = found.sent.records, prepared.plan
    replies = replies_only(records, prepared.config.slo_s)
    asked = asked_of(plan)
    client_config = prepared.config.client
    told = prepared.server.forgets(client_config.endpoint)
    return Summary(
        duration_s=replies.duration_s,
        window=replies.window,
        metrics=replies.metrics,
        kv=None,
        counters=count_replies(records, unsent=asked.unsent(records)),
        validity=assess_replies(
            records,
            replies.window,
            AskedOfServer(
                plan=asked,
                input_tokens={request_id(one): len(one.prompt_token_ids) for one in plan.requests},
                endpoint=client_config.endpoint,
                prompt_as=client_config.prompt_as,
                prefix_cache=client_config.prefix_cache,
                told=told,
                trust=client_config.tls,
                may_end_early=client_config.may_end_early,
            ),
            client,
            in_flight_s(found.busy),
            interrupted=found.sent.interrupted,
            failure=found.sent.failure,
            throttled=throttled,
        ),
        attribution=None,
    )


def _client_error(
    calibration: ClientCalibration | None, records: Sequence[RequestRecord], client: ClientLoad
) -> ClientError | None:
    """What the calibration says of a load like this run's; None without one."""
    load = load_of(records)
    if calibration is None or load is None:
        return None
    return widened(error_at(calibration, load, client.processes), client.loop_lag_p99_s)


def _target(
    prepared: PreparedServerRun,
    records: Sequence[RequestRecord],
    output_tokens: Mapping[str, int],
) -> Target:
    """output_tokens: asked for, by request id."""
    client = prepared.config.client
    served = [one for one in records if one.status is RequestStatus.OK]
    return Target(
        server=prepared.server.name,
        owner=prepared.probed.owner,
        base_url=str(client.url),
        addresses=tuple(map(str, prepared.addresses)),
        endpoint=client.endpoint,
        prompt_as=client.prompt_as,
        output_lengths=client.output_lengths,
        ended_early=len(ended_early(records, output_tokens)),
        asked_output_tokens=sum(output_tokens[one.request_id] for one in served),
        counted=dict(Counter(one.counted for one in served).most_common()),
        errors=errors_by_label(records),
    )


def _tls(trust: Trust | None) -> str:
    if trust is None:
        return "none"
    if not trust.verify:
        return "not verified"
    return "verified" if trust.ca_file is None else "verified by --ca-file"


def settings_of(prepared: PreparedServerRun) -> dict[str, Any]:
    """The run's settings, as `Result.config` holds them."""
    config, client = prepared.config, prepared.config.client
    timeouts = client.timeouts
    return {
        "model": prepared.probed.model,
        "tokenizer": prepared.tokenizer_name,
        "engine": prepared.server.name,
        **dict.fromkeys(("batching", "admission", "kv", "quant"), SERVERS_OWN),
        "endpoint": client.endpoint,
        "prompt_as": client.prompt_as,
        "output_lengths": client.output_lengths,
        "length_field": client.length_field,
        "prefix_cache_asked": client.prefix_cache,
        "extra": dict(client.extra),
        "headers": sorted(client.headers_env),
        "connections": client.connections,
        "tls": _tls(client.tls),
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
        **price_setting(config.price_per_hour),
        "command": config.command,
    }
