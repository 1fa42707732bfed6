"""From what was observed to what is stored: the pieces of a `Result`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from ...engines.kv.usage import KVSplit
from ...engines.trace import StepTrace
from ..attribution import attribute, summarise_parts, timeline_of_traces
from ..machine.throttling import Throttled
from ..metrics import (
    LATENCIES,
    GoodputShare,
    Interval,
    RequestMetric,
    rate_metrics,
    step_metrics,
)
from ..metrics.counters import count
from ..metrics.kv import KVPool, split_steps, summarise_kv
from ..result import (
    Attribution,
    Check,
    Counters,
    Energy,
    KVSummary,
    Metric,
    Peaks,
    Validity,
    Window,
)
from ..stats.summary import summary
from .record import RequestRecord, RequestStatus
from .validity import Asked, assess
from .window import steady_window


@dataclass(frozen=True)
class Summary:
    """The measured part of a `Result`."""

    duration_s: float
    window: Window
    metrics: dict[str, Metric]
    kv: KVSummary | None
    counters: Counters
    validity: Validity
    attribution: Attribution | None
    peaks: Peaks | None = None
    energy: Energy | None = None
    absent: Mapping[str, str] = field(default_factory=dict)

    def with_check(self, check: Check) -> Summary:
        """The same, judged by one check more."""
        return replace(self, validity=Validity.of((*self.validity.checks, check)))


def summarise(
    requests: Sequence[RequestRecord],
    steps: Sequence[StepTrace],
    *,
    pool: KVPool,
    max_num_batched_tokens: int,
    asked: Asked,
    slo: Mapping[str, float],
    interrupted: bool = False,
    failure: str = "",
    splits: Sequence[KVSplit] | None = None,
    throttled: Throttled | None = None,
) -> Summary:
    """Everything computed from one run's records and steps.

    requests, steps: the measured ones, in order of index, warm-up left out, times from the start
    of the measured run. slo: limits in seconds by metric id, empty for none. splits: what
    `split_steps` makes of them, where that is known already. throttled: as in `assess`.
    duration_s runs from that start to the last token or the end of the last step.
    """
    duration_s = max(
        [
            0.0,
            *(step.end_s for step in steps),
            *(request.t_end_s for request in requests if request.t_end_s is not None),
        ]
    )
    window = steady_window(requests, duration_s)
    splits = split_steps(requests, steps) if splits is None else splits
    return Summary(
        duration_s=duration_s,
        window=window,
        metrics={
            **latency_metrics(requests),
            **throughput_metrics(requests, window, duration_s, slo),
            **batch_metrics(steps, max_num_batched_tokens),
        },
        kv=summarise_kv(pool, splits, [step.end_s - step.start_s for step in steps]),
        counters=count(requests, steps, unsent=asked.unsent(requests)),
        validity=assess(
            requests,
            steps,
            window,
            asked,
            interrupted=interrupted,
            failure=failure,
            throttled=throttled,
        ),
        attribution=attribution(requests, steps),
    )


def attribution(
    requests: Sequence[RequestRecord], steps: Sequence[StepTrace]
) -> Attribution | None:
    """Where the latencies went; None where nothing was served."""
    timeline = timeline_of_traces([request.request_id for request in requests], steps)
    return summarise_parts(attribute(requests, timeline), timeline)


def latency_metrics(requests: Sequence[RequestRecord]) -> dict[str, Metric]:
    """Latencies of the requests that ended well, over the whole run; one without samples is
    left out."""
    served = [request for request in requests if request.status is RequestStatus.OK]
    found: dict[str, Metric] = {}
    for metric in LATENCIES:
        if isinstance(metric, RequestMetric):
            values = [value for value in map(metric.of, served) if value is not None]
        else:
            values = [value for request in served for value in metric.of(request)]
        if values:
            found[metric.id] = Metric.of(metric, summary(values))
    return found


def throughput_metrics(
    requests: Sequence[RequestRecord],
    window: Window,
    duration_s: float,
    slo: Mapping[str, float],
) -> dict[str, Metric]:
    """Rates over the steady window and the whole run; goodput and its share under an SLO, where any
    request can be judged by it."""
    goodput = GoodputShare(slo)
    share = goodput.of(requests) if slo else None
    spans = {"window": Interval(window.start_s, window.end_s), "run": Interval(0.0, duration_s)}
    found = {
        metric.id: Metric.of(
            metric, {name: metric.of(requests, span) for name, span in spans.items()}
        )
        for metric in rate_metrics({} if share is None else slo)
    }
    if share is not None:
        found[goodput.id] = Metric.of(goodput, {"run": share})
    return found


def batch_metrics(steps: Sequence[StepTrace], max_num_batched_tokens: int) -> dict[str, Metric]:
    """What shared a step: mean and std over time, percentiles over steps."""
    if not steps:
        return {}
    durations_s = [step.end_s - step.start_s for step in steps]
    return {
        metric.id: Metric.of(metric, summary([metric.of(step) for step in steps], durations_s))
        for metric in step_metrics(max_num_batched_tokens)
    }
