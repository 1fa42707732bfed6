"""Stored runs as a history: which belong together, what steps, and what the reports say."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from llmbench.engines.errors import ConfigError
from llmbench.harness.comparison.compare import differing_config
from llmbench.harness.comparison.quantities import Quantity, find_quantity
from llmbench.harness.history.series import find_runs, group
from llmbench.harness.history.trend import history_of, trends_of
from llmbench.harness.rendering import history_reports
from llmbench.harness.result import Check, Metric, Result
from llmbench.harness.storage.store import RESULT_FILE, RunOnDisk, StoreError, write_run
from llmbench.reports.history_model import History, Trend
from llmbench.reports.history_report import history_report
from llmbench.reports.model import Chart

from ..observed import serve_in_turn
from ..stored import SIMULATION, stored_run

TTFT = find_quantity("metric", "ttft.p99")
STEPS = find_quantity("metric", "counters.steps")


def run(
    name: str,
    ttft_s: float = 0.2,
    *,
    day: int = 1,
    samples: int = 100,
    commit: str = "",
    steps: int | None = None,
    config: dict[str, Any] | None = None,
    environment: dict[str, Any] | None = None,
    simulated: bool = False,
) -> RunOnDisk:
    requests, traces = serve_in_turn(12)
    stored = stored_run(
        requests,
        traces,
        config=config,
        environment={"git": {"commit": commit, "dirty": False}} if commit else environment,
        simulation=SIMULATION if simulated else None,
    )
    ttft = stored.result.metrics["ttft"]
    stats = {**ttft.stats, "p99": ttft_s, "count": samples}
    changed: dict[str, Any] = {
        "metrics": {
            **stored.result.metrics,
            "ttft": Metric(**{**ttft.model_dump(), "stats": stats}),
        },
        "validity": stored.result.validity.model_copy(update={"valid": True, "checks": ()}),
    }
    if not simulated:
        changed["created_at"] = f"2026-01-{day:02}T03:04:05Z"
    if steps is not None:
        changed["counters"] = stored.result.counters.model_copy(update={"steps": steps})
    result: Result = stored.result.model_copy(update=changed)
    return RunOnDisk(Path(name), result)


def nightly(levels: Sequence[float], noise: float = 0.01) -> list[RunOnDisk]:
    rng = np.random.default_rng()
    return [
        run(f"n{day}", level * (1 + noise * rng.normal()), day=day, commit=f"c{day:02}" * 4)
        for day, level in enumerate(levels, start=1)
    ]


def history(runs: Sequence[RunOnDisk]) -> History:
    return history_of(runs, (), [TTFT, STEPS])


def test_a_measured_step_is_found_at_its_run_with_the_commit_that_brought_it() -> None:
    told = history(nightly([0.2] * 9 + [0.3] * 9))
    (series,) = told.series
    (trend,) = (one for one in series.trends if one.id == "ttft")
    (step,) = (one for one in trend.steps if one.index == 9)
    assert step.verdict == "worse"
    assert step.ratio == pytest.approx(1.5, rel=0.03)
    assert step.p is not None
    assert step.p <= 0.01
    reports = history_reports(told)
    for name in ("history.md", "history.html"):
        assert "c09c09c09c → c10c10c10c" in reports[name]
    assert "worse" in reports["history.md"]
    assert json.loads(reports["history.json"])["series"][0]["trends"][0]["steps"]


def trend_of(runs: Sequence[RunOnDisk], quantity: Quantity, significance: float) -> Trend | None:
    """Of a quantity that is judged alone."""
    return next(iter(trends_of(runs, [quantity], significance)), None)


def test_a_count_and_all_of_a_simulation_step_wherever_they_change() -> None:
    counted = [run(f"n{at}", day=at, steps=steps) for at, steps in enumerate((90, 90, 91), 1)]
    trend = trend_of(counted, STEPS, 0.01)
    assert trend is not None
    assert [(one.index, one.before, one.after, one.p) for one in trend.steps] == [(2, 90, 91, None)]
    virtual = [run(f"n{at}", ttft_s, simulated=True) for at, ttft_s in enumerate((0.2, 0.2, 0.1))]
    trend = trend_of(virtual, TTFT, 0.01)
    assert trend is not None
    (step,) = trend.steps
    assert (trend.kind, step.index, step.verdict) == ("exact", 2, "better")


def test_counts_of_requests_that_come_by_the_clock_are_measured() -> None:
    clocked = [
        run(f"n{at}", day=at, steps=steps, config={"request_rate": 4.0})
        for at, steps in enumerate((90, 91, 90, 92, 91, 90), 1)
    ]
    trend = trend_of(clocked, STEPS, 0.01)
    assert trend is not None
    assert (trend.kind, trend.steps) == ("measured", ())


def test_the_last_digit_of_a_simulation_is_no_step() -> None:
    values = (0.2, 0.2 * (1 + 1e-12), 0.2 * (1 + 1e-6))
    trend = trend_of([run(f"n{at}", s, simulated=True) for at, s in enumerate(values)], TTFT, 0.01)
    assert trend is not None
    assert [step.index for step in trend.steps] == [2]


def rated(day: int, rate_per_s: float, *, steady: bool, simulated: bool = False) -> RunOnDisk:
    """A run of that throughput in its window, and of 900 tokens/s over the whole run."""
    one = run(f"n{day}", day=day, commit=f"c{day:02}" * 4, simulated=simulated).result
    stats = {"window": rate_per_s, "run": 900.0}
    metric = one.metrics["output_throughput"].model_copy(update={"stats": stats})
    changed = {
        "metrics": {**one.metrics, "output_throughput": metric},
        "window": one.window.model_copy(update={"steady": steady}),
    }
    return RunOnDisk(Path(f"n{day}"), one.model_copy(update=changed))


def test_a_run_without_a_steady_window_is_no_step_in_its_rates() -> None:
    """Every third run's rate is over the whole run, its end included, and so a tenth lower."""
    runs = [rated(day, 1000.0 if day % 3 else 900.0, steady=day % 3 > 0) for day in range(1, 13)]
    window, whole = (
        find_quantity("metric", f"output_throughput.{stat}") for stat in ("window", "run")
    )
    for chosen, quantity, values in (
        (runs, window, (1000.0, 1000.0, None) * 4),
        (runs, whole, (900.0,) * 12),
        (runs[2::3], window, (900.0,) * 4),
    ):
        trend = trend_of(chosen, quantity, 0.01)
        assert trend is not None
        assert trend.values == values


