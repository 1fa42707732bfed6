from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, replace

import numpy as np
import pandas as pd
import pytest
from llmbench.engines.trace import PhaseTimes
from llmbench.harness.tables.requests import REQUEST_COLUMNS
from llmbench.reports import kv_charts, latency_charts, step_charts
from llmbench.reports.chart_table import MOST_ROWS, chart_table
from llmbench.reports.facts import token_gaps_s
from llmbench.reports.format import percent
from llmbench.reports.model import Axis, Chart, Panel, Run, Series
from llmbench.reports.palette import ROLES
from llmbench.reports.place import BINS, Place
from llmbench.reports.run_report import run_report

from .conftest import Load, cautious, make_run, one_token_replies, without_requests


def test_token_gaps_never_span_two_replies() -> None:
    frame = pd.DataFrame({"token_times_s": [[1.0, 1.5, 1.75], [], [9.0], np.array([20.0, 22.0])]})
    assert token_gaps_s(frame).tolist() == [0.5, 0.25, 2.0]


def test_a_run_has_a_distribution_for_every_latency_with_its_slo(run: Run) -> None:
    charts = {chart.id: chart for chart in latency_charts.distributions([run])}
    assert list(charts) == ["ecdf-ttft", "ecdf-tpot", "ecdf-itl", "ecdf-e2el"]
    (guide,) = charts["ecdf-ttft"].panels[0].guides
    assert (guide.axis, guide.value, guide.label) == ("x", 200.0, "SLO 200 ms")
    assert charts["ecdf-e2el"].panels[0].guides == ()
    assert charts["ecdf-ttft"].x.unit == "ms"


def test_a_share_of_those_served_says_so_where_some_were_not(run: Run) -> None:
    """Known wrong here: "100 % kept the limit" beside a lower share of all that met the SLO."""
    status = run.requests["status"].where(run.requests.index > 0, "failed")
    some = replace(run, requests=run.requests.assign(status=status))
    whole, part = (latency_charts.distributions([one])[0].reading for one in (run, some))
    assert " % kept the limit of 200 ms." in whole
    assert " % of those served kept the limit of 200 ms." in part


def test_what_a_distribution_is_of_is_counted_in_words() -> None:
    alone, two = (make_run("some", Load(num_requests=number)) for number in (1, 2))
    notes = [latency_charts.distributions([run])[0].note for run in (alone, two)]
    assert notes == ["1 request.", "2 requests."]


def test_the_curve_is_the_share_of_requests_at_or_below(run: Run) -> None:
    curve = latency_charts.distributions([run])[0].series[0]
    ttft_ms = 1e3 * run.requests["ttft_s"].to_numpy()
    at = len(curve.x) // 2
    assert curve.y[at] == pytest.approx(100 * np.mean(ttft_ms <= curve.x[at] * (1 + 1e-12)))
    assert curve.y[-1] == 100


def test_one_token_replies_have_no_pace_to_draw() -> None:
    charts = latency_charts.distributions([one_token_replies()])
    assert [chart.id for chart in charts] == ["ecdf-ttft", "ecdf-e2el"]


def test_latency_over_time_marks_preempted_requests(run: Run) -> None:
    chart = latency_charts.over_time(run)
    assert chart is not None
    preempted = int((run.requests["preemptions"] > 0).sum())
    assert preempted > 0
    marked = [one for one in chart.panels[0].series if one.role == "preempted"]
    assert [len(one.x) for one in marked] == [preempted]
    assert chart.span is not None
    assert "Median TTFT" in chart.reading


