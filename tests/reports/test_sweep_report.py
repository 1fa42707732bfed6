"""What is said and drawn of grids, and of searches for the highest rate."""

from __future__ import annotations

from dataclasses import replace

from llmbench.reports.chart_table import chart_table
from llmbench.reports.html.figure import keys
from llmbench.reports.measure import Measure
from llmbench.reports.model import Table
from llmbench.reports.sweep_model import (
    SaturationPoint,
    SweepCell,
    SweepLead,
    SweepRival,
    SweepTable,
)
from llmbench.reports.sweep_report import cells_table, sweep_report

FOUND = SaturationPoint({"engine": "static"}, "found", 4.0, 4.1)
SPEED = Measure("output_throughput", "window", "tokens/s", "higher")
TTFT = Measure("ttft", "p99", "s", "lower")
TPOT = Measure("tpot", "mean", "s", "lower")


def table(*points: SaturationPoint) -> SweepTable:
    return SweepTable("simulate", ("engine",), (), (), points, "99 % keep every limit")


def cell(speed: float, *, repeat: int = 1, **settings: str) -> SweepCell:
    told = {name.replace("_", "-"): value for name, value in settings.items()}
    values = {SPEED.name: speed, TTFT.name: 1 / speed, TPOT.name: 0.01}
    return SweepCell(",".join(told.values()), told, repeat, "", values)


def grid(*cells: SweepCell, leads: tuple[SweepLead, ...] = ()) -> SweepTable:
    options = tuple(cells[0].settings)
    return SweepTable("simulate", options, (SPEED, TTFT, TPOT), cells, leads=leads)


ENGINES = ("paged", "inflight")
GRID = tuple(
    cell(speed + 10 * at, engine=engine, max_concurrency=most)
    for at, engine in enumerate(ENGINES)
    for speed, most in ((100.0, "4"), (300.0, "16"))
)


def test_the_headline_names_every_point_and_its_highest_rate() -> None:
    report = sweep_report(table(SaturationPoint({"engine": "orca"}, "found", 2.0, 2.1), FOUND))
    assert report.verdict == (
        "engine static follows 4 requests/s, not 4.10; engine orca 2, not 2.10."
    )
    assert [figure.value for figure in report.figures] == ["2", "4"]


def test_points_without_a_highest_rate_are_named_last() -> None:
    never = SaturationPoint({"engine": "a"}, "never", None, 0.01)
    unknown = SaturationPoint({"engine": "b"}, "unknown", 9.0, None, failure="too few")
    assert sweep_report(table(never, unknown, FOUND)).verdict == (
        "engine static follows 4 requests/s, not 4.10; engine b has no highest rate that is known: "
        "follows 9 requests/s; engine a follows no rate: not even 0.0100 requests/s."
    )


def test_of_very_many_points_the_last_are_counted() -> None:
    many = [SaturationPoint({"engine": f"e{at}"}, "found", 9.0 - at, 9.1 - at) for at in range(9)]
    said = sweep_report(table(*many)).verdict
    assert said.endswith("engine e6 3, not 3.10; 2 others no more.")


def test_brackets_that_overlap_have_no_winner() -> None:
    near = SaturationPoint({"engine": "paged"}, "found", 3.9, 4.05)
    far = SaturationPoint({"engine": "orca"}, "found", 2.0, 2.1)
    assert sweep_report(table(near, FOUND, far)).verdict.endswith(
        "Which of engine static and engine paged follows most cannot be told."
    )
    assert "cannot be told" not in sweep_report(table(FOUND, far)).verdict


def test_repeats_of_a_search_are_no_rivals_but_the_spread_of_its_answer() -> None:
    """Known wrong here: "Which of the run and the run follows most cannot be told"."""
    first = SaturationPoint({}, "found", 53.8, 64.6, (70.0,))
    again = replace(first, holds_per_s=76.2, fails_per_s=91.3, repeat=2, exceptions=())
    report = sweep_report(table(first, again))
    assert report.verdict == "It follows 65 requests/s (53.8 to 76.2 over 2 searches)."
    (figure,) = report.figures
    assert (figure.value, figure.detail) == ("65", "53.8 to 76.2 over 2 searches")
    assert report.statements[0].startswith("Each repeat of a point is a search of its own")
    assert report.statements[-1].startswith("the run, repeat 1 has no single threshold")
    assert not any("medians of its repeats" in one for one in report.statements)
    (shown,) = next(one for one in report.sections if one.id == "saturation").parts
    assert isinstance(shown, Table)
    assert [[one.text for one in row[:4]] for row in shown.rows] == [
        ["the run", "1", "53.8", "64.6"],
        ["the run", "2", "76.2", "91.3"],
    ]


