"""What repeats come to together: values, mean, and how far runs differ, of each quantity."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from ...reports.facts import unit_counted
from ...reports.repeats_model import PooledQuantity, RepeatRun, RepeatsTable
from ..comparison.admissible import objections
from ..comparison.alike import whole_where_mixed
from ..comparison.comparability import environment_differences
from ..comparison.quantities import QUANTITIES, Quantity
from ..metrics import UTILISATIONS
from ..result import Check, Result
from ..stats.between_runs import FEWEST_RUNS, reach, spread
from ..stats.bootstrap import CONFIDENCE
from ..storage.store import RunOnDisk
from .directory import Repeats

RATES = (
    *("output_throughput.window", "total_throughput.window"),
    *("request_throughput.window", "goodput.window"),
)
POOLED = (
    *(*RATES, "goodput_share.run"),
    *("ttft.mean", "ttft.p50", "ttft.p99", "tpot.mean", "tpot.p50", "tpot.p99", "itl.p99"),
    *("e2el.p50", "e2el.p99", "kv.waste_share", "batch_requests.mean", "counters.preemptions"),
    *("mfu.run", "mfu.prefill", "mbu.run", "mbu.decode"),
    *("energy_per_token.output", "energy_per_token.total"),
    *("cost_per_million_tokens.output", "cost_per_million_tokens.total"),
    *("quality.perplexity", "quality.text_kl_mean", "quality.text_top1_agreement"),
    *("quality.kl_mean", "quality.top1_agreement"),
)
# Below this many runs the width is mostly ignorance of the spread, and a reader should know.
_FEW = 5


def pool(repeats: Repeats) -> RepeatsTable:
    """Quantities that no run has are left out; runs that are not valid have no part in a mean."""
    first = repeats.runs[0].result
    counted = [run.result for run in repeats.counted]
    # A rate over one run's window and over the whole of another has no mean.
    names = whole_where_mixed(POOLED, counted)
    pooled = (_over(pooled_quantity(QUANTITIES[name], counted), counted) for name in names)
    return RepeatsTable(
        name=repeats.name,
        label=first.label,
        model=str(first.config["model"]),
        workload=f"{first.workload.num_requests} requests of {first.workload.name}",
        command=str(first.config.get("command") or ""),
        runs=tuple(_run(run, names) for run in repeats.runs),
        quantities=tuple(one for one in pooled if one is not None),
        confidence=CONFIDENCE,
        notes=tuple(_notes(counted)),
        premise=_premise(first),
    )


def pooled_quantity(quantity: Quantity, results: Sequence[Result]) -> PooledQuantity | None:
    """None where no run has it, or has the samples that its percentile takes."""
    values = [value for one in results if (value := quantity.shown(one)) is not None]
    unit = unit_counted(quantity.unit, *(one.config for one in results))
    told = (quantity.id, quantity.stat, unit, quantity.better, len(values))
    if not values:
        return None
    if len(values) < FEWEST_RUNS:
        return PooledQuantity(*told, values[0])
    found = spread(values)
    # No mean lies beyond what its values can be, so an interval loses no coverage by ending there.
    high = min(found.high, 1.0) if _is_part_of_all(quantity) else found.high
    return PooledQuantity(*told, found.mean, found.std, max(found.low, 0.0), high)


def _is_part_of_all(quantity: Quantity) -> bool:
    """Whether it is never above 1, as a share of a peak is where the machine does better than it
    was said to."""
    return quantity.unit == "share" and quantity.id not in {one.id for one in UTILISATIONS}


def _over(one: PooledQuantity | None, counted: Sequence[Result]) -> PooledQuantity | None:
    """Of a rate, what it is over."""
    steady = all(result.window.steady for result in counted)
    if one is None or steady or one.name.replace(".run", ".window") not in RATES:
        return one
    return replace(one, over="whole run")


def _run(run: RunOnDisk, names: Sequence[str]) -> RepeatRun:
    result = run.result
    return RepeatRun(
        run.directory.name,
        int(result.config["seed"]),
        result.workload.fingerprint,
        result.created_at,
        result.duration_s,
        {name: QUANTITIES[name].shown(result) for name in names},
        "; ".join(objections(run)[:1]),
    )


def _notes(counted: Sequence[Result]) -> Iterator[str]:
    runs = len(counted)
    if not runs:
        return
    if runs < FEWEST_RUNS:
        yield "fewer than two runs count, so how far runs differ is not known"
        return
    if runs < _FEW:
        yield (
            f"{runs} runs: an interval reaches {reach(runs):.3g} standard deviations between runs "
            f"to either side of the mean; with 5 runs {reach(5):.3g}, with 10 runs {reach(10):.2g}"
        )
    if any(one.simulation is not None for one in counted):
        yield "a simulated machine repeats exactly: runs differ by the requests they were sent"
    elif len({one.workload.fingerprint for one in counted}) == 1:
        yield "this workload is the same whatever the seed: runs differ by the machine alone"
    yield from environment_differences([one.environment for one in counted if one.environment])
    yield from cautions(counted)


def cautions(results: Sequence[Result]) -> Iterator[str]:
    """What runs of one configuration say against themselves: once for each check."""
    failed: dict[str, list[Check]] = {}
    for result in results:
        for check in result.validity.failures:
            if not check.fatal:
                failed.setdefault(check.id, []).append(check)
    for alike in failed.values():
        advice = f": {alike[0].advice}" if alike[0].advice else ""
        count = f"{len(alike)} of {len(results)} runs"
        yield f"{alike[0].detail} (this or the like in {count}){advice}"


def _premise(first: Result) -> str:
    if (found := first.simulation) is None:
        return ""
    return (
        f"Simulated, not measured: step times are a cost model's of {found.devices} × "
        f"{found.hardware}. How wrong it may be: {found.error}."
    )
