"""How wrong the client is, measured: the mock server on one core knows what it truly sent, the
client on the others says what it saw.

Error of a request's TTFT: (first token seen - due) - (first token sent - request received); what is
late at sending, on the way and at reading is all in it. Of a gap between chunks (ITL): seen - sent.
Of E2EL: as TTFT, with the last token.
"""

from __future__ import annotations

import os
import random
import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime

import numpy as np
from numpy.typing import NDArray

from ...workloads.api import Plan, PlannedRequest
from ..errors import InvalidRun
from ..machine.environment import cpu
from ..mock.log import Sent as Truth
from ..mock.process import in_process, take_log
from ..mock.rule import Rule
from ..run.planning import asked_of
from ..run.record import RequestRecord, RequestStatus
from ..stats.percentiles import percentiles
from .addresses import resolve
from .bodies import fixed_fields
from .calibration import CalibratedLoad, ClientCalibration, Load, load_of
from .config import ClientConfig, parse_url
from .lag import check_client, check_send_lag
from .load_summary import client_load
from .names import name_within_run
from .processes import Job, SentByAll, send_job
from .servers import SERVERS

Floats = NDArray[np.float64]
_PROMPT = tuple(range(64))
_TTFT_S = 0.05


@dataclass(frozen=True)
class Point:
    """A load to offer, open loop: requests a second, each of so many chunks, gap_s apart."""

    requests_per_s: float
    tokens: int
    gap_s: float

    @classmethod
    def of(cls, streams: int, chunks_per_s: float, stream_s: float = 2.0) -> Point:
        """About so many streams at a time, of stream_s each, that emit so many chunks together."""
        requests_per_s = streams / stream_s
        tokens = max(1, round(chunks_per_s / requests_per_s))
        return cls(requests_per_s, tokens, (stream_s - _TTFT_S) / tokens)


# From one stream to more than one process can take; the last are short requests.
GRID = (
    Point.of(1, 50),
    Point.of(8, 400),
    Point.of(32, 1600),
    Point.of(100, 2000),
    Point.of(100, 5000),
    Point.of(500, 5000),
    Point.of(500, 10_000),
    Point.of(500, 15_000),
    Point.of(500, 20_000),
    Point.of(40, 2000, 0.08),
    Point.of(80, 4000, 0.08),
    Point.of(160, 8000, 0.08),
)


def calibrate_client(
    points: Sequence[Point],
    report: Callable[[str], None],
    *,
    seconds: float = 4.0,
    processes: int = 1,
    seed: int = 0,
) -> ClientCalibration:
    """Each load in turn against a mock server of its own. seconds: how long requests are sent at
    each. Raises InvalidRun where a request failed: the errors of the rest mean nothing then."""
    found: list[CalibratedLoad] = []
    server_core, client_cores = cores()
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, client_cores)
    try:
        for at, point in enumerate(points):
            rule = Rule(_TTFT_S, point.gap_s, jitter=0.3, seed=seed + at)
            with in_process(rule, [server_core]) as url:
                one = measure_point(url, point, seconds=seconds, processes=processes, seed=seed)
            report(describe(one))
            found.append(one)
    finally:
        os.sched_setaffinity(0, before)
    return ClientCalibration(
        str(cpu()["model"]),
        datetime.now(UTC).isoformat(timespec="seconds"),
        processes,
        tuple(found),
    )


def cores() -> tuple[int, list[int]]:
    """The server's core and the client's: on a machine of one they share it."""
    usable = sorted(os.sched_getaffinity(0))
    return usable[-1], usable[:-1] or usable


