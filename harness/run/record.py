"""What happened to one request, as observed: the input of every latency metric."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

# What `RequestRecord.counted` says where no gap between tokens is known.
ONLY_IN_SUM = ("total", "split")


class RequestStatus(StrEnum):
    """How a request ended. Only OK requests enter latency metrics; the others are counted."""

    OK = "ok"
    REFUSED = "refused"
    FAILED = "failed"  # the step that computed it raised, or a server did not answer as it should
    UNFINISHED = "unfinished"  # the run was interrupted


@dataclass(frozen=True)
class RequestRecord:
    """One request's life. Times are seconds since the measured run began.

    t_due_s: when it was due (latency counts from here: no coordinated omission).
    t_send_s: when the engine got it; of a server, when sending it began, before connecting.
    t_scheduled_s: when a step first computed any of it; None where nobody says.
    token_times_s: when each output token was ready, one entry a token: t_first is the first,
    t_end the last. sample: which of the samples of one prompt; the first computes it, the others
    share it. Output tokens are counted by the engine, never by re-tokenising text.

    Of a server: token_times_s is when the chunk that held a token arrived. chunk_times_s,
    chunk_tokens: when each chunk came, and how many tokens it held. counted: by what those are
    known; `total` means that only their sum is, and no gap between tokens, `split` that the chunks
    were more than the tokens besides. input_tokens: as the server counted them, and cached_tokens
    how many of those it did not compute; None where it does not say. hidden_tokens: of the reply,
    thoughts that the server counted and never sent; their time is the first chunk's. error: what it
    failed by, the label it is counted under; `detail` says more. finish_reason: why it ended, as
    the server says; empty where it does not.
    """

    request_id: str
    index: int
    status: RequestStatus
    t_due_s: float
    t_send_s: float
    t_scheduled_s: float | None
    token_times_s: Sequence[float]
    input_tokens: int
    output_token_ids: Sequence[int]
    sample: int = 0
    preemptions: int = 0
    recomputed_tokens: int = 0
    detail: str = ""
    chunk_times_s: Sequence[float] = ()
    chunk_tokens: Sequence[int] = ()
    counted: str = ""
    cached_tokens: int | None = None
    error: str = ""
    finish_reason: str = ""
    hidden_tokens: int = 0

    @property
    def output_tokens(self) -> int:
        return len(self.token_times_s)

    @property
    def shown_tokens(self) -> int:
        return self.output_tokens - self.hidden_tokens

    @property
    def t_first_s(self) -> float | None:
        return self.token_times_s[0] if self.token_times_s else None

    @property
    def t_end_s(self) -> float | None:
        return self.token_times_s[-1] if self.token_times_s else None


def counted_as(requests: Sequence[RequestRecord]) -> str:
    """What records are in words: "replies", where several of a prompt were asked for."""
    return "replies" if any(request.sample for request in requests) else "requests"
