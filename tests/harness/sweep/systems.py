"""Stored runs of systems whose requests come and stay as a test says."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from llmbench.harness.result import Validity
from llmbench.harness.run.record import RequestRecord
from llmbench.harness.storage.store import write_run

from ..observed import make_request
from ..stored import stored_run


def store(out: Path, requests: Sequence[RequestRecord], slo_s: float | None = None) -> None:
    """A run of these requests, as a server's: nobody knows its steps, so no trace is checked."""
    slo = {} if slo_s is None else {"ttft": slo_s}
    stored = stored_run(requests, (), slo=slo)
    checks = tuple(one for one in stored.result.validity.checks if one.id != "trace")
    workload = stored.result.workload.model_copy(update={"num_requests": len(requests)})
    update = {"validity": Validity.of(checks), "workload": workload}
    result = stored.result.model_copy(update=update)
    write_run(out, result, stored.requests, stored.steps, {})


def store_by_chance(out: Path, rate_per_s: float, count: int, seed: int) -> None:
    """Poisson arrivals that nobody waits for, each there for 0.05 s on average."""
    rng = np.random.default_rng(seed)
    due_s = np.cumsum(rng.exponential(1 / rate_per_s, count))
    stay_s = 1e-3 + rng.exponential(0.05, count)
    times = [(due + stay / 2, due + stay) for due, stay in zip(due_s, stay_s, strict=True)]
    store(out, [make_request(one, index=at, due_s=due_s[at]) for at, one in enumerate(times)])


def store_sessions(out: Path, begun_s: Sequence[float], ended_s: Sequence[float]) -> None:
    """Sessions of two turns: the first takes 0.2 s, the second is due half a second later."""
    requests: list[RequestRecord] = []
    for at, (due_s, end_s) in enumerate(zip(begun_s, ended_s, strict=True)):
        later_s = due_s + 0.7
        requests.append(make_request((due_s + 0.1, due_s + 0.2), index=2 * at, due_s=due_s))
        times_s = (later_s + 0.1, end_s)
        requests.append(make_request(times_s, index=2 * at + 1, due_s=later_s))
    stored = stored_run(requests, ())
    sent = {"num_requests": len(requests), "num_sessions": len(begun_s)}
    workload = stored.result.workload.model_copy(update={**sent, "description": sent})
    checks = tuple(one for one in stored.result.validity.checks if one.id != "trace")
    update = {"validity": Validity.of(checks), "workload": workload}
    after = [float("nan") if at % 2 == 0 else at - 1.0 for at in range(len(requests))]
    table = stored.requests.assign(after=after)
    write_run(out, stored.result.model_copy(update=update), table, stored.steps, {})
