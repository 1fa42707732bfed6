"""What a run took of its machine: arithmetic, bandwidth, energy and money, added to its summary."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from ...engines.cost.floor import Roof
from ...engines.trace import StepTrace
from ..metrics import (
    TOKEN_STATS,
    UTILISATIONS,
    CostPerMillionTokens,
    EnergyPerToken,
    Interval,
    rate_metrics,
)
from ..metrics.utilisation import steps_done
from ..result import Check, Energy, Metric, Peaks
from ..run.record import RequestRecord
from ..run.summarise import Summary
from .counted_model import CountedModel, as_it_runs, count_model
from .peaks import peaks_of_device
from .product_dtypes import product_dtypes

if TYPE_CHECKING:
    from ...engines.cost.weights import WeightChoice
    from ...engines.models.decoder import Decoder
    from ...engines.resolved import ResolvedEngine

MFU_AND_MBU = tuple(metric.id for metric in UTILISATIONS)
_THROUGHPUTS = ("output_throughput", "total_throughput")


@dataclass(frozen=True)
class Resources:
    """What is known beside a run's steps. Each text says why it is not.

    model: whose steps ran. peaks: of the device that they ran on. price_per_hour: of all that
    served; None where none was named.
    """

    model: CountedModel | str
    peaks: Peaks | str
    energy: Energy | str
    price_per_hour: float | None = None


def of_this_machine(
    model: Decoder,
    engine: ResolvedEngine,
    weights: WeightChoice,
    energy: Energy | str,
    price_per_hour: float | None,
    *,
    emulated: bool,
) -> Resources:
    """Of an engine of ours in this process. weights: how its model's are stored. emulated: as in
    `product_dtypes`."""
    import torch

    counted = count_model(model.config, engine, weights)
    if isinstance(counted, str):
        return Resources(counted, counted, energy, price_per_hour)
    counted = replace(counted, work=as_it_runs(counted.work, model))
    device = torch.device(engine.device)
    dtypes = product_dtypes(engine, weights, emulated=emulated)
    peaks = peaks_of_device(device, dtypes.linear)
    return Resources(counted, peaks, energy, price_per_hour)


def not_seen(why: str, energy: Energy | str = "", price_per_hour: float | None = None) -> Resources:
    """Of what keeps its steps to itself. energy: or its own reason; empty: the same."""
    return Resources(why, why, energy or why, price_per_hour)


def add_resources(
    summary: Summary,
    requests: Sequence[RequestRecord],
    steps: Sequence[StepTrace],
    resources: Resources,
) -> Summary:
    """The summary with `mfu`, `mbu`, `energy_per_token` and `cost_per_million_tokens`, as far as
    they are known, and why not for the others. requests, steps: that it is a summary of."""
    found = _utilisation(summary, steps, resources)
    found = _and(found, _energy(summary, requests, resources.energy))
    found = _and(found, _cost(summary, resources.price_per_hour))
    peaks, energy = resources.peaks, resources.energy
    summary = replace(
        summary,
        metrics={**summary.metrics, **found.metrics},
        peaks=None if isinstance(peaks, str) else peaks,
        energy=None if isinstance(energy, str) else energy,
        absent={**summary.absent, **found.absent},
    )
    check = check_peaks(found.metrics)
    return summary if check is None else summary.with_check(check)


def check_peaks(metrics: Mapping[str, Metric]) -> Check | None:
    """Nothing does more than it can: a share above 1 says that the peak is wrong, or the count of
    work. It is shown as it is. None where no share was measured."""
    shares = {
        f"{name}.{stat}": value
        for name in MFU_AND_MBU
        if name in metrics
        for stat, value in metrics[name].stats.items()
    }
    if not shares:
        return None
    name, largest = max(shares.items(), key=lambda share: share[1])
    detail = f"no step's kind did more than its device can: at most {name} = {largest:.2f}"
    if largest > 1:
        detail = (
            f"{name} is {largest:.2f}, and nothing does more than it can: the peak it is a share "
            "of is too low (if it was measured here: llmbench machine)"
        )
    return Check(id="peaks", ok=largest <= 1, fatal=False, value=largest, limit=1.0, detail=detail)


@dataclass(frozen=True)
class _Found:
    metrics: Mapping[str, Metric] = field(default_factory=dict)
    absent: Mapping[str, str] = field(default_factory=dict)


def _and(one: _Found, other: _Found) -> _Found:
    return _Found({**one.metrics, **other.metrics}, {**one.absent, **other.absent})


def _utilisation(summary: Summary, steps: Sequence[StepTrace], resources: Resources) -> _Found:
    model, peaks = resources.model, resources.peaks
    for unknown in (model, peaks):
        if isinstance(unknown, str):
            return _Found(absent=dict.fromkeys(MFU_AND_MBU, unknown))
    assert isinstance(model, CountedModel)
    assert isinstance(peaks, Peaks)
    done = steps_done(steps, model.work, model.window)
    rates = Roof(peaks.bytes_per_s, peaks.flops_per_s, peaks.source)
    return _Found(
        {
            metric.id: Metric.of(metric, stats)
            for metric in UTILISATIONS
            if (stats := metric.of(done, summary.duration_s, rates))
        }
    )


def _energy(summary: Summary, requests: Sequence[RequestRecord], energy: Energy | str) -> _Found:
    metric = EnergyPerToken()
    if isinstance(energy, str):
        return _Found(absent={metric.id: energy})
    run = Interval(0.0, summary.duration_s)
    rates = {rate.id: rate for rate in rate_metrics({})}
    tokens = [
        sum(counted.within(run) for request in requests for counted in rates[name].counted(request))
        for name in _THROUGHPUTS
    ]
    stats = _by_stat([metric.of(energy.joules, of_it) for of_it in tokens])
    return _metric(metric, stats)


def _cost(summary: Summary, price_per_hour: float | None) -> _Found:
    if price_per_hour is None:
        return _Found()
    metric = CostPerMillionTokens(price_per_hour)
    rates = [summary.metrics[name].stats["window"] for name in _THROUGHPUTS]
    return _metric(metric, _by_stat([metric.of(rate) for rate in rates]))


def _by_stat(values: Sequence[float | None]) -> dict[str, float]:
    return {
        stat: value for stat, value in zip(TOKEN_STATS, values, strict=True) if value is not None
    }


def _metric(metric: EnergyPerToken | CostPerMillionTokens, stats: dict[str, float]) -> _Found:
    if not stats:
        return _Found(absent={metric.id: "no token came about"})
    return _Found({metric.id: Metric.of(metric, stats)})
