"""What repeats come to, with numbers worked out by hand."""

from __future__ import annotations

from dataclasses import replace

import pytest
from llmbench.harness.comparison.quantities import QUANTITIES
from llmbench.harness.repeats.pool import pool, pooled_quantity
from llmbench.harness.result import Metric, Quality
from llmbench.harness.storage.store import RunOnDisk
from llmbench.reports.repeats_model import PooledQuantity, RepeatsTable
from llmbench.reports.repeats_report import repeats_report

from ..stored import SIMULATION, disturbed
from .made import in_memory, invalid, make_run, metric_runs, partial


def _of(table: RepeatsTable, name: str) -> PooledQuantity:
    return next(one for one in table.quantities if one.name == name)


def test_three_runs_by_hand() -> None:
    """0.10, 0.12, 0.17: mean 0.13, deviations -0.03, -0.01, 0.04, so a variance of 0.0026 / 2.
    t of two degrees of freedom is 4.303: 4.303 x sqrt(0.0013 / 3) = 0.0896 either way."""
    found = _of(pool(metric_runs("a", "ttft__p99", (0.10, 0.12, 0.17))), "ttft.p99")
    assert (found.runs, found.mean) == (3, pytest.approx(0.13))
    assert found.std == pytest.approx(0.0013**0.5)
    assert (found.low, found.high) == pytest.approx((0.13 - 0.08957, 0.13 + 0.08957), abs=1e-5)


def _few(run: RunOnDisk) -> RunOnDisk:
    """The run as if it had served 12 requests."""
    counters = run.result.counters.model_copy(update={"requests_ok": 12})
    metrics = {
        name: one.model_copy(update={"stats": {**one.stats, "count": 12.0}})
        for name, one in run.result.metrics.items()
    }
    update = {"counters": counters, "metrics": metrics}
    return replace(run, result=run.result.model_copy(update=update))


def test_a_percentile_that_the_runs_withhold_is_not_pooled() -> None:
    repeats = metric_runs("a", "ttft__p99", (0.10, 0.12, 0.17))
    few = pool(replace(repeats, runs=tuple(map(_few, repeats.runs))))
    names = {one.name for one in few.quantities}
    assert {"ttft.p50", "ttft.mean"} <= names
    assert not any(name.endswith(".p99") for name in names)
    assert [run.values["ttft.p99"] for run in few.runs] == [None] * 3


def test_an_interval_ends_where_no_mean_can_be() -> None:
    """Two runs reach 8.98 standard deviations: below 0 for a latency, over 1 for a share."""
    ttft = _of(pool(metric_runs("a", "ttft__p99", (0.1, 0.2))), "ttft.p99")
    assert ttft.low == 0.0
    assert ttft.high == pytest.approx(0.15 + 12.706 * 0.05, abs=1e-4)
    share = QUANTITIES["kv.waste_share"]
    results = [make_run(at).result for at in (1, 2)]
    for result, value in zip(results, (0.5, 0.9), strict=True):
        assert result.kv is not None
        object.__setattr__(result, "kv", result.kv.model_copy(update={"waste_share": value}))
    waste = pooled_quantity(share, results)
    assert waste is not None
    assert (waste.low, waste.high) == (0.0, 1.0)


def test_the_interval_of_a_share_of_a_peak_holds_its_mean() -> None:
    """1.08 and 1.14 of a peak that was measured with another kernel: 12.706 x 0.03 either way."""
    runs = [make_run(at).result for at in (1, 2)]
    for result, value in zip(runs, (1.08, 1.14), strict=True):
        metric = Metric(unit="share", better="higher", stats={"decode": value})
        result.metrics["mbu"] = metric
    found = pooled_quantity(QUANTITIES["mbu.decode"], runs)
    assert found is not None
    assert found.mean == pytest.approx(1.11)
    assert found.high == pytest.approx(1.11 + 12.706 * 0.03, abs=1e-4)


def test_a_run_that_is_not_valid_has_no_part_in_a_mean_and_says_why() -> None:
    runs = [make_run(1, ttft__p99=0.1), invalid(make_run(2, ttft__p99=9.0))]
    runs += [partial(make_run(3, ttft__p99=9.0)), make_run(4, ttft__p99=0.3)]
    table = pool(in_memory("a", runs))
    assert _of(table, "ttft.p99").mean == pytest.approx(0.2)
    assert [run.failure for run in table.runs] == [
        "",
        "it is marked invalid",
        "it was interrupted",
        "",
    ]
    assert [run.values["ttft.p99"] for run in table.runs] == [0.1, 9.0, 9.0, 0.3]


def test_one_run_has_a_mean_and_no_interval() -> None:
    table = pool(in_memory("a", [make_run(1, ttft__p99=0.1), invalid(make_run(2))]))
    found = _of(table, "ttft.p99")
    assert (found.mean, found.std, found.low, found.high) == (0.1, None, None, None)
    assert any("fewer than two runs count" in note for note in table.notes)


def test_none_that_counts_leaves_no_quantity() -> None:
    table = pool(in_memory("a", [invalid(make_run(1)), invalid(make_run(2))]))
    assert (table.quantities, table.counted, table.notes) == ((), (), ())