def _slowing(arrivals: Mapping[str, object], queue_s: float, *checks: Mapping[str, object]) -> str:
    """What is said of TTFT that rises from 0.1 to 2 s, of which the queue rises by `queue_s`."""
    frame = pd.DataFrame(columns=list(REQUEST_COLUMNS))
    frame["t_due_s"] = np.arange(20.0)
    frame["ttft_s"] = 0.1 * np.arange(20.0) + 0.1
    frame["queue_s"] = np.linspace(0.0, queue_s, 20)
    frame = frame.assign(status="ok", e2el_s=1.0, preemptions=0, request_id="r", input_tokens=1)
    result = dict(make_run().result)
    result["workload"] = {**result["workload"], "description": {"arrivals": arrivals}}
    result["validity"] = {"valid": True, "checks": list(checks)}
    chart = latency_charts.over_time(
        Run("growing", result, frame.assign(output_tokens=1), make_run().steps)
    )
    assert chart is not None
    return chart.reading


OPEN, CLOSED = {"kind": "poisson"}, {"kind": "closed_loop", "max_concurrency": 8}


def test_a_queue_that_grows_is_said() -> None:
    # Medians of 0.1 to 1.0 s and of 1.1 to 2.0 s; of the queue 4.5/19 and 14.5/19 of 1.9 s.
    assert _slowing(OPEN, 1.9) == (
        "Median TTFT was 550 ms in the first half of the requests and 1.55 s in the second: the "
        "queue grew, from 450 ms to 1.45 s: the engine may have been sent more than it can serve."
    )


def test_a_queue_is_blamed_for_nothing_where_none_grew() -> None:
    """Known wrong here: of a closed loop without a queue, "may have been sent more than it can
    serve" while other processes had the machine."""
    others = {
        "id": "machine",
        "ok": False,
        "fatal": False,
        "detail": "other processes used 70% of the processor time",
        "advice": "",
    }
    seen = "in the second: first tokens took longer as the run went on"
    for arrivals, queue_s in ((CLOSED, 0.001), (CLOSED, 1.9), (OPEN, 0.1), ({}, 1.9)):
        assert _slowing(arrivals, queue_s).endswith(f"{seen}.")
    assert _slowing(CLOSED, 0.001, others).endswith(f"{seen}, and meanwhile {others['detail']}.")


def test_the_timeline_shows_every_step_and_whether_phases_share_it(run: Run) -> None:
    chart = step_charts.timeline(Place(run))
    assert chart is not None
    assert [panel.series[0].role for panel in chart.panels] == ["prefill", "decode"]
    assert max(chart.series[0].y) == run.steps["prefill_tokens"].max()
    assert set(chart.series[1].y) >= set(run.steps["decode_tokens"].astype(float))
    assert "never share a step" in chart.reading
    mixed = step_charts.timeline(Place(make_run("mixed", Load(mixed=True))))
    assert mixed is not None
    assert "Prefill and decode share" in mixed.reading


def test_charts_beside_each_other_share_their_scales(run: Run) -> None:
    other = make_run("other", Load(num_requests=12, mean_input_tokens=90))
    for draw in (step_charts.timeline, step_charts.queues, kv_charts.kv_usage):
        charts = [draw(place) for place in Place.side_by_side([run, other])]
        present = [chart for chart in charts if chart is not None]
        assert len({chart.id for chart in present}) == 2
        assert len({chart.x.high for chart in present}) == 1
        assert len({tuple(panel.y.high for panel in chart.panels) for chart in present}) == 1
        assert {chart.width for chart in present} == {"half"}


def test_kv_room_is_stacked_under_the_capacity(run: Run) -> None:
    chart = kv_charts.kv_usage(Place(run))
    assert chart is not None
    assert [one.role for one in chart.series] == ["kv_useful", "kv_reserved", "kv_internal"]
    (guide,) = chart.panels[0].guides
    assert guide.value == run.result["kv"]["capacity_tokens"]
    top = np.sum([one.y for one in chart.series], axis=0)
    held = run.steps[["kv_useful_tokens", "kv_reserved_tokens", "kv_internal_tokens"]].sum(axis=1)
    assert top.max() == held.max()


def test_no_phase_of_a_step_is_left_out() -> None:
    assert {f"{phase}_s" for phase in step_charts.PHASES} == {
        one.name for one in fields(PhaseTimes)
    }
    assert {f"phase_{phase}" for phase in step_charts.PHASES} <= set(ROLES)


