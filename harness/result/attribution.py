"""Where the latencies of the served requests went."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from .base import ResultPart


class Parts(ResultPart):
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


class Band(ResultPart):
    """The mean parts of some latencies: all of them (`mean`), those between the 45th and the 55th
    percentile (`p50`), the slowest hundredth (`p99`), or the slow token gaps (`slow`)."""

    name: Literal["mean", "p50", "p99", "slow"]
    count: int
    parts: Parts


class SlowRequest(ResultPart):
    """A request with a long TTFT, and where it went."""

    request_id: str
    t_due_s: float
    parts: Parts


class SlowToken(ResultPart):
    """A long gap before a token, and where it went. token: its number, the reply's first is 0."""

    request_id: str
    token: int
    time_s: float
    parts: Parts


class Attribution(ResultPart):
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