def test_what_no_run_has_is_left_out() -> None:
    names = {one.name for one in pool(in_memory("a", [make_run(1), make_run(2)])).quantities}
    assert "goodput.window" not in names
    assert "output_throughput.window" in names


def test_what_the_machine_gave_and_took_and_how_good_the_answers_were_is_pooled() -> None:
    stats = {
        "mfu": {"run": 0.3, "prefill": 0.5},
        "mbu": {"run": 0.4, "decode": 0.6},
        "energy_per_token": {"output": 2.0, "total": 1.0},
        "cost_per_million_tokens": {"output": 3.0, "total": 1.5},
    }
    runs = []
    for at in (1, 2):
        run = make_run(at)
        metrics = {
            **run.result.metrics,
            **{
                name: Metric(unit="", better="lower", stats={k: at * v for k, v in one.items()})
                for name, one in stats.items()
            },
        }
        quality = Quality(
            reference="float", perplexity=10.0 * at, text_kl_mean=0.1 * at, kl_mean=0.2 * at
        )
        result = run.result.model_copy(update={"metrics": metrics, "quality": quality})
        runs.append(replace(run, result=result))
    table = pool(in_memory("a", runs))
    for name, one in stats.items():
        for stat, value in one.items():
            assert _of(table, f"{name}.{stat}").mean == pytest.approx(1.5 * value)
    assert _of(table, "quality.perplexity").mean == pytest.approx(15.0)
    assert _of(table, "quality.text_kl_mean").mean == pytest.approx(0.15)
    assert _of(table, "tpot.p50").runs == 2
    # A peak, and a price, may be exceeded.
    assert _of(table, "mfu.run").high == pytest.approx(0.45 + 12.706 * 0.15, abs=1e-4)
    assert (_of(table, "cost_per_million_tokens.output").high or 0) > 3.0


@pytest.mark.parametrize(("runs", "said"), [(2, "8.98"), (3, "2.48"), (4, "1.59"), (5, None)])
def test_few_runs_say_how_wide_their_intervals_are(runs: int, said: str | None) -> None:
    notes = pool(in_memory("a", [make_run(at) for at in range(1, runs + 1)])).notes
    found = [note for note in notes if "standard deviations between runs" in note]
    if said is None:
        assert found == []
    else:
        assert f"{runs} runs: an interval reaches {said} standard deviations" in found[0]


def test_requests_that_no_seed_changes_are_said_to_be_the_same() -> None:
    same = "runs differ by the machine alone"
    assert same not in " ".join(pool(in_memory("a", [make_run(1), make_run(2)])).notes)
    runs = [make_run(1, seed=5), make_run(2, seed=5)]
    assert same in " ".join(pool(in_memory("a", runs)).notes)


def test_another_machine_in_the_middle_is_seen() -> None:
    one, other = make_run(1), make_run(2)
    environment = {**other.result.environment, "cpu": {"model": "Other CPU", "usable_cores": 2}}
    changed = other.result.model_copy(update={"environment": environment})
    table = pool(in_memory("a", [one, replace(other, result=changed)]))
    assert "the environments differ in CPU: Some CPU / Other CPU" in table.notes


def test_what_follows_from_a_caution_is_said_once_for_all_runs() -> None:
    busy = [disturbed(make_run(at), detail="others had half", advice="wait") for at in (1, 2)]
    notes = pool(in_memory("a", [*busy, make_run(3)])).notes
    assert "others had half (this or the like in 2 of 3 runs): wait" in notes


def test_a_simulation_says_what_it_stands_on() -> None:
    repeats = in_memory("a", [make_run(1), make_run(2)])
    runs = [
        RunOnDisk(one.directory, one.result.model_copy(update={"simulation": SIMULATION}))
        for one in repeats.runs
    ]
    table = pool(replace(repeats, runs=tuple(runs)))
    assert "4 × h100" in table.premise
    assert any("by the requests they were sent" in note for note in table.notes)


def test_a_rate_says_what_it_is_over_where_no_run_has_a_steady_window() -> None:
    runs = metric_runs("a", "output_throughput__window", (100.0, 110.0))
    for steady, over in ((True, ""), (False, "whole run")):
        for run in runs.runs:
            window = run.result.window.model_copy(update={"steady": steady})
            object.__setattr__(run.result, "window", window)
        table = pool(runs)
        assert _of(table, "output_throughput.window").over == over
        assert _of(table, "ttft.p99").over == ""


def test_rates_are_of_whole_runs_where_only_some_have_a_steady_window() -> None:
    """Known wrong here: the mean of one run's window and of others' whole."""
    runs = metric_runs("a", "output_throughput__window", (100.0, 110.0)).runs
    speed = runs[0].result.metrics["output_throughput"]
    window = runs[1].result.window.model_copy(update={"steady": False})
    unsteady = runs[1].result.model_copy(update={"window": window})
    repeats = in_memory("a", [make_run(1), make_run(2)])
    mixed = replace(repeats, runs=(runs[0], replace(runs[1], result=unsteady)))
    table = pool(mixed)
    found = _of(table, "output_throughput.run")
    assert (found.mean, found.over) == (pytest.approx(speed.stats["run"]), "whole run")
    assert not any(one.stat == "window" for one in table.quantities)
    assert repeats_report(table).verdict.startswith("paged over 2 runs: output throughput, whole ")