def test_step_time_adds_up(run: Run) -> None:
    linear_s = run.steps["linear_s"]
    shares = {"linear_s": 0.5, "communicate_s": 0.3, "swap_s": 0.2}
    parts = {phase: share * linear_s for phase, share in shares.items()}
    run = replace(run, steps=run.steps.assign(**parts))
    chart = step_charts.step_time([run])
    assert chart is not None
    whole_s = (run.steps["end_s"] - run.steps["start_s"]).sum()
    drawn = sum(sum(one.x) for one in chart.series)
    assert drawn == pytest.approx(whole_s)
    assert percent(parts["linear_s"].sum() / whole_s) in chart.reading
    assert "communicate is " in chart.note
    assert "swap moves " in chart.note
    assert [name.split(",")[0] for name in chart.panels[0].y.categories] == [
        "Decode only",
        "Prefill only",
    ]


def test_a_forward_pass_without_attention_is_explained(run: Run) -> None:
    steps = run.steps.assign(attention_s=0.0)
    chart = step_charts.step_time([Run(run.name, run.result, run.requests, steps)])
    assert chart is not None
    assert "accelerator" in chart.note
    assert "phase_attention" not in {one.role for one in chart.series}


def test_nothing_to_draw_draws_nothing() -> None:
    assert run_report(without_requests()).charts == ()


def test_every_chart_has_a_meaning_for_its_colours_and_ends_on_its_numbers(any_run: Run) -> None:
    report = run_report(any_run)
    assert len({chart.id for chart in report.charts}) == len(report.charts)
    for chart in report.charts:
        assert chart.reading.endswith(".")
        for one in chart.series:
            assert one.role in ROLES
            assert len(one.x) == len(one.y)
            assert np.isfinite(one.x).all()
            assert np.isfinite(one.y).all()


def test_long_runs_are_summed_up_and_say_so(long_run: Run) -> None:
    charts = {chart.id: chart for chart in run_report(long_run).charts}
    assert len(long_run.steps) > 30_000
    assert len(charts["timeline"].series[0].x) == BINS["full"] + 1
    assert "Too many steps to draw" in charts["timeline"].note
    assert "of 20\u202f000 requests are drawn" in charts["latency-over-time"].note
    half = kv_charts.kv_usage(Place(long_run, (long_run, long_run)))
    assert half is not None
    assert len(half.series[0].x) == BINS["half"] + 1


def test_the_numbers_behind_a_chart_are_side_by_side_where_x_is_shared(run: Run) -> None:
    chart = step_charts.timeline(Place(run))
    assert chart is not None
    table = chart_table(chart)
    assert [column.title for column in table.columns] == [
        "Time (s)",
        "Prefill (tokens a step)",
        "Decode (tokens a step)",
    ]
    assert len(table.rows) <= MOST_ROWS
    assert "points drawn" in table.note


def test_the_numbers_behind_bars_are_a_row_a_bar() -> None:
    panel = Panel(
        Axis("Run", categories=("a", "b")),
        (
            Series("Linear", "phase_linear", "bar", (1.0, 2.0), (0.0, 1.0)),
            Series("Host", "phase_host", "bar", (0.5, 0.25), (0.0, 1.0)),
        ),
    )
    table = chart_table(Chart("bars", "Bars", "Read.", Axis("Time", "s"), (panel,)))
    assert [[cell.text for cell in row] for row in table.rows] == [
        ["a", "1", "0.500"],
        ["b", "2", "0.250"],
    ]


def test_the_numbers_behind_separate_curves_name_their_series(run: Run) -> None:
    other = make_run("other", Load(seed=7))
    table = chart_table(latency_charts.distributions([run, other])[0])
    assert {row[0].text.split(",")[0] for row in table.rows} == {"paged-awq", "other"}


def test_a_run_without_an_slo_has_no_limit_to_show() -> None:
    for chart in run_report(cautious()).charts:
        assert not any("SLO" in guide.label for panel in chart.panels for guide in panel.guides)
        assert chart.span is None
