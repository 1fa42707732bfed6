"""A run as github-action-benchmark reads it: a list of names, units and values.

Source: https://github.com/benchmark-action/github-action-benchmark, the tools
`customSmallerIsBetter` and `customBiggerIsBetter`. A file of that tool has one direction, so a run
makes two.
"""

from __future__ import annotations

from typing import Any

from ..comparison.alike import of_window
from ..comparison.quantities import QUANTITIES, Quantity
from ..metrics.base import Better
from ..storage.store import StoredRun

# Enough to see a regression; each is a chart of its own.
SHOWN = (
    *("ttft.mean", "ttft.p50", "ttft.p99", "tpot.mean", "tpot.p50", "tpot.p99"),
    *("itl.p99", "e2el.mean", "e2el.p99", "queue.p99", "kv.waste_share"),
    *("counters.preemptions", "counters.recomputed_tokens"),
    *("memory.weight_bytes", "quality.perplexity"),
    *("energy_per_token.output", "cost_per_million_tokens.output", "mfu.prefill", "mbu.decode"),
    *("output_throughput.window", "total_throughput.window", "request_throughput.window"),
    *("goodput.window", "goodput_share.run", "counters.prefix_hit_tokens"),
)


def to_github_action(run: StoredRun, better: Better) -> list[dict[str, Any]]:
    """Those of SHOWN that the run has and whose better direction is `better`."""
    shown = (QUANTITIES[name] for name in SHOWN)
    return [
        _entry(run, quantity, value)
        for quantity in shown
        if quantity.better == better and (value := quantity.value(run.result)) is not None
    ]


def _entry(run: StoredRun, quantity: Quantity, value: float) -> dict[str, Any]:
    result = run.result
    # Ramp and drain make it worse, which a chart of runs must not show as a regression unsaid.
    whole = of_window(quantity) and not result.window.steady
    over = f", over {result.window.method}" if whole else ""
    entry: dict[str, Any] = {
        "name": f"{result.label}: {quantity.name}",
        "unit": quantity.unit,
        "value": value,
        "extra": f"workload {result.workload.name}, run {result.run_id}, {quantity.kind}{over}",
    }
    metric = result.metrics.get(quantity.id)
    # The spread of one run's requests, which is not how sure the number is.
    if quantity.stat == "mean" and metric is not None and "std" in metric.stats:
        entry["range"] = f"std {metric.stats['std']:.3g}"
    return entry