def test_what_changed_is_counted_from_the_last_run_that_has_the_quantity() -> None:
    """The second run has no rate to compare: the step may have come with it as well."""
    runs = [
        rated(1, 1000.0, steady=True, simulated=True),
        rated(2, 700.0, steady=False, simulated=True),
        rated(3, 800.0, steady=True, simulated=True),
    ]
    told = history_of(runs, (), [find_quantity("metric", "output_throughput.window")])
    assert "c01c01c01c → c03c03c03c" in history_reports(told)["history.md"]


def busy(one: RunOnDisk) -> RunOnDisk:
    """The same, while others had the machine."""
    detail = "other processes used 74% of the processor time"
    check = Check(id="machine", ok=False, fatal=False, detail=detail)
    validity = one.result.validity.model_copy(update={"checks": (check,)})
    return replace(one, result=one.result.model_copy(update={"validity": validity}))


def test_times_of_disturbed_runs_are_in_no_test_and_named() -> None:
    """Of 14 such runs, which two by two decide nothing, a step was called with p = 0.001."""
    runs = [busy(one) for one in nightly([0.2] * 7 + [0.3] * 7)]
    told = history(runs)
    (trend,) = (one for one in told.series[0].trends if one.id == "ttft")
    assert trend.steps == ()
    assert trend.judged == ()
    assert trend.too_few
    reports = history_reports(told)
    for name in ("history.md", "history.html"):
        assert (
            "other processes used 74% of the processor time while n1 was measured" in reports[name]
        )
    assert "times of 14 of 14 runs" in reports["history.md"]
    assert history_report(told).badge.tone != "good"


