"""What a run took of its machine, added to its summary: numbers, reasons, and a caution."""

from __future__ import annotations

from dataclasses import replace

import pytest
from llmbench.engines.config import engine_config
from llmbench.engines.cost.shapes import resolve_shape
from llmbench.engines.cost.weights import UNQUANTISED, WeightChoice
from llmbench.harness.machine.counted_model import CountedModel, count_model
from llmbench.harness.machine.resources import Resources, add_resources, not_seen
from llmbench.harness.metrics.kv import KVPool
from llmbench.harness.result import Energy, Peaks
from llmbench.harness.run.summarise import Summary, summarise
from llmbench.harness.run.validity import Asked

from ...engines.resolved import resolved
from ..observed import serve_in_turn

REQUESTS, STEPS = serve_in_turn(120)  # 8 tokens each of 4, in steps of 10 ms
ENGINE = resolved(engine_config("paged"))
PEAKS = Peaks(bytes_per_s=1e12, flops_per_s=1e15, dtype="bf16", source="a test")
ENERGY = Energy(source="NVML", joules_by_domain={"gpu": 480.0}, duration_s=9.7)


def summary() -> Summary:
    return summarise(
        REQUESTS,
        STEPS,
        pool=KVPool("paged", 1024, 4096, 4),
        max_num_batched_tokens=8,
        asked=Asked({one.request_id: 8 for one in REQUESTS}, open_loop=False, max_concurrency=1),
        slo={},
    )


def smollm2() -> CountedModel:
    counted = count_model(resolve_shape("smollm2-135m"), ENGINE, UNQUANTISED)
    assert isinstance(counted, CountedModel)
    return counted


def test_all_four_of_a_run_whose_every_number_is_known() -> None:
    found = add_resources(
        summary(), REQUESTS, STEPS, Resources(smollm2(), PEAKS, ENERGY, price_per_hour=3.6)
    )

    stats = {name: metric.stats for name, metric in found.metrics.items()}
    assert found.absent == {}
    # A decode of SmolLM2 in bfloat16 moves 269 MB of weights, and next to nothing of a context of
    # 8: 26.9 GB/s of 1 TB/s in 10 ms.
    assert stats["mbu"]["decode"] == pytest.approx(0.0269, rel=0.01)
    assert stats["mbu"]["run"] == pytest.approx(stats["mbu"]["decode"], rel=0.01)
    # Its prompt of 4: 2 x 134.5 million x 4, but the output projection once.
    assert stats["mfu"]["prefill"] == pytest.approx(
        (8 * 106.2e6 + 2 * 28.3e6) / 0.01 / 1e15, rel=0.01
    )
    # 480 J over 960 output tokens, and 480 more of prompts.
    assert stats["energy_per_token"] == {"output": 0.5, "total": pytest.approx(1 / 3)}
    # 100 output tokens/s are 0.36 million an hour; in and out, half as many again.
    assert found.window.steady
    window = summary().metrics["output_throughput"].stats["window"]
    assert stats["cost_per_million_tokens"]["output"] == pytest.approx(3.6 / (window * 3600) * 1e6)
    assert stats["cost_per_million_tokens"]["output"] == pytest.approx(10, rel=0.05)
    assert stats["cost_per_million_tokens"]["total"] == pytest.approx(10 / 1.5, rel=0.05)
    assert (found.peaks, found.energy) == (PEAKS, ENERGY)
    assert found.validity.checks[-1].id == "peaks"
    assert found.validity.checks[-1].ok


def test_what_is_not_known_is_absent_and_says_why() -> None:
    found = add_resources(summary(), REQUESTS, STEPS, not_seen("not ours", energy="no counters"))

    assert not {"mfu", "mbu", "energy_per_token", "cost_per_million_tokens"} & set(found.metrics)
    # No price was named: there is nothing to explain.
    assert found.absent == {"mfu": "not ours", "mbu": "not ours", "energy_per_token": "no counters"}
    assert (found.peaks, found.energy) == (None, None)
    assert "peaks" not in {check.id for check in found.validity.checks}


def test_a_share_above_one_is_kept_and_said_to_be_wrong() -> None:
    slow = replace_peaks(bytes_per_s=20e9)
    found = add_resources(summary(), REQUESTS, STEPS, Resources(smollm2(), slow, "none"))

    check = found.validity.checks[-1]
    assert found.metrics["mbu"].stats["decode"] > 1
    assert (check.id, check.ok, check.fatal) == ("peaks", False, False)
    assert "mbu" in check.detail
    assert "the peak it is a share of is too low" in check.detail
    assert found.validity.valid


def replace_peaks(**changes: float) -> Peaks:
    return PEAKS.model_copy(update=changes)


def test_a_run_that_produced_nothing_has_no_cost_a_token() -> None:
    nothing = summarise(
        [],
        [],
        pool=KVPool("paged", 1024, 4096, 4),
        max_num_batched_tokens=8,
        asked=Asked({}, open_loop=False),
        slo={},
    )
    found = add_resources(nothing, [], [], Resources(smollm2(), PEAKS, ENERGY, 2.5))
    assert not {"mfu", "energy_per_token", "cost_per_million_tokens"} & set(found.metrics)
    assert found.absent["cost_per_million_tokens"] == "no token came about"


def test_what_transformers_computes_is_not_counted() -> None:
    class OfTransformers:
        """A decoder's facts that are not our own decoder's."""

    why = count_model(OfTransformers(), ENGINE, UNQUANTISED)  # pyright: ignore[reportArgumentType]
    assert why == "the work of a model that transformers computes is not counted"


def test_four_bits_move_fewer_bytes() -> None:
    engine = replace(ENGINE, quant="awq")
    four = count_model(resolve_shape("smollm2-135m"), engine, WeightChoice.of(engine))
    assert isinstance(four, CountedModel)
    assert four.work.linear_bytes < 0.3 * smollm2().work.linear_bytes
