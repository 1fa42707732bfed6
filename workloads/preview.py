"""What a plan will send, in numbers: rates over time, lengths, sessions, what prompts share."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field

import numpy as np
from numpy.typing import NDArray

from .api import Plan, PlannedRequest, Told
from .fitting.burstiness import Burstiness, burstiness
from .scaled import Arriving
from .sharing import shared_share

RATE_BINS = 60


@dataclass(frozen=True)
class Lengths:
    """Of one side, in tokens; percentiles interpolate linearly."""

    mean: float
    p10: float
    p50: float
    p90: float
    p99: float
    min: int
    max: int
    total: int


@dataclass(frozen=True)
class Preview:
    """burstiness: of the due times; None in a closed loop and when everything is due at once.

    rates_per_s: due requests a second in equal bins of bin_s from 0; later turns of sessions, which
    are due when the turn before has ended, are not among them, so that it is sessions that are
    counted (`arriving`), as in burstiness. turns: requests of each session.
    shared_share: of all prompt tokens, those in whole blocks that an earlier prompt began with.
    """

    requests: int
    samples: int
    max_concurrency: int | None
    due_from_s: float | None
    due_to_s: float | None
    burstiness: Burstiness | None
    bin_s: float
    rates_per_s: tuple[float, ...]
    input: Lengths
    output: Lengths
    sessions: int
    turns_mean: float
    turns_max: int
    think_s_mean: float | None
    chats: int
    shared_share: float
    adjustments: tuple[str, ...] = field(default=())

    @property
    def arriving(self) -> Arriving:
        """What rates count."""
        return "sessions" if self.sessions < self.requests else "requests"

    def as_dict(self) -> dict[str, object]:
        return asdict(self)


def preview(plan: Plan, told: Told | None = None) -> Preview:
    """Everything that can be said of a plan before it is sent. told: how far it is."""
    requests = plan.requests
    due_s = np.array([one.t_due_s for one in requests if one.t_due_s is not None], dtype=float)
    bin_s, rates = rates_over_time(due_s)
    turns = _turns(requests)
    thinking = [one.think_s for one in requests if one.after is not None]
    return Preview(
        requests=len(requests),
        samples=requests[0].samples,
        max_concurrency=plan.max_concurrency,
        due_from_s=float(due_s[0]) if len(due_s) else None,
        due_to_s=float(due_s[-1]) if len(due_s) else None,
        burstiness=burstiness(due_s),
        bin_s=bin_s,
        rates_per_s=rates,
        input=_lengths([len(one.prompt_token_ids) for one in requests]),
        output=_lengths([one.output_tokens for one in requests]),
        sessions=len(turns),
        turns_mean=float(np.mean(turns)),
        turns_max=max(turns),
        think_s_mean=float(np.mean(thinking)) if thinking else None,
        chats=sum(bool(one.messages) for one in requests),
        shared_share=shared_share(requests, told),
        adjustments=plan.adjustments,
    )


def rates_over_time(due_s: NDArray[np.float64]) -> tuple[float, tuple[float, ...]]:
    """(seconds of a bin, requests a second in each); no bins where nothing is due after 0."""
    if not len(due_s) or due_s[-1] <= 0:
        return 0.0, ()
    bins = min(RATE_BINS, max(1, len(due_s) // 4))
    bin_s = float(due_s[-1]) / bins
    which = np.minimum((due_s / bin_s).astype(np.int64), bins - 1)
    return bin_s, tuple((np.bincount(which, minlength=bins) / bin_s).tolist())


def _turns(requests: tuple[PlannedRequest, ...]) -> list[int]:
    session: dict[int, int] = {}
    turns: list[int] = []
    for one in requests:
        if one.after is None:
            session[one.index] = len(turns)
            turns.append(1)
        else:
            session[one.index] = session[one.after]
            turns[session[one.index]] += 1
    return turns


def _lengths(tokens: list[int]) -> Lengths:
    p10, p50, p90, p99 = np.percentile(tokens, (10, 50, 90, 99)).tolist()
    return Lengths(
        float(np.mean(tokens)), p10, p50, p90, p99, min(tokens), max(tokens), sum(tokens)
    )