def test_one_disturbed_night_hides_no_step_and_counts_still_decide() -> None:
    runs = nightly([0.2] * 9 + [0.3] * 9)
    runs[4] = busy(nightly([9.0] * 5)[4])
    runs[9] = busy(runs[9])
    trend = trend_of(runs, TTFT, 0.01)
    assert trend is not None
    assert trend.left_out == (4, 9)
    assert 10 in [step.index for step in trend.steps]  # within a level one in a hundred steps
    counted = [busy(run(f"n{at}", day=at, steps=90 + at // 3)) for at in (1, 2, 3)]
    trend = trend_of(counted, STEPS, 0.01)
    assert trend is not None
    assert [step.index for step in trend.steps] == [2]


def test_a_percentile_is_of_runs_that_have_a_sample_beyond_it_and_the_others_are_counted() -> None:
    """Of 99 requests a p99 lies between the two slowest: no run's report shows it."""
    few = {4, 9}
    runs = [
        run(f"n{at}", 9.0 if at in few else 0.2, day=at + 1, samples=99 if at in few else 100)
        for at in range(12)
    ]
    told = history(runs)
    (trend,) = (one for one in told.series[0].trends if one.id == "ttft")
    assert trend.values == tuple(None if at in few else 0.2 for at in range(12))
    reports = history_reports(told)
    for name in ("history.md", "history.html"):
        assert "TTFT p99 of 2 of 12 runs of " in reports[name]
        assert " is left out: fewer than 100 samples" in reports[name]
    assert history(runs[:4]).series[0].not_carried == ()


def test_percentiles_that_no_run_carries_are_not_called_steady() -> None:
    runs = [run(f"n{at}", day=at + 1, samples=20) for at in range(12)]
    report = history_report(history_of(runs, (), [TTFT]))
    assert report.badge.tone == "plain"
    assert report.verdict.startswith("Nothing to compare")
    (note,) = report.notes
    assert note.text.startswith("TTFT p99 of 12 of 12 runs of ")


def test_levels_that_were_measured_too_shortly_are_not_called_another() -> None:
    """As of repeats, the runs of a side count together: seven of half a second are 3.5 s."""
    runs = [
        replace(one, result=one.result.model_copy(update={"duration_s": 0.5}))
        for one in nightly([0.2] * 7 + [0.3] * 7)
    ]
    trend = trend_of(runs, TTFT, 0.01)
    assert trend is not None
    assert trend.steps == ()
    assert trend.undecided == "runs of 3.5 s together are too short (at least 5 s)"
    assert "a step of TTFT p99" in history_reports(history(runs))["history.md"]


def test_a_driver_is_what_changed_and_parts_no_series() -> None:
    """A step that came with an upgrade was in two series, and so in none."""

    def on(driver: str, gpu: str = "NVIDIA H100") -> dict[str, Any]:
        return {"gpus": [{"name": gpu, "memory_bytes": 80, "driver": driver}]}

    runs = [
        run(f"n{day}", day=day, steps=90 + day // 2, environment=on(driver))
        for day, driver in ((1, "550.54"), (2, "550.90"))
    ]
    told = history([*runs, run("other", day=3, environment=on("550.90", "NVIDIA H200"))])
    assert told.alone == ("other",)
    assert "driver 550.54 → 550.90" in history_reports(told)["history.md"]


def test_few_measured_runs_show_no_step_however_far_apart() -> None:
    trend = trend_of(nightly([0.2] * 4 + [9.0] * 4), TTFT, 0.01)
    assert trend is not None
    assert trend.steps == ()


def test_runs_are_in_order_of_time_and_of_one_experiment() -> None:
    runs = [
        run("later", day=3),
        run("wider", day=2, config={"max_num_seqs": 8}),
        run("first", day=1),
        run("second", day=2, commit="abc", config={"command": "called otherwise"}),
        run("new", day=4, config={"a_setting_of_tomorrow": None}),
    ]
    names = [[one.directory.name for one in members] for members in group(runs)]
    assert names == [["first", "second", "later", "new"], ["wider"]]
    told = history(runs)
    assert (told.left_out, told.alone) == ((), ("wider",))


def test_simulated_runs_are_in_the_order_of_their_names_whatever_a_copy_made_of_their_files(
    tmp_path: Path,
) -> None:
    """Known wrong here: they were ordered by when their files were written."""
    requests, traces = serve_in_turn(12)
    tables = stored_run(requests, traces)
    for at, name in enumerate(("old/n10", "new/n2", "old/n9", "new/n1")):
        one = run(name, simulated=True)
        write_run(tmp_path / name, one.result, tables.requests, tables.steps, {})
        os.utime(tmp_path / name / RESULT_FILE, (at, at))

    def order(*paths: str) -> list[str]:
        found, _ = find_runs([tmp_path / path for path in paths])
        (members,) = group(found)
        return [one.directory.name for one in members]

    assert order("old", "new") == ["n9", "n10", "n1", "n2"]
    assert order("") == ["n1", "n2", "n9", "n10"]
    told = history(find_runs([tmp_path])[0])
    assert [one.when for one in told.series[0].runs] == [None] * 4
    assert "4 runs, n1 to n10 in the order of names" in history_reports(told)["history.html"]


def test_runs_of_other_threads_are_another_experiment_however_old(tmp_path: Path) -> None:
    """Once, only the environment said how many threads there were."""
    of_one = {"torch": {"threads": 1}}
    written = [
        run("new-1", day=4, config={"threads": 1}, environment=of_one),
        run("old-1", day=1, config={"threads": None}, environment=of_one),
        run("new-2", day=3),
        run("old-2", day=2, config={"threads": None}),
    ]
    requests, traces = serve_in_turn(12)
    tables = stored_run(requests, traces)
    for one in written:
        write_run(tmp_path / one.directory, one.result, tables.requests, tables.steps, {})
    found, _ = find_runs([tmp_path])
    names = [[one.directory.name for one in members] for members in group(found)]
    assert names == [["old-1", "new-1"], ["old-2", "new-2"]]
    assert differing_config(found[:2])[0].values == (1, 2)
    assert differing_config([one for one in found if one.directory.name.endswith("1")]) == ()


def test_repeats_that_are_alone_are_named_in_full_and_nothing_is_called_steady() -> None:
    told = history(
        [
            run("runs/s-a/repeat-1", config={"max_num_seqs": 4}),
            run("runs/s-b/repeat-1", config={"max_num_seqs": 8}),
        ]
    )
    assert told.alone == ("runs/s-a/repeat-1", "runs/s-b/repeat-1")
    report = history_report(told)
    assert report.verdict == "Nothing to compare: no series of two runs."
    assert report.badge.tone == "plain"
    assert [section.id for section in report.sections] == ["alone"]


@pytest.mark.parametrize(
    ("runs", "significance", "badge", "verdict"),
    [
        (10, 0.01, "plain", "Too few runs to tell: what is measured shows a step from 11 runs"),
        (11, 0.01, "good", "Nothing stepped."),
        (10, 0.001, "plain", "Too few runs to tell: what is measured shows a step from 15 runs"),
    ],
)
def test_few_runs_are_not_called_steady(
    runs: int, significance: float, badge: str, verdict: str
) -> None:
    """Of nine runs however far apart none can be called a step, and of ten it takes luck."""
    nights = [run(f"n{day}", day=day) for day in range(1, runs + 1)]
    report = history_report(history_of(nights, (), [TTFT], significance=significance))
    assert report.badge.tone == badge
    assert report.verdict.startswith(verdict)
    few = badge == "plain"
    assert [one.detail for one in report.figures] == ["too few runs to tell" if few else "no step"]
    (chart,) = report.sections[0].parts
    assert isinstance(chart, Chart)
    assert chart.reading == ("Too few runs to tell." if few else "No step.")


def test_what_repeats_exactly_is_judged_of_two_runs() -> None:
    pair = [run("a", day=1, steps=90), run("b", day=2, steps=90)]
    assert history_report(history_of(pair, (), [STEPS])).verdict == "Nothing stepped."
    both = history_report(history(pair))
    assert both.badge.tone == "plain"
    assert both.verdict.endswith("on; nothing else stepped.")
    fewer = [pair[0], run("b", day=2, steps=80)]
    assert history_report(history(fewer)).verdict.startswith("Nothing stepped for the worse, but ")


def test_runs_that_are_alone_are_one_line_and_no_caution() -> None:
    """Of 28 such runs each was a yellow line above everything."""
    pair = [run("a", day=1), run("b", day=2)]
    many = [run(f"x{at}", config={"max_num_seqs": 100 + at}) for at in range(28)]
    told = history([*pair, *many])
    report = history_report(told)
    (note,) = report.notes
    assert note.tone == "plain"
    assert note.text.startswith("28 runs are alone: no other run has their settings")
    pages = history_reports(told)
    assert pages["history.md"].index("x27") > pages["history.md"].index("<details>")
    # In the page, too: its last fold before the names is still open there.
    before = pages["history.html"].partition(">x0<")[0]
    assert before.rindex("<details>") > before.rindex("</details>")
    (note,) = history_report(history([*pair, many[0]])).notes
    assert note.text.startswith("1 run is alone: no other run has its settings")
    broken = replace(told, left_out=(("cut", "it was interrupted"),))
    assert [one.tone for one in history_report(broken).notes] == ["caution", "plain"]
    assert history_report(history(pair)).notes == ()


def test_a_setting_that_older_versions_did_not_have_parts_no_series() -> None:
    old = run("old", day=1)
    new = run("new", day=2, config={"cuda_graphs": "off", "tensor_parallel": 1})
    other = run("other", day=3, config={"cuda_graphs": "decode"})
    names = [[one.directory.name for one in members] for members in group([old, new, other])]
    assert names == [["old", "new"], ["other"]]


def test_series_that_would_be_called_alike_say_what_they_differ_in() -> None:
    runs = [
        run(f"{seqs}-{day}", day=day, config={"max_num_seqs": seqs})
        for seqs in (4, 8)
        for day in (1, 2)
    ]
    names = [series.name for series in history(runs).series]
    assert names[0].endswith("(max_num_seqs 4)")
    assert names[1].endswith("(max_num_seqs 8)")


def test_runs_are_found_below_a_directory_and_those_that_do_not_count_are_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By their paths: many are called alike."""
    monkeypatch.chdir(tmp_path)
    requests, traces = serve_in_turn(12)
    stored = stored_run(requests, traces)
    valid = run("", day=1).result
    for name in ("a", "deep/b"):
        write_run(tmp_path / name, valid, stored.requests, stored.steps, {})
    partial = valid.model_copy(update={"status": "partial"})
    for name in ("cut", "deep/cut"):
        write_run(tmp_path / name, partial, stored.requests, stored.steps, {})
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "result.json").write_text('{"schema_version": 99}')
    # The parent and the child name the same runs.
    runs, left_out = find_runs([tmp_path, tmp_path / "deep"])
    assert sorted(one.directory.name for one in runs) == ["a", "b"]
    assert dict(left_out)["cut"] == dict(left_out)["deep/cut"] == "it was interrupted"
    monkeypatch.chdir(tmp_path / "deep")
    assert str(tmp_path / "cut") in dict(find_runs([tmp_path])[1])
    assert "schema_version 99" in dict(left_out)["broken"]


def test_paths_without_runs_are_one_line(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="expected a directory that holds runs"):
        find_runs([tmp_path])
    with pytest.raises(StoreError, match="does not exist"):
        find_runs([tmp_path / "nowhere"])
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match=r"'.*file' is a file; expected a directory that holds"):
        find_runs([tmp_path / "file"])