def test_points_that_were_searched_repeatedly_are_held_against_each_other_by_their_ranges() -> None:
    def searches(engine: str, *rates: float) -> list[SaturationPoint]:
        return [
            SaturationPoint({"engine": engine}, "found", rate, 1.05 * rate, repeat=repeat)
            for repeat, rate in enumerate(rates, start=1)
        ]

    apart = sweep_report(table(*searches("a", 10.0, 12.0), *searches("b", 8.0, 9.0))).verdict
    assert apart == (
        "engine a follows 11 requests/s (10 to 12 over 2 searches); "
        "engine b 8.50 (8 to 9 over 2 searches)."
    )
    near = sweep_report(table(*searches("a", 10.0, 12.0), *searches("b", 8.0, 10.0))).verdict
    assert near.endswith("Which of engine a and engine b follows most cannot be told.")
    unknown = SaturationPoint({"engine": "a"}, "unknown", 9.0, None, failure="few", repeat=3)
    some = sweep_report(table(*searches("a", 10.0, 10.0), unknown)).verdict
    assert some == "engine a follows 10 requests/s (10 over 2 of 3 searches)."
    none = sweep_report(table(unknown, replace(unknown, repeat=4))).verdict
    assert none == "engine a has no highest rate that is known in any of 2 searches."


def test_a_grid_is_told_in_two_short_sentences_and_the_rest_in_a_table() -> None:
    best, other = ({"engine": engine, "max-concurrency": "16"} for engine in ENGINES)
    rival = SweepRival(other, 310.0, 0.9, 0.95, worse=True)
    others = tuple(SweepRival(one.settings, 0.1, 0.9, 1.1, worse=False) for one in GRID[1:])
    leads = (
        SweepLead(SPEED.name, best, 320.0, next=rival, farthest=100.0),
        SweepLead(TTFT.name, GRID[0].settings, 0.1, alike=others),
        SweepLead(TPOT.name, GRID[0].settings, 0.1, alike=others[:1], next=rival),
    )
    report = sweep_report(grid(*GRID, leads=leads))
    assert report.verdict == (
        "Highest output throughput: engine paged, max-concurrency 16 (320 tokens/s). "
        "Lowest TTFT p99: no point is surely ahead of another."
    )
    (shown,) = next(one for one in report.sections if one.id == "best").parts
    assert isinstance(shown, Table)
    rows = [[one.text for one in row] for row in shown.rows]
    assert shown.columns[1].title == "Best (engine, max-concurrency)"
    assert rows[0][1:] == ["paged, 16", "320 tokens/s", "inflight, 16: 0.97× (0.90 to 0.95)"]
    assert rows[2][1] == "paged, 4; paged, 16"


def test_each_value_of_what_was_varied_first_has_a_colour_and_each_point_a_name() -> None:
    charts = sweep_report(grid(*GRID)).charts
    assert [chart.id for chart in charts] == ["trade-off-ttft-p99", "trade-off-tpot-mean"]
    for chart in charts:
        assert [one.name for one in chart.series] == ["engine paged", "engine inflight"]
        assert len({one.role for one in chart.series}) == 2
        assert "run_1" not in {one.role for one in chart.series}
        assert {one.mark for one in chart.series} == {"named"}
        assert chart.series[1].labels == ("inflight, 4", "inflight, 16")
        assert [key.name for key in keys(chart)] == ["engine paged", "engine inflight"]
        assert len(chart_table(chart).rows) == 4


def test_repeats_of_a_point_are_drawn_as_their_median() -> None:
    repeats = [cell(speed, repeat=at, engine="paged") for at, speed in ((1, 5.0), (2, 9.0))]
    (paged, _) = sweep_report(grid(*repeats, cell(7.0, engine="orca"))).charts[0].series
    assert paged.x == (7.0,)


def test_a_line_over_rates_goes_through_the_medians_of_repeats() -> None:
    repeats = [
        cell(speed, repeat=at, engine="paged", request_rate=rate)
        for rate, speeds in (("10", (9.0, 7.0, 8.0)), ("2", (2.0, 4.0, 1.0)))
        for at, speed in enumerate(speeds, start=1)
    ]
    report = sweep_report(grid(*repeats))
    assert report.statements[0] == "A point's numbers here are the medians of its repeats."
    (line,) = report.charts[0].series
    assert (line.name, line.mark, line.x) == ("engine paged", "line", (2.0, 8.0))
    assert line.labels == (repeats[3].name, repeats[0].name)


def test_each_repeat_of_a_search_has_a_line_of_its_own() -> None:
    """They come to rates of their own, and where one comes to another's it leaves nothing out."""
    trials = [
        replace(
            cell(speed, repeat=repeat, request_rate=rate, num_requests="200"), followed=speed < 3
        )
        for repeat, speed, rate in ((1, 1.0, "2"), (1, 3.0, "4"), (2, 2.0, "2"), (2, 4.0, "5"))
    ]
    lines = sweep_report(grid(*trials)).charts[0].series
    assert [(line.name, line.x) for line in lines] == [
        ("the run, repeat 1", (1.0, 3.0)),
        ("the run, repeat 2", (2.0, 4.0)),
    ]


