"""Which point of a sweep is called best, and when none is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pytest
from llmbench.harness.comparison.evidence import examine
from llmbench.harness.comparison.observed import Observed
from llmbench.harness.comparison.quantities import QUANTITIES
from llmbench.harness.repeats.directory import Repeats
from llmbench.harness.repeats.pairs import examine_repeats, match
from llmbench.harness.result import Validity
from llmbench.harness.storage.store import RunOnDisk, find_run, write_run
from llmbench.harness.sweep.cells import Done
from llmbench.harness.sweep.grid import Cell
from llmbench.harness.sweep.table import sweep_table
from llmbench.reports.sweep_model import SweepLead, SweepTable
from llmbench.reports.sweep_report import best_table, sweep_report

from ..observed import make_request
from ..stored import stored_run

SPEEDS = {"quick": 0.01, "slow": 0.04}


def _stored(out: Path, tpot_s: Sequence[float], repeat: int = 1) -> None:
    """A run of requests that come every 0.2 s and take 10 tokens of these gaps."""
    requests = []
    for index, gap_s in enumerate(tpot_s):
        first_s = 0.2 * index + 0.1
        times_s = [first_s + gap_s * token for token in range(10)]
        requests.append(make_request(times_s, index=index, due_s=0.2 * index))
    stored = stored_run(requests, (), fingerprint=f"{repeat}" * 64)
    checks = tuple(one for one in stored.result.validity.checks if one.id != "trace")
    result = stored.result.model_copy(update={"validity": Validity.of(checks)})
    write_run(out, result, stored.requests, stored.steps, {})


def swept(out: Path, tpot_s: Mapping[str, Sequence[Sequence[float]]]) -> SweepTable:
    """tpot_s: of the requests of each repeat, by engine."""
    done = []
    for engine, repeats in tpot_s.items():
        for repeat, gaps_s in enumerate(repeats, start=1):
            _stored(out / f"{engine}.{repeat}", gaps_s, repeat)
            cell = Cell((("engine", engine),), repeat)
            done.append(Done(cell, find_run(out / f"{engine}.{repeat}")))
    return sweep_table("run", done)


def lead_of(told: SweepTable, quantity: str) -> SweepLead:
    return next(lead for lead in told.leads if lead.quantity == quantity)


def row_of(told: SweepTable, label: str) -> list[str]:
    """What the table of best points says of a quantity."""
    shown = best_table(told)
    assert shown is not None
    return next(texts for row in shown.rows if (texts := [one.text for one in row])[0] == label)


def gaps(mean_s: float, spread_s: float = 0.004, count: int = 60) -> list[float]:
    return np.random.default_rng().uniform(mean_s - spread_s, mean_s + spread_s, count).tolist()


def test_a_best_point_has_an_interval_to_the_next(tmp_path: Path) -> None:
    told = swept(tmp_path, {"far": [gaps(0.04)], "best": [gaps(0.01)], "next": [gaps(0.015)]})
    lead = lead_of(told, "tpot.mean")
    assert lead.settings == {"engine": "best"}
    assert lead.alike == ()
    assert lead.next is not None
    assert lead.next.settings == {"engine": "next"}
    assert lead.next.low is not None
    assert lead.next.high is not None
    assert 1.02 < lead.next.low < lead.next.value / lead.value < lead.next.high
    _, best, value, other = row_of(told, "TPOT mean")
    assert best == "best"
    assert value.startswith(("10.", "9."))
    assert other.startswith("next: 1.")
    assert f"({lead.next.low:.2f} to {lead.next.high:.2f})" in other


@pytest.mark.parametrize("repeats", [1, 3])
@pytest.mark.parametrize("engines", [2, 3])
def test_intervals_hold_for_all_other_points_and_quantities_together(
    tmp_path: Path, engines: int, repeats: int
) -> None:
    """At 95 % each, the luckiest of many others would be ahead or behind by chance."""
    means_s = {"best": 0.01, "next": 0.015, "far": 0.04}
    names = list(means_s)[:engines]
    told = swept(tmp_path, {name: [gaps(means_s[name]) for _ in range(repeats)] for name in names})
    lead = lead_of(told, "tpot.mean")
    # Output throughput, TPOT mean, latency p50.
    assert len(told.leads) == 3
    confidence = 1 - 0.05 / (3 * (engines - 1))
    runs = {
        name: [find_run(tmp_path / f"{name}.{repeat}") for repeat in range(1, repeats + 1)]
        for name in names[:2]
    }
    quantity = QUANTITIES["tpot.mean"]
    if repeats == 1:
        first, other = (Observed(found[0].load()) for found in runs.values())
        found = examine(first, other, quantity, confidence=confidence)
    else:
        pairs = match(*(Repeats(Path(), tuple(found)) for found in runs.values()))
        found = examine_repeats(pairs, quantity, confidence=confidence)
    assert found.estimate is not None
    # Of three repeats the interval may reach 1 by chance.
    rivals = [*lead.alike, *([lead.next] if lead.next else [])]
    (rival,) = (one for one in rivals if one.settings == {"engine": "next"})
    assert (rival.low, rival.high) == pytest.approx(
        (found.estimate.low, found.estimate.high), rel=1e-9
    )


def test_points_whose_intervals_overlap_have_no_winner(tmp_path: Path) -> None:
    one = gaps(0.01, 0.008, 120)
    other = [1.001 * gap_s for gap_s in reversed(one)]
    told = swept(tmp_path, {"a": [one], "b": [other], "far": [gaps(0.04, count=120)]})
    lead = lead_of(told, "tpot.mean")
    (other,) = lead.alike
    assert {lead.settings["engine"], other.settings["engine"]} == {"a", "b"}
    report = sweep_report(told)
    assert row_of(told, "TPOT mean")[1] in ("a; b", "b; a")
    assert row_of(told, "TPOT mean")[3] == "cannot be told apart"
    figure = next(one for one in report.figures if one.label == "TPOT mean")
    assert figure.detail.startswith("not told apart: engine ")
    # So few requests decide no 99th percentile, however far apart.
    assert "Lowest TTFT p99: no point is surely ahead of another." in report.verdict
    assert "120 served requests are too few to compare TTFT p99" in row_of(told, "TTFT p99")[3]


@pytest.mark.parametrize(("count", "shown"), [(90, False), (100, True)])
def test_a_percentile_that_the_runs_withhold_is_neither_listed_nor_led(
    tmp_path: Path, count: int, shown: bool
) -> None:
    told = swept(tmp_path, {name: [gaps(mean_s, count=count)] for name, mean_s in SPEEDS.items()})
    listed, led = {one.name for one in told.quantities}, {one.quantity for one in told.leads}
    assert ("ttft.p99" in listed, "ttft.p99" in led) == (shown, shown)
    assert {"ttft.p50", "tpot.mean"} <= listed
    assert "tpot.mean" in led
    report = sweep_report(told)
    said = " ".join((report.verdict, *report.statements))
    assert ("Lowest TTFT p99" in said) == shown


def test_the_best_point_is_that_of_its_repeats_together_and_not_the_luckiest(
    tmp_path: Path,
) -> None:
    lucky = [gaps(mean_s) for mean_s in (0.010, 0.09, 0.08)]
    steady = [gaps(mean_s) for mean_s in (0.040, 0.042, 0.041)]
    told = swept(tmp_path, {"lucky": lucky, "steady": steady})
    lead = lead_of(told, "tpot.mean")
    assert lead.settings == {"engine": "steady"}
    assert lead.value == pytest.approx(0.041, rel=0.05)
    # Three runs that differ so much show nothing, whatever their medians.
    assert [one.settings["engine"] for one in lead.alike] == ["lucky"]
    report = sweep_report(told)
    assert "medians" in report.statements[0]
    assert "over repeats" in report.statements[1]
    slow = [gaps(mean_s) for mean_s in (0.080, 0.081, 0.082)]
    sure = lead_of(swept(tmp_path / "sure", {"steady": steady, "slow": slow}), "tpot.mean")
    assert sure.settings == {"engine": "steady"}
    assert sure.alike == ()


def test_one_bad_repeat_of_three_takes_no_lead_from_a_point(tmp_path: Path) -> None:
    """By the mean or the largest of its repeats the other would lead."""
    mostly = [gaps(mean_s, 0.001) for mean_s in (0.010, 0.011, 0.090)]
    never = [gaps(mean_s, 0.001) for mean_s in (0.030, 0.031, 0.032)]
    lead = lead_of(swept(tmp_path, {"mostly": mostly, "never": never}), "tpot.mean")
    assert lead.settings == {"engine": "mostly"}
    assert lead.value == pytest.approx(0.011, rel=0.05)


def test_a_point_alone_has_no_rival_and_one_that_does_not_count_is_none(tmp_path: Path) -> None:
    _stored(tmp_path / "a", gaps(0.01))
    _stored(tmp_path / "b", gaps(0.001))
    done = [
        Done(Cell((("engine", "a"),)), find_run(tmp_path / "a")),
        Done(Cell((("engine", "b"),)), find_run(tmp_path / "b"), "it was cut off"),
        Done(Cell((("engine", "c"),)), None, "exit code 2"),
    ]
    told = sweep_table("run", done)
    lead = lead_of(told, "tpot.mean")
    assert lead.settings == {"engine": "a"}
    assert (lead.alike, lead.next, lead.farthest) == ((), None, None)
    assert row_of(told, "TPOT mean")[1::2] == ["a", "—"]


def test_rates_are_of_whole_runs_where_only_some_have_a_steady_window(tmp_path: Path) -> None:
    """A point that is saturated has none, and was not told apart from any that has."""
    done = []
    for engine, gap_s in (("slow", 0.04), ("quick", 0.01)):
        _stored(tmp_path / engine, gaps(gap_s, 0.001))
        run = find_run(tmp_path / engine)
        window = run.result.window.model_copy(update={"steady": engine == "slow"})
        run = RunOnDisk(run.directory, run.result.model_copy(update={"window": window}))
        done.append(Done(Cell((("engine", engine),), 1), run))
    told = sweep_table("run", done)
    names = [one.name for one in told.quantities]
    assert "output_throughput.run" in names
    assert "output_throughput.window" not in names
    assert lead_of(told, "output_throughput.run").settings == {"engine": "quick"}
    assert "output throughput" in str(sweep_report(told).verdict).lower()
    alone = sweep_table("run", done[:1])
    assert "output_throughput.window" in [one.name for one in alone.quantities]
