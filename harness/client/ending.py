"""How a request ends: by a timeout, and in any case as a record."""

from __future__ import annotations

from ...workloads.api import PlannedRequest
from ..run.drive import request_id
from ..run.record import RequestRecord, RequestStatus
from .config import Timeouts
from .connection import Exchange
from .errors import Label, RequestFailedError


def overdue(
    exchange: Exchange, timeouts: Timeouts, now_s: float, connects_s: float | None
) -> RequestFailedError | None:
    """The timeout that a request has run into; None if none. connects_s: since when it connects, of
    one that does."""
    reply = exchange.reply
    spans = [(Label.TIMEOUT_TOTAL, exchange.sent_s, timeouts.total_s)]
    if connects_s is not None:
        spans.append((Label.TIMEOUT_CONNECT, connects_s, timeouts.connect_s))
    elif len(reply.chunk_times_s):
        spans.append((Label.TIMEOUT_CHUNK, exchange.last_s, timeouts.chunk_s))
    else:
        spans.append((Label.TIMEOUT_FIRST_TOKEN, exchange.sent_s, timeouts.first_token_s))
    for label, since_s, most_s in spans:
        if now_s - since_s > most_s:
            what = "no end" if label == Label.TIMEOUT_TOTAL else "nothing"
            return RequestFailedError(label, f"{what} within {most_s:g} s")
    return None


def record_of(
    planned: PlannedRequest,
    t_due_s: float,
    exchange: Exchange,
    origin_s: float,
    status: RequestStatus,
    failed: RequestFailedError | None,
) -> RequestRecord:
    """What is kept of a request, in arrays of machine numbers: a hundred thousand of them fit."""
    reply = exchange.reply
    for at, time_s in enumerate(reply.chunk_times_s):
        reply.chunk_times_s[at] = time_s - origin_s
    prompt = reply.usage.prompt_tokens
    return RequestRecord(
        request_id=request_id(planned),
        index=planned.index,
        status=status,
        t_due_s=t_due_s,
        t_send_s=exchange.sent_s - origin_s,
        t_scheduled_s=None,
        token_times_s=reply.token_times_s(),
        input_tokens=len(planned.prompt_token_ids) if prompt is None else prompt,
        output_token_ids=reply.token_ids,
        detail="" if failed is None else str(failed),
        chunk_times_s=reply.chunk_times_s,
        chunk_tokens=reply.chunk_tokens,
        counted=reply.counted,
        cached_tokens=reply.usage.cached_tokens,
        error="" if failed is None else failed.label,
        finish_reason=reply.finish_reason,
        hidden_tokens=reply.hidden_tokens,
    )
