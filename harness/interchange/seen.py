"""One request as other tools see it: from the send, by chunks of a stream."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from operator import sub

from ..run.record import RequestRecord, RequestStatus
from ..storage.store import StoredRun
from ..tables.requests import records_of


@dataclass(frozen=True)
class Seen:
    """A served request. Times are seconds; those without `t_` count from the send.

    gaps_s: between chunks; in process, where nothing is chunked, between tokens. input_tokens: 0 of
    a further reply to a prompt, which was sent once.
    """

    t_send_s: float
    ttft_s: float
    latency_s: float
    gaps_s: tuple[float, ...]
    input_tokens: int
    output_tokens: int

    @property
    def t_end_s(self) -> float:
        return self.t_send_s + self.latency_s

    @property
    def tpot_s(self) -> float | None:
        """None for one token."""
        if self.output_tokens < 2:
            return None
        return (self.latency_s - self.ttft_s) / (self.output_tokens - 1)


def sent_of(run: StoredRun) -> list[RequestRecord]:
    """A run's requests, sent when another tool's client would have sent them.

    In process the engine gets what came during a step after it, while a client over HTTP sends when
    a request is due: counted from the former, latencies looked better than any client sees them.
    With a cap on requests in flight a client waits, too, and the send is as it was.
    """
    records, result = records_of(run.requests), run.result
    if result.target is not None or result.config.get("max_concurrency") is not None:
        return records
    return [replace(record, t_send_s=record.t_due_s) for record in records]


def seen(record: RequestRecord) -> Seen | None:
    """None for a request that was not served, or gave nothing."""
    if record.status is not RequestStatus.OK or not record.output_tokens:
        return None
    times_s = record.chunk_times_s if len(record.chunk_times_s) else record.token_times_s
    return Seen(
        t_send_s=record.t_send_s,
        ttft_s=times_s[0] - record.t_send_s,
        latency_s=times_s[-1] - record.t_send_s,
        gaps_s=tuple(map(sub, times_s[1:], times_s)),
        input_tokens=prompt_tokens(record),
        output_tokens=record.output_tokens,
    )


def prompt_tokens(record: RequestRecord) -> int:
    """Of the prompt that came with this reply; 0 where it came with another."""
    return 0 if record.sample else record.input_tokens


def seen_of(records: Iterable[RequestRecord]) -> list[Seen]:
    """The served ones, in order."""
    return [one for record in records if (one := seen(record)) is not None]


def total(requests: Sequence[Seen]) -> tuple[int, int]:
    """Input and output tokens."""
    return sum(one.input_tokens for one in requests), sum(one.output_tokens for one in requests)
