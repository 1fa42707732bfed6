"""What is measured: one small file a metric, whose docstring is the formula.

Only requests that ended well enter the latency metrics; the others are counted.
"""

from __future__ import annotations

from collections.abc import Mapping

from .base import Better, Interval, Metric, RateMetric, RequestMetric, StepMetric, TokenMetric
from .batch import BatchRequests, BatchTokens, BudgetUtilisation
from .cost_per_million_tokens import CostPerMillionTokens
from .e2el import EndToEndLatency
from .energy_per_token import EnergyPerToken
from .goodput import SLO_METRICS, Goodput, GoodputShare, meets
from .icl import InterChunkLatency
from .itl import InterTokenLatency
from .mbu import ModelBandwidthUtilisation
from .mfu import ModelFlopsUtilisation
from .ntpot import NormalisedTimePerOutputToken
from .output_throughput import OutputThroughput
from .queue import QueueTime
from .request_throughput import RequestThroughput
from .total_throughput import TotalThroughput
from .tpot import TimePerOutputToken
from .ttft import TimeToFirstToken
from .ttft_send import TimeToFirstTokenFromSend
from .utilisation import UTILISATION_STATS, Utilisation

LATENCIES: tuple[RequestMetric | TokenMetric, ...] = (
    TimeToFirstToken(),
    TimeToFirstTokenFromSend(),
    TimePerOutputToken(),
    InterTokenLatency(),
    InterChunkLatency(),
    NormalisedTimePerOutputToken(),
    EndToEndLatency(),
    QueueTime(),
)


UTILISATIONS: tuple[Utilisation, ...] = (ModelFlopsUtilisation(), ModelBandwidthUtilisation())
# Of what a token takes: energy and money.
TOKEN_STATS = ("output", "total")

SEVERAL_A_REQUEST: Mapping[str, TokenMetric] = {
    metric.id: metric for metric in LATENCIES if isinstance(metric, TokenMetric)
}


def rate_metrics(slo: Mapping[str, float]) -> tuple[RateMetric, ...]:
    """The rates of a run; goodput only under an SLO ({metric id: limit in seconds})."""
    rates = (OutputThroughput(), TotalThroughput(), RequestThroughput())
    return (*rates, Goodput(slo)) if slo else rates


def step_metrics(max_num_batched_tokens: int) -> tuple[StepMetric, ...]:
    """The batch composition of a run."""
    return (BatchTokens(), BatchRequests(), BudgetUtilisation(max_num_batched_tokens))


__all__ = [
    "LATENCIES",
    "SEVERAL_A_REQUEST",
    "SLO_METRICS",
    "TOKEN_STATS",
    "UTILISATIONS",
    "UTILISATION_STATS",
    "Better",
    "CostPerMillionTokens",
    "EnergyPerToken",
    "Goodput",
    "GoodputShare",
    "Interval",
    "Metric",
    "RateMetric",
    "RequestMetric",
    "StepMetric",
    "TokenMetric",
    "meets",
    "rate_metrics",
    "step_metrics",
]