def test_where_names_would_lie_over_each_other_points_have_colours_alone() -> None:
    many = [cell(9.0 + at, engine=ENGINES[at % 2], block_size=str(at)) for at in range(20)]
    chart = sweep_report(grid(*many)).charts[0]
    assert [one.mark for one in chart.series] == ["point", "point"]
    values = [cell(9.0 + at, block_size=str(at)) for at in range(20)]
    assert len(sweep_report(grid(*values)).charts[0].series) == 1


def test_a_search_draws_the_longest_run_at_each_rate_and_says_which_were_followed() -> None:
    """A short run shows its warm-up: 13.9 requests/s were served of 38 that came. And beyond the
    limit, latencies show how long a run was."""
    trials = [
        replace(
            cell(speed, engine="paged", request_rate=rate, num_requests=sent), followed=followed
        )
        for speed, rate, sent, followed in (
            (1.0, "8", "200", False),
            (9.0, "7", "200", True),
            (2.0, "8", "800", True),
            (3.0, "9", "800", False),
            (2.5, "30", "800", False),
        )
    ]
    report = sweep_report(grid(*trials))
    (line,) = report.charts[0].series
    assert (line.name, line.x) == ("engine paged", (2.0, 3.0))
    marks = [row[-1].text for row in cells_table(grid(*trials)).rows]
    assert marks == ["not followed", "followed", "followed", "not followed", "not followed"]


def test_rates_of_sessions_are_called_so_and_their_requests_stand_beside_them() -> None:
    point = SaturationPoint({}, "found", 0.5, 0.52, (0.7,), per_session=5.0)
    report = sweep_report(table(point))
    assert report.verdict == "It follows 0.500 sessions/s, not 0.520."
    assert report.figures[0].unit == "sessions/s"
    assert "0.700 sessions/s contradict it." in report.statements[-1]
    (shown,) = next(one for one in report.sections if one.id == "saturation").parts
    assert isinstance(shown, Table)
    assert [column.title for column in shown.columns[1:4]] == [
        *("Followed (sessions/s)", "In requests/s", "Not followed (sessions/s)")
    ]
    assert [one.text for one in shown.rows[0][1:4]] == ["0.500", "2.50", "0.520"]


def test_where_some_send_sessions_each_rate_has_its_unit() -> None:
    talk = SaturationPoint({"workload": "talk"}, "found", 0.5, 0.52, per_session=5.0)
    plain = SaturationPoint({"workload": "plain"}, "found", 4.0, 4.1)
    report = sweep_report(table(talk, plain))
    assert report.verdict == (
        "workload plain follows 4 requests/s, not 4.10; workload talk 0.500 sessions/s, not 0.520."
    )
    (shown,) = next(one for one in report.sections if one.id == "saturation").parts
    assert isinstance(shown, Table)
    assert [[one.text for one in row[1:4]] for row in shown.rows] == [
        ["0.500 sessions/s", "2.50", "0.520 sessions/s"],
        ["4 requests/s", "4", "4.10 requests/s"],
    ]


def test_what_was_changed_of_the_workload_is_said_once_for_all_cells_of_it() -> None:
    bursts = "arrivals are poisson, not the workload's own on_off"
    clipped = "input length clipped to 9 tokens for 3 of 5 requests"
    cells = [
        replace(cell(1.0 + at, engine=f"e{at}"), adjustments=(bursts, *([clipped] if at else [])))
        for at in range(6)
    ]
    notes = [note.text for note in sweep_report(grid(*cells)).notes]
    assert notes == [
        f"The workload was adjusted in every cell: {bursts}.",
        f"The workload was adjusted in 5 cells (e1, e2, e3 and 2 others): {clipped}.",
    ]


def test_a_sweep_is_green_only_where_a_point_is_ahead() -> None:
    """Known wrong here: a green "Every cell counts" above "no point is surely ahead"."""
    cells = (cell(100.0, engine="paged"), cell(101.0, engine="inflight"))
    rival = SweepRival({"engine": "paged"}, 100.0, 0.9, 1.1, worse=False)
    alike = SweepLead(SPEED.name, {"engine": "inflight"}, 101.0, alike=(rival,))
    ahead = replace(alike, alike=(), next=replace(rival, worse=True))
    open_badge = sweep_report(grid(*cells, leads=(alike,))).badge
    assert (open_badge.word, open_badge.tone) == ("No point ahead", "caution")
    assert sweep_report(grid(*cells, leads=(ahead,))).badge.tone == "good"
    two = (alike, replace(ahead, quantity=TTFT.name))
    assert sweep_report(grid(*cells, leads=two)).badge.tone == "good"