def measure_point(
    url: str, point: Point, *, seconds: float, processes: int, seed: int
) -> CalibratedLoad:
    """One load against a mock server that is up. Raises InvalidRun as `calibrate_client` does."""
    plan = plan_of(point, seconds, seed)
    config = ClientConfig(parse_url(url), processes=processes, max_errors=1)
    server = SERVERS["mock"]
    fixed = fixed_fields(config, server, "mock", "")
    salt = secrets.token_hex(8)
    job = Job(config, server, fixed, salt, plan, resolve(config))
    warm = replace(plan, requests=plan.requests[:1])
    _sent(replace(job, salt=f"{salt}-warmup", plan=warm))
    take_log(url)
    sent = _sent(job)
    records = sent.sent.records
    for one in records:
        if one.status is not RequestStatus.OK:
            why = ": ".join(filter(None, (one.error or one.status, one.detail)))
            raise InvalidRun(f"a request failed at {point.requests_per_s:g} requests/s: {why}")
    truths = {name_within_run(one.request_id): one for one in take_log(url)}
    errors = errors_of(records, truths)
    client = client_load(sent)
    checks = (check_client(records, client), check_send_lag(records, asked_of(plan)))
    load = load_of(records)
    assert load is not None
    return CalibratedLoad(
        load=load,
        **{name: _summary(values) for name, values in errors.items()},
        loop_lag_p99_s=client.loop_lag_p99_s,
        cpu_share=client.cpu_share,
        valid=all(check.ok for check in checks),
        why="; ".join(check.detail for check in checks if not check.ok),
    )


def _sent(job: Job) -> SentByAll:
    """Raises KeyboardInterrupt on Ctrl-C, which `send_job` answers with what it has."""
    found = send_job(job, lambda _: None)
    if found.sent.interrupted and not found.sent.failure:
        raise KeyboardInterrupt
    return found


def plan_of(point: Point, seconds: float, seed: int) -> Plan:
    """Poisson arrivals for so long, and at least ten of them."""
    draw = random.Random(seed)
    count = max(10, round(point.requests_per_s * seconds))
    due_s = 0.0
    requests: list[PlannedRequest] = []
    for index in range(count):
        requests.append(PlannedRequest(index, due_s, _PROMPT, point.tokens))
        due_s += draw.expovariate(point.requests_per_s)
    return Plan(tuple(requests), None)


def errors_of(records: Sequence[RequestRecord], truths: Mapping[str, Truth]) -> dict[str, Floats]:
    """Seen less true, in seconds: a sample a request for ttft and e2el, one a gap for itl. truths:
    by the request's name within its run. Raises InvalidRun where the two do not even agree on the
    tokens of each chunk."""
    ttft, e2el, gaps = [], [], []
    for one in records:
        truth = truths[one.request_id]
        if list(one.chunk_tokens) != list(truth.chunk_tokens):
            raise InvalidRun(f"{one.request_id}: the client counted other tokens than were sent")
        seen_s, true_s = np.asarray(one.chunk_times_s), np.asarray(truth.chunk_times_s)
        ttft.append((seen_s[0] - one.t_due_s) - (true_s[0] - truth.received_s))
        e2el.append((seen_s[-1] - one.t_due_s) - (true_s[-1] - truth.received_s))
        gaps.append(np.diff(seen_s) - np.diff(true_s))
    return {
        "ttft": np.asarray(ttft),
        "itl": np.concatenate(gaps) if gaps else np.empty(0),
        "e2el": np.asarray(e2el),
    }


def _summary(errors: Floats) -> dict[str, float]:
    sizes = np.abs(errors) if len(errors) else np.zeros(1)
    p50_s, p99_s = percentiles(sizes, (50, 99))
    return {
        "p50_s": p50_s,
        "p99_s": p99_s,
        "bias_s": float(errors.mean()) if len(errors) else 0.0,
    }


def describe(one: CalibratedLoad) -> str:
    """A line for each load."""
    parts = [
        f"{one.load.streams:6.0f} streams {one.load.chunks_per_s:8.0f} chunks/s "
        f"{one.load.requests_per_s:7.1f} requests/s",
        *(
            f"{name} ± {1e3 * of['p99_s']:.2f} ms (bias {1e3 * of['bias_s']:+.3f})"
            for name, of in (("ttft", one.ttft), ("itl", one.itl), ("e2el", one.e2el))
        ),
        f"loop p99 {1e3 * one.loop_lag_p99_s:.1f} ms, {100 * one.cpu_share:.0f} % of a core",
        "within its limits" if one.valid else f"BEYOND: {one.why}",
    ]
    return " · ".join(parts)


def largest_within(found: ClientCalibration) -> Load | None:
    """The most of each that was offered and stayed within the client's limits, not all at once;
    None where nothing did."""
    loads = [point.load for point in found.points if point.valid]
    if not loads:
        return None
    return Load(
        max(load.streams for load in loads),
        max(load.chunks_per_s for load in loads),
        max(load.requests_per_s for load in loads),
    )
