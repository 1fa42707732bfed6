"""What a client alone can know of a run: when replies came, and so every latency and rate, and
whether they came in parts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ..metrics.tpot import came_at_once
from ..result import HELD_BACK, Check, Metric, Window
from .record import RequestRecord
from .summarise import latency_metrics, throughput_metrics
from .validity import served_of
from .window import steady_window


@dataclass(frozen=True)
class Replies:
    """duration_s: from the start to the last token; without any, until the last request was sent.
    window: the steady part of it."""

    duration_s: float
    window: Window
    metrics: dict[str, Metric]


def replies_only(records: Sequence[RequestRecord], slo: Mapping[str, float]) -> Replies:
    """Of a run whose steps nobody sees. records: of its requests, from its start. slo: limits in
    seconds by metric id, empty for none."""
    sent_s = max((one.t_send_s for one in records), default=0.0)
    duration_s = max((one.t_end_s for one in records if one.t_end_s is not None), default=sent_s)
    window = steady_window(records, duration_s)
    return Replies(duration_s, window, metrics_of(records, window, duration_s, slo))


def metrics_of(
    records: Sequence[RequestRecord], window: Window, duration_s: float, slo: Mapping[str, float]
) -> dict[str, Metric]:
    """Every metric that replies tell, by id."""
    return {
        **latency_metrics(records),
        **throughput_metrics(records, window, duration_s, slo),
    }


def check_held_back(requests: Sequence[RequestRecord]) -> Check:
    """A reply that comes all at once has no pace, however slow it was made."""
    served = served_of(requests)
    several = [one for one in served if one.shown_tokens > 1]
    held_back = sum(map(came_at_once, several))
    detail = "no reply of several tokens came all at once"
    if held_back:
        detail = f"{held_back} of {len(several)} replies of several tokens came all at once, so "
        detail += "that they have no TPOT and no ITL"
    return Check(
        id=HELD_BACK,
        ok=not held_back,
        fatal=False,
        value=held_back / max(len(several), 1),
        limit=0.0,
        detail=detail,
    )
