"""What happened to one request, as observed: the input of every latency metric."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class RequestStatus(StrEnum):
    """How a request ended. Only OK requests enter latency metrics; the others are counted."""

    OK = "ok"
    REFUSED = "refused"
    FAILED = "failed"  # the step that computed it raised
    UNFINISHED = "unfinished"  # the run was interrupted


@dataclass(frozen=True)
class RequestRecord:
    """One request's life. Times are seconds since the measured run began.

    t_due_s: when it was due (latency counts from here: no coordinated omission).
    t_send_s: when the engine got it. t_scheduled_s: when a step first computed any of it.
    token_times_s: when each output token was ready, one entry a token: t_first is the first,
    t_end the last. sample: which of the samples of one prompt; the first computes it, the others
    share it. Output tokens are counted by the engine, never by re-tokenising text.
    """

    request_id: str
    index: int
    status: RequestStatus
    t_due_s: float
    t_send_s: float
    t_scheduled_s: float | None
    token_times_s: tuple[float, ...]
    input_tokens: int
    output_token_ids: tuple[int, ...]
    sample: int = 0
    preemptions: int = 0
    recomputed_tokens: int = 0
    detail: str = ""

    @property
    def output_tokens(self) -> int:
        return len(self.token_times_s)

    @property
    def t_first_s(self) -> float | None:
        return self.token_times_s[0] if self.token_times_s else None

    @property
    def t_end_s(self) -> float | None:
        return self.token_times_s[-1] if self.token_times_s else None
