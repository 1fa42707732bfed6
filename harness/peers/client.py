"""A peer's job, sent by the load client that measures every server (`harness/client/`)."""

from __future__ import annotations

import secrets
from typing import Any

from ...workloads.api import Plan, PlannedRequest
from ..client.addresses import resolve
from ..client.bodies import fixed_fields
from ..client.config import ClientConfig, Timeouts, Url
from ..client.processes import Job as ClientJob
from ..client.processes import send_job
from ..client.servers import Server
from ..run.record import RequestStatus
from .base import PeerError
from .figures import RequestTimes
from .workload import Job

# A job of long prompts on two cores takes minutes, and its last request waits for all others.
_PATIENCE = Timeouts(first_token_s=1800.0, chunk_s=600.0, total_s=3600.0)


def complete(url: Url, job: Job, server: Server, extra: dict[str, Any]) -> tuple[RequestTimes, ...]:
    """Send a job's requests at once; wait for all. Times count from the start of the job.

    server: whose fields are sent. extra: more of them. Raises PeerError where the server refuses,
    breaks off or does not say how many tokens it counted.
    """
    config = ClientConfig(url, connections="fresh", max_errors=1, timeouts=_PATIENCE, extra=extra)
    requests = (
        PlannedRequest(index, 0.0, prompt, job.output_tokens)
        for index, prompt in enumerate(job.prompts)
    )
    plan = Plan(tuple(requests), None)
    fixed = fixed_fields(config, server, "", "")
    told = ClientJob(config, server, fixed, secrets.token_hex(8), plan, resolve(config))
    sent = send_job(told, lambda _: None).sent
    for one in sent.records:
        if one.status is RequestStatus.FAILED:
            raise PeerError(f"{url}: {one.detail}")
    if sent.failure:
        raise PeerError(f"{url}: {sent.failure}")
    if sent.interrupted:
        raise KeyboardInterrupt
    return tuple(
        RequestTimes(one.t_send_s, one.input_tokens, tuple(one.token_times_s))
        for one in sent.records
    )
